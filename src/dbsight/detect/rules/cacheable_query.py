"""Queries that ask for the same thing in request after request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import where
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import count, seconds
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, RepeatedRead, Snapshot

_CHANGES: Final = pattern(
    r"\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY)\b|\bLOCK\s+IN\s+SHARE\b"
    r"|\b(?:nextval|setval|now|random|rand|uuid|gen_random_uuid|pg_advisory_\w+|get_lock)\s*\(|\bCURRENT_(?:TIME|DATE)",
    re.IGNORECASE,
)


class CacheableQuery(SnapshotRule):
    """The same query with the same values runs in many requests, and its tables hardly change.

        [ GET /orders ------------- ]  [ GET /cart --------------- ]  [ GET /stock -------------- ]
          [ SELECT settings ]            [ SELECT settings ]            [ SELECT settings ]

    Anti-pattern:
        def settings():
            return session.scalars(select(Setting)).all()  # in every request

    Best practice:
        @cached(TTLCache(maxsize=1, ttl=60))
        def settings():
            return tuple(session.execute(select(Setting.name, Setting.value)))

    Severity:
        info: 50 requests or more (``cacheable_query_threshold``), 0.1 s in all
        (``cacheable_query_time_threshold``), and 20 reads for each write (``cacheable_query_reads_per_write``).

    Not reported:
        Tables that are written often, queries that lock rows or ask for the time or a random value, queries of less
        than 0.5 ms (``cacheable_query_mean_threshold``), queries whose values are not known, repetitions in one request
        (``redundant_query``), and suppressed queries.
    """

    name: ClassVar[str] = "cacheable_query"
    category: ClassVar[Category] = "cache"
    settings: ClassVar[tuple[str, ...]] = (
        "cacheable_query_threshold",
        "cacheable_query_time_threshold",
        "cacheable_query_mean_threshold",
        "cacheable_query_reads_per_write",
    )
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Look at the reads that were repeated most."""
        seen = set()
        for read in snapshot.repeated_reads:
            key = (read.statement.fingerprint, read.database.key)
            if key not in seen and self._is_cacheable(read):
                seen.add(key)
                yield self._finding(read)

    def _is_cacheable(self, read: RepeatedRead) -> bool:
        allowed = read.allowed | read.statement.allowed
        return (
            read.times >= self.configuration.cacheable_query_threshold
            and read.total >= self.configuration.cacheable_query_time_threshold
            and read.total >= self.configuration.cacheable_query_mean_threshold * read.times
            and read.writes * self.configuration.cacheable_query_reads_per_write <= read.times
            and bool(read.statement.targets)
            and not allowed & {self.name, "all"}
            and _CHANGES.search(read.statement.text) is None
        )

    def _finding(self, read: RepeatedRead) -> Finding:
        statement = read.statement
        written = f"were written {count(read.writes)} times" if read.writes else "did not change"
        return self.finding(
            ("cq", statement.fingerprint, read.database.key),
            severity="info",
            title=f"{statement.summary} could be cached",
            description=f"It ran with the same values in {count(read.times)} requests or tasks, {seconds(read.total)}"
            f" in all, while its tables {written}{where(read.call_site)}.",
            suggestion="@cached(TTLCache(maxsize=100, ttl=60))  # cachetools; or Redis with a TTL, and remove the entry"
            " where the table is written",
            impact=read.total * (1 - 1 / read.times),
            effort="medium",
            count=read.times,
            metric="count",
            current_value=float(read.times),
            threshold=float(self.configuration.cacheable_query_threshold),
            statement=statement,
            database=read.database,
            call_site=read.call_site,
        )
