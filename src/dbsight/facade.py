"""The names that the guides gave to numbers that others hold: thin, and without counters of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.analyzer import cache_totals, lock_totals, total_pools
from dbsight.instrument import pools, process
from dbsight.model import CacheTotals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import LockTotals

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
    """``loop_id`` and ``config_hash`` of every pool, by ``db.client.connection.pool.name``."""
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
