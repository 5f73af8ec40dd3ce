"""Caches with a low hit ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.identity import identity
from dbsight.detect.rule import SnapshotRule
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import CacheTotals, Category, Snapshot


COMPILED: Final = "sqlalchemy.compiled"
"""SQLAlchemy's cache of compiled statements, as the metrics name it."""

COMPILED_ONCE: Final = 500
"""Statements that it holds (``query_cache_size``): until more were stored, each was compiled for the first time."""


class CacheMiss(SnapshotRule):
    """A cache is read often and has a low hit ratio.

        [ GET /product ------------------------------------------ ]
          [ GET product:7 ] miss [ SELECT products ] [ SET product:7 ]    hit ratio 31 %

    Anti-pattern:
        value = client.get("product:7")
        if value is None:
            client.set("product:7", "…", px=1)

    Best practice:
        value = client.get("product:7")
        if value is None:
            client.set("product:7", "…", ex=3600)

    Severity:
        warning: 100 lookups or more, and a hit ratio below ``cache_hit_ratio_threshold`` (0.7).

    Not reported:
        Redis keys that this process reads but never stores, such as queues, locks and flags. The cache of compiled
        SQLAlchemy statements, until more statements were stored than it holds: at first, each statement is compiled
        once.
    """

    name: ClassVar[str] = "cache_miss"
    category: ClassVar[Category] = "cache"
    settings: ClassVar[tuple[str, ...]] = ("cache_hit_ratio_threshold", "cache_requests_threshold")

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the hit ratio of each cache and key template with the threshold."""
        limit = self.configuration.cache_hit_ratio_threshold
        return [
            self._finding(totals, limit)
            for totals in snapshot.caches
            if totals.requests >= self.configuration.cache_requests_threshold
            and totals.hit_ratio < limit
            and (totals.stores or not totals.cache.startswith(("redis ", "valkey ")))
            and (totals.cache != COMPILED or totals.stores > COMPILED_ONCE)
        ]

    def _finding(self, totals: CacheTotals, limit: float) -> Finding:
        parts = (self.name, totals.cache, totals.layer, totals.key_prefix, totals.model)
        about = " ".join(filter(None, (totals.cache, totals.layer, totals.key_prefix, totals.model)))
        reason, suggestion = _reason(totals)
        return Finding(
            rule=self.name,
            id=identity("cm", *parts),
            severity="warning",
            category=self.category,
            title=f"{about} has more misses than hits"
            if totals.misses > totals.hits
            else f"{about} has too many misses",
            description=(
                f"{totals.hits} of {totals.requests} lookups were hits ({totals.hit_ratio:.0%}, limit {limit:.0%});"
                f" {totals.stores} stored, {totals.removals} removed, {totals.evictions} evicted. {reason}"
            ),
            suggestion=suggestion,
            effort="medium",
            count=totals.misses,
            metric="hit_ratio",
            current_value=totals.hit_ratio,
            threshold=limit,
            call_site=totals.call_site,
            details={"hits": totals.hits, "misses": totals.misses, "stores": totals.stores},
        )


def _reason(totals: CacheTotals) -> tuple[str, str]:
    """Return the probable reason for the misses, and the suggested change."""
    in_process = not totals.cache.startswith(("redis ", "valkey "))
    if totals.evictions * 2 > totals.misses:
        size = "cache = TTLCache(maxsize=…, ttl=…)  # large enough for all keys that are read"
        return "The cache is too small: values are evicted before they are read again.", size
    if totals.removals * 2 > totals.misses:
        return (
            "Values are invalidated before they are read again.",
            "client.delete(key)  # only the key that changed",
        )
    if totals.stores * 2 < totals.misses:
        store = "cache[key] = value" if in_process else "client.set(key, value, ex=300)"
        return "Missed values are not stored, or do not exist.", f"{store}  # also store that a value does not exist"
    longer = "cache = TTLCache(maxsize=…, ttl=3600)" if in_process else "client.set(key, value, ex=3600)"
    return (
        "Stored values have expired when they are read again: the time to live is too short, or keys do not repeat.",
        longer,
    )
