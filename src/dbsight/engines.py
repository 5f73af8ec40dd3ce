"""The engines of the process: which one a processor or the API gets, and what the first one has counted."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dbsight.analyzer import Analyzer, collect, engine
from dbsight.instrument import pools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider

    from dbsight.model import CacheTotals, LockTotals, PoolTotals

_analyzers: WeakValueDictionary[tuple[int, int], Analyzer] = WeakValueDictionary()
_sharing = threading.Lock()


def shared(meter_provider: MeterProvider | None, logger_provider: LoggerProvider | None) -> Analyzer:
    """The engine that reports to these providers: two processors made by hand on one provider share it."""
    key = (id(meter_provider), id(logger_provider))
    with _sharing:
        analyzer = _analyzers.get(key)
        if analyzer is None or analyzer.retired:
            analyzer = Analyzer(None, meter_provider, logger_provider)
            _analyzers[key] = analyzer
        return analyzer


def process_analyzer() -> Analyzer:
    """The engine of the process; made, and fed by the instrumentors, where no span processor brought one."""
    analyzer = engine()
    if analyzer is None:
        analyzer = shared(None, None)
        analyzer.subscribe()
    return analyzer


def total_pools() -> dict[str, PoolTotals]:
    """What the first engine of the process knows of each pool by name; nothing when there is none."""
    first = engine()
    if first is None:
        return {}
    collect()
    return {each.state.name: each.totals for each in first.pools.snapshots(pools.snapshots())}


def cache_totals() -> Sequence[CacheTotals]:
    """Lookups in caches so far, by cache, layer, key template and model; empty if not recorded."""
    collect()
    first = engine()
    return first.caches.totals() if first is not None else ()


def lock_totals() -> Sequence[LockTotals]:
    """Distributed locks so far; empty if not recorded."""
    collect()
    first = engine()
    return first.locks.totals() if first is not None else ()


def _after_fork() -> None:
    global _sharing  # noqa: PLW0603 - a lock that another thread held at the fork would never be released
    _sharing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
