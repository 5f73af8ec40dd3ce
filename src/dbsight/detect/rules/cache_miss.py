"""Caches that miss more than they should."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.identity import identity
from dbsight.detect.rule import SnapshotRule
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import CacheTotals, Category, Snapshot

ENOUGH: Final = 100
"""Look-ups from which a ratio says something."""

COMPILED: Final = "sqlalchemy.compiled"
"""SQLAlchemy's cache of compiled statements, as the metrics name it."""

COMPILED_ONCE: Final = 500
"""Statements that it keeps (``query_cache_size``): until more were stored, each was compiled for the first time."""


class CacheMiss(SnapshotRule):
    """A cache is asked often and seldom has what is asked for.

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
        warning: 100 look-ups or more, and a hit ratio below ``cache_hit_ratio_threshold`` (0.7).

    Left alone:
        Keys of Redis that this process only asks for and never stores: queues, locks and marks are no cache.
        SQLAlchemy's compiled statements until it has more than it keeps: a program that starts compiles each once.
    """

    name: ClassVar[str] = "cache_miss"
    category: ClassVar[Category] = "cache"
    settings: ClassVar[tuple[str, ...]] = ("cache_hit_ratio_threshold",)

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the ratio of each cache and key template."""
        limit = self.configuration.cache_hit_ratio_threshold
        return [
            self._finding(totals, limit)
            for totals in snapshot.caches
            if totals.requests >= ENOUGH
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
            title=f"{about} misses more than it hits" if totals.hit_ratio < 0.5 else f"{about} misses too often",
            description=(
                f"{totals.hits} of {totals.requests} look-ups were hits ({totals.hit_ratio:.0%}, limit {limit:.0%});"
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
    """Why it misses, as far as the numbers tell, and what to change."""
    in_process = not totals.cache.startswith(("redis ", "valkey "))
    if totals.evictions * 2 > totals.misses:
        size = "cache = TTLCache(maxsize=…, ttl=…)  # room for all keys that are asked for"
        return "It is too small: what is stored is evicted before it is asked for again.", size
    if totals.removals * 2 > totals.misses:
        return (
            "It is invalidated more often than it is read.",
            "client.delete(key)  # the one that changed, not all of its kind",
        )
    if totals.stores * 2 < totals.misses:
        store = "cache[key] = value" if in_process else "client.set(key, value, ex=300)"
        return "What was missed is not stored, or was not there to be stored.", f"{store}  # also when there is nothing"
    longer = "cache = TTLCache(maxsize=…, ttl=3600)" if in_process else "client.set(key, value, ex=3600)"
    return "What is stored is gone when it is asked for again: its time is too short, or keys do not repeat.", longer
