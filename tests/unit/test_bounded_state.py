"""All state is bounded: with small bounds, work of which everything is new leaves no more behind than before."""

from __future__ import annotations

import gc
import types

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from builders import NOW_NS, make_operation, make_span_context
from dbsight import safety, statement, totals
from dbsight.analyzer import Analyzer
from dbsight.config import Settings
from dbsight.model import CacheEvent, CallSite, Database
from dbsight.monitor import caches, stats
from dbsight.recording import windows
from dbsight.report import cache_metrics, capped, event_metrics
from dbsight.statement import cache

BOUND = 20
SECOND = 1_000_000_000
NOT_OURS = (types.ModuleType, type, types.FunctionType, types.CodeType, types.FrameType, types.BuiltinFunctionType)


def reachable(*roots):
    """How many objects hang on these, but for modules, classes and code."""
    seen, waiting = set(), list(roots)
    while waiting:
        for each in gc.get_referents(waiting.pop()):
            if id(each) not in seen and not isinstance(each, NOT_OURS):
                seen.add(id(each))
                waiting.append(each)
    return len(seen)


@pytest.fixture
def small(monkeypatch):
    """An engine, and the reader of its metrics, with every bound at twenty."""
    for module, name in (
        (caches, "MAX_CACHES"),
        (windows, "_MAX_SPANS"),
        (event_metrics, "_MAX_BOUND"),
        (totals, "_MAX_KNOWN"),
        (cache, "CACHE_LIMIT"),
        (cache_metrics, "CAP"),
    ):
        monkeypatch.setattr(module, name, BOUND)
    monkeypatch.setattr(capped.Capped.__init__, "__defaults__", (BOUND,))
    reader = InMemoryMetricReader()
    settings = Settings(process_metrics=False, max_windows=BOUND, max_slow_queries=BOUND, max_alerts=BOUND)
    engine = Analyzer(settings, MeterProvider([reader], shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False))
    engine._start_sweeper = lambda: None
    engine.stats = engine.totals.stats = stats.Stats(
        max_statements=BOUND, max_slow_queries=BOUND, max_findings=BOUND, max_routes=BOUND
    )
    return engine, reader


def request(engine, number):
    """Route, statement, database, server, place, error and cache are new; every third root never ends."""
    now = NOW_NS + number * SECOND
    root = make_span_context(number + 1, trace_id=number + 1)
    window = engine.windows.open(f"GET /{number}", root, now, request=True)
    read = statement.read(f"SELECT a{number} FROM t{number} WHERE id = ?", "sqlite")
    for turn in range(6):
        engine.observe(
            make_operation(
                read,
                parent=root,
                parameters=turn,
                database=Database("sqlite", f"tenant{number}", f"host{number}"),
                call_site=CallSite(f"app{number}.py", 1, "f"),
                error_type=f"app.Error{number}" if turn == 5 else None,
                duration=2.0,
                at=float(number),
            )
        )
    engine.observe(CacheEvent("redis", now, misses=1, key_prefix=f"user{number}:{{}}", parent=root))
    if number % 3:
        engine.close(window, now + SECOND, f"GET /{number}")


def test_what_is_always_new_leaves_nothing_more_behind_when_the_bounds_are_full(small):
    """No more objects after six hundred requests than before, when the bounds were full; what was dropped is counted.

    How many there are varies a little with what earlier tests have left in the caches that are looked through.
    """
    engine, reader = small
    sizes = []
    for number in range(600):
        request(engine, number)
        if number % 200 == 199:
            engine.sweep()
            reader.get_metrics_data()
            gc.collect()
            sizes.append(reachable(engine, reader, cache, safety))
    assert safety.errors() == {}
    assert sizes[2] < max(sizes[:2]) * 1.02, (sizes, safety.drops())
    assert safety.drops()["windows"] > 0
