"""Functions that return totals of this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dbsight import analyzer
from dbsight.engines import cache_totals, lock_totals, total_pools
from dbsight.instrument import pools, process
from dbsight.model import CacheTotals, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.model import Alert, LockTotals

KINDS: Final = ("select", "insert", "update", "delete")
"""Kinds of statements that are counted apart."""

_MB = 1024 * 1024


def get_process_memory() -> dict[str, float]:
    """Memory of this process.

    Returns:
        ``rss`` (resident) and ``vms`` (virtual), MB of 1024 × 1024 bytes.
    """
    used = process.memory()
    return {"rss": used.rss / _MB, "vms": used.vms / _MB}


def pool_stats() -> dict[str, dict[str, Any]]:
    """The connection pools of this process, by ``db.client.connection.pool.name``.

    Returns:
        For each: ``total`` (open connections), ``active`` (out), ``idle``, ``waiting`` (requests), ``max`` (None for no
        limit), ``checkout_time_ms`` (mean wait for a connection, ms); the same as ``pool_size``, ``checked_out``,
        ``checked_in`` and ``overflow``; ``leaked``, connections that are reported as leaks and did not come back;
        ``pools``, how many are in use, and of each its ``loop_id`` and ``config_hash`` in ``pool_info``.
    """
    totals = total_pools()
    infos = pools.infos()
    stats = {}
    for state in pools.snapshots():
        known = totals.get(state.name)
        requests = known.checkouts + known.timeouts if known is not None else 0
        waited = known.wait_total if known is not None else 0.0
        stats[state.name] = {
            "total": state.used + state.idle,
            "active": state.used,
            "idle": state.idle,
            "waiting": state.pending,
            "max": state.max,
            "checkout_time_ms": waited / requests * 1e3 if requests else 0.0,
            "pool_size": state.idle_max,
            "checked_out": state.used,
            "checked_in": state.idle,
            "overflow": state.overflow,
            "leaked": known.leaks if known is not None else 0,
            "pools": state.pools,
            "pool_info": infos.get(state.name, []),
        }
    return stats


def get_pool_count() -> int:
    """How many connection pools are alive in this process."""
    return sum(state.pools for state in pools.snapshots())


def get_pool_info() -> dict[str, list[dict[str, Any]]]:
    """What tells the pools of this process apart, by ``db.client.connection.pool.name``; several may have one name.

    Returns:
        ``loop_id`` (None outside event loops) and ``config_hash`` (8 hexadecimal digits) of each pool.
    """
    return pools.infos()


def cache_stats() -> dict[str, dict[str, Any]]:
    """Look-ups of each cache so far, those of its layers, key templates and models added.

    Returns:
        ``hits``, ``misses``, ``hit_ratio`` (0 to 1), ``stores``, ``removals`` and ``evictions`` by name of the cache.
    """
    added: dict[str, CacheTotals] = {}
    for totals in cache_totals():
        into = added.setdefault(totals.cache, CacheTotals(totals.cache))
        for name in ("hits", "misses", "stores", "removals", "evictions"):
            setattr(into, name, getattr(into, name) + getattr(totals, name))
    return {
        name: {
            "hits": totals.hits,
            "misses": totals.misses,
            "hit_ratio": totals.hit_ratio,
            "stores": totals.stores,
            "removals": totals.removals,
            "evictions": totals.evictions,
        }
        for name, totals in added.items()
    }


def lock_stats() -> dict[str, Any]:
    """Distributed locks so far.

    Returns:
        ``success_rate``: percent of the acquisitions that succeeded, 0 when there were none;
        ``avg_acquisition_time``: s, of those that succeeded; ``acquired``, ``failed``, ``attempts``, ``leaks``: counts;
        ``locks``: the same by lock.
    """
    totals = lock_totals()
    return {**_lock_figures(totals), "locks": {each.lock: _lock_figures([each]) for each in totals}}


def _lock_figures(totals: Sequence[LockTotals]) -> dict[str, Any]:
    acquired = sum(each.acquired for each in totals)
    failed = sum(each.failed for each in totals)
    seconds = sum(each.acquired_total for each in totals)
    return {
        "success_rate": 100 * acquired / (acquired + failed) if acquired + failed else 0.0,
        "avg_acquisition_time": seconds / acquired if acquired else 0.0,
        "acquired": acquired,
        "failed": failed,
        "attempts": sum(each.attempts for each in totals),
        "leaks": sum(each.leaks for each in totals),
    }


# -- Queries --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Queries of this process since it started, or since ``reset()``; pings and connection setup are left out.

    Those of libraries that are instrumented, by ``opentelemetry-instrument``, ``dbsight.configure()`` or an
    instrumentor, and those that ``record_query`` reports.

    Attributes:
        total: All of them.
        select: Of these, by kind of statement; what is none of the four is in ``other``.
        insert: The same.
        update: The same.
        delete: The same.
        other: The same.
        average_duration_ms: Mean, ms.
        p50_duration_ms: Median, ms, estimated to within 5 %.
        p95_duration_ms: 95th percentile, ms, estimated to within 5 %.
        max_duration_ms: Longest, ms.
        slow: Over the slow limit, those over the very slow one included.
        very_slow: Over the very slow limit.
        failed: Ended with an error.
        error_rate: Share that failed, 0 to 1.
    """

    total: int = 0
    select: int = 0
    insert: int = 0
    update: int = 0
    delete: int = 0
    other: int = 0
    average_duration_ms: float = 0.0
    p50_duration_ms: float = 0.0
    p95_duration_ms: float = 0.0
    max_duration_ms: float = 0.0
    slow: int = 0
    very_slow: int = 0
    failed: int = 0
    error_rate: float = 0.0

    @classmethod
    def get(cls) -> QueryStats:
        """The numbers as they are now; zeros before dbsight was started."""
        snapshot = _snapshot()
        counts = {kind: snapshot.kinds[kind].count for kind in KINDS if kind in snapshot.kinds}
        return cls(
            total=snapshot.calls,
            **counts,
            other=snapshot.calls - sum(counts.values()),
            average_duration_ms=snapshot.mean * 1e3,
            p50_duration_ms=snapshot.p50 * 1e3,
            p95_duration_ms=snapshot.p95 * 1e3,
            max_duration_ms=max((each.max for each in snapshot.statements), default=0.0) * 1e3,
            slow=snapshot.slow + snapshot.very_slow,
            very_slow=snapshot.very_slow,
            failed=snapshot.failed,
            error_rate=snapshot.error_rate,
        )

    @staticmethod
    def reset() -> None:
        """As ``dbsight.reset()``."""
        reset()


def stats() -> QueryStats:
    """Queries of this process so far.

    Returns:
        A copy that does not change; zeros where dbsight was not started.
    """
    return QueryStats.get()


def reset() -> None:
    """Set the totals that this API and the reports show back to zero; exported metrics are cumulative and go on."""
    engine = analyzer.engine()
    if engine is not None:
        engine.reset()


def metrics() -> dict[str, Any]:
    """The numbers that matter most, by name.

    Returns:
        ``avg_time`` (s), ``cache_hit_rate`` (percent), ``queries``, ``error_rate`` (0 to 1), ``slow_queries``,
        ``pool_usage`` (0 to 1).
    """
    snapshot = _snapshot()
    hits = sum(each.hits for each in snapshot.caches)
    requests = sum(each.requests for each in snapshot.caches)
    return {
        "avg_time": snapshot.mean,
        "cache_hit_rate": 100 * hits / requests if requests else 0.0,
        "queries": snapshot.calls,
        "error_rate": snapshot.error_rate,
        "slow_queries": snapshot.slow + snapshot.very_slow,
        "pool_usage": snapshot.pool_usage,
    }


def on_alert(callback: Callable[[Alert], object], *, cleared: bool = False) -> None:
    """Have ``callback`` called with each alert that is raised, in a thread of its own.

    Args:
        callback: One that is slow delays later alerts, never a query; what it raises is logged once and counted.
        cleared: Whether it is called once more when the alert is over: its ``state`` is then ``cleared``.

    Raises:
        TypeError: It cannot be called.
    """
    analyzer.on_alert.add(callback, cleared=cleared)


def _snapshot() -> Snapshot:
    engine = analyzer.engine()
    return engine.snapshot() if engine is not None else Snapshot()
