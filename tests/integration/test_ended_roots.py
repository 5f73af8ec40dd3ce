"""Roots that have ended wait, to be judged several at a time, where all processors export in batches."""

import gc
import os
import sqlite3
import threading
import weakref
from itertools import chain

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import dbsight
from builders import make_operation
from dbsight import safety, scope
from dbsight.detect.memory import Peak
from dbsight.recording import ended, sweeper
from forking import in_child
from waiting import until


@pytest.fixture
def never(monkeypatch):
    """The timer does not help."""
    monkeypatch.setattr(sweeper, "EVERY", 3600.0)


@pytest.fixture
def telemetry(never, make_telemetry):
    """Exports in batches; statements are recorded by hand."""
    return make_telemetry(instrument=False, batched=True)


@pytest.fixture
def analyzer(telemetry):
    """Its engine."""
    return telemetry.processor.analyzer


def query(telemetry, name="a", **about):
    """A query below the current span, of another instrumentation."""
    attributes = {"db.system": "sqlite", "db.statement": f"SELECT {name} FROM {name} WHERE id = 7"}
    telemetry.tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes, **about).end()


def handed(telemetry):
    """Names of the spans that the batch processor has, oldest first."""
    processor = telemetry.processor.processors[0]
    return [span.name for span in reversed(processor._batch_processor._queue)]


def test_a_root_waits_and_follows_its_queries(telemetry, analyzer):
    """Who flushes gets it with what was found."""
    with telemetry.root("GET /a"):
        for _ in range(12):
            query(telemetry)
    assert (handed(telemetry), len(analyzer.ended)) == ([], 1)
    spans = telemetry.spans()
    assert [span.name for span in spans] == ["SELECT"] * 12 + ["GET /a"]
    assert spans[-1].attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert analyzer.windows.all() == []


def test_who_reads_totals_sees_the_request_that_has_just_ended(telemetry, analyzer):
    """Totals, findings and the number of requests."""
    with telemetry.root("GET /a"):
        for _ in range(12):
            query(telemetry)
    snapshot = analyzer.snapshot()
    assert (snapshot.calls, len(snapshot.findings)) == (12, 1)
    assert handed(telemetry)[-1] == "GET /a"


def test_many_are_judged_without_a_flush_by_a_thread_of_their_own(telemetry, monkeypatch):
    """Not by that of the request: it only wakes the other one."""
    monkeypatch.setattr(ended, "ENOUGH", 50)
    judges = set()
    seen = telemetry.processor._judge
    telemetry.processor._judge = lambda *root: (judges.add(threading.current_thread().name), seen(*root))
    for number in range(50):
        with telemetry.root(f"GET /{number}"):
            pass
    until(lambda: handed(telemetry))
    assert judges == {"dbsight"}


def test_too_many_are_judged_where_they_end(telemetry, analyzer, monkeypatch):
    """A server that runs no threads is no reason to keep them for ever."""
    monkeypatch.setattr(ended, "_TOO_MANY", 100)
    monkeypatch.setattr(ended, "ENOUGH", 50)
    monkeypatch.setattr(sweeper.Sweeper, "start", lambda _: None)
    for number in range(100):
        assert len(analyzer.ended) == number
        with telemetry.root(f"GET /{number}"):
            pass
    assert (len(analyzer.ended), len(handed(telemetry))) == (0, 100)


def test_a_root_is_judged_at_once_where_no_thread_starts(telemetry, analyzer, monkeypatch):
    """The interpreter is shutting down."""

    def refuse(_):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(analyzer, "_has_rest", lambda: True)
    analyzer.sweeper.stop()
    until(lambda: not analyzer.sweeper.runs)
    analyzer.sweeper.resume()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with telemetry.root("GET /late"):
        pass
    assert handed(telemetry) == ["GET /late"]


def test_few_are_judged_by_the_timer(make_telemetry):
    """Twice a second."""
    telemetry = make_telemetry(instrument=False, batched=True)
    with telemetry.root("GET /a"):
        query(telemetry)
    assert until(lambda: handed(telemetry) == ["SELECT", "GET /a"])


def test_one_that_fails_does_not_keep_the_others_back(telemetry, analyzer, monkeypatch):
    """It goes on as it ended, and its window is forgotten."""
    close = analyzer.close
    monkeypatch.setattr(
        analyzer, "close", lambda window, *about: 1 / 0 if window.name == "GET /bad" else close(window, *about)
    )
    for name in ("GET /bad", "GET /good"):
        with telemetry.root(name):
            query(telemetry)
    assert [span.name for span in telemetry.spans() if span.kind == "SERVER"] == ["GET /bad", "GET /good"]
    assert (safety.errors(), analyzer.windows.all()) == ({"processor.judge": 1}, [])
    safety.reset()


def test_what_begins_after_the_end_of_a_root_is_not_its_own(telemetry, analyzer):
    """What began before it is, whenever it ends."""
    with telemetry.root("GET /a"):
        before = telemetry.tracer.start_span(
            "SELECT", kind=SpanKind.CLIENT, attributes={"db.system": "sqlite", "db.statement": "SELECT 1 FROM early"}
        )
        context = scope.current_context()
    before.end()
    query(telemetry, "late", context=context)
    analyzer.judge_ended()
    (window,) = analyzer.windows.all()
    assert (window.rootless, window.calls) == (True, 1)
    root = telemetry.spans()[-1]
    assert (root.name, root.attributes["dbsight.db.calls"]) == ("GET /a", 1)


def test_two_requests_of_one_trace_keep_their_own(telemetry, analyzer):
    """A service that is called twice by the same caller: the first is not judged when the second begins."""
    with telemetry.tracer.start_as_current_span("caller"):
        for name, times in (("GET /a", 12), ("GET /b", 1)):
            with telemetry.root(name):
                for _ in range(times):
                    query(telemetry, name[-1])
    roots = {span.name: span.attributes for span in telemetry.spans() if span.kind == "SERVER"}
    assert {name: about["dbsight.db.calls"] for name, about in roots.items()} == {"GET /a": 12, "GET /b": 1}
    assert {name: about.get("dbsight.findings.count", 0) for name, about in roots.items()} == {"GET /a": 1, "GET /b": 0}
    assert (len(analyzer.windows), analyzer.windows._by_span) == (0, {})


def test_more_windows_than_are_kept_are_judged_not_dropped(telemetry, analyzer):
    """Those that have ended are the oldest."""
    analyzer.windows.most = 3
    for number in range(10):
        with telemetry.root(f"GET /{number}"):
            query(telemetry)
    roots = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert [root.attributes["dbsight.db.calls"] for root in roots] == [1] * 10
    assert safety.drops() == {}


def test_memory_is_noted_as_the_root_ends(telemetry, monkeypatch):
    """The request that used it is named, not one that is judged with it."""
    growth = chain([200_000_000, 0, 0], iter(int, 1))
    monkeypatch.setattr(Peak, "growth", lambda _: next(growth))
    for name in ("GET /export", "GET /small"):
        with telemetry.root(name) as root:
            operation = make_operation(rows=1_000_000, parent=root.get_span_context())
            telemetry.processor.analyzer.observe(operation)
    roots = {span.name: span.attributes.get("dbsight.findings.rules", ()) for span in telemetry.spans()}
    assert "memory_spike" in roots["GET /export"]
    assert "memory_spike" not in roots["GET /small"]


def test_a_child_leaves_the_parents_roots_alone(telemetry, analyzer):
    """The parent judges and exports them; the child its own."""
    with telemetry.root("GET /parent"):
        query(telemetry)

    def child():
        with telemetry.root("GET /child"):
            query(telemetry)
        analyzer.judge_ended()
        return handed(telemetry), os.getpid()

    names, pid = in_child(child)
    assert pid != os.getpid()
    assert "GET /parent" not in names
    assert [span.name for span in telemetry.spans()] == ["SELECT", "GET /parent"]


def test_two_processors_of_one_provider_get_the_same_root(never):
    """One that exports in batches waits; one that does not has it when the root has ended."""
    provider = TracerProvider(shutdown_on_exit=False)
    late, now = InMemorySpanExporter(), InMemorySpanExporter()
    provider.add_span_processor(dbsight.DbsightSpanProcessor(BatchSpanProcessor(late)))
    provider.add_span_processor(dbsight.DbsightSpanProcessor(SimpleSpanProcessor(now)))
    tracer = provider.get_tracer("app")
    try:
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
            attributes = {"db.system": "sqlite", "db.statement": "SELECT a FROM a WHERE id = 7"}
            for _ in range(12):
                tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes).end()
        root = now.get_finished_spans()[-1]
        assert root.attributes["dbsight.findings.rules"] == ("n_plus_one",)
        provider.force_flush()
        assert late.get_finished_spans()[-1] is root
    finally:
        provider.shutdown()


def test_a_provider_that_is_replaced_gets_what_began_before(never, monkeypatch):
    """It was in force when the query ran: a request that waits is judged and told there, not by the next one."""
    providers = [TracerProvider(shutdown_on_exit=False) for _ in range(2)]
    exporters = [InMemorySpanExporter() for _ in providers]
    for provider, exporter in zip(providers, exporters, strict=True):
        provider.add_span_processor(dbsight.DbsightSpanProcessor(BatchSpanProcessor(exporter)))
    in_force = []
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: in_force[-1])
    instrumentor = dbsight.SQLite3Instrumentor()
    instrumentor.instrument(skip_dep_check=True)
    try:
        for provider, times in zip(providers, (2, 3), strict=True):
            in_force.append(provider)
            with provider.get_tracer("app").start_as_current_span("GET /", kind=SpanKind.SERVER):
                for _ in range(times):
                    sqlite3.connect(":memory:").execute("SELECT 1").fetchall()
        for provider in providers:
            provider.force_flush()
        assert [[span.name for span in each.get_finished_spans()] for each in exporters] == [
            ["SELECT", "SELECT", "GET /"],
            ["SELECT", "SELECT", "SELECT", "GET /"],
        ]
    finally:
        instrumentor.uninstrument()
        for provider in providers:
            provider.shutdown()


def test_the_end_of_the_provider_is_the_end_of_what_waits(never):
    """Nothing is left behind."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    processor = dbsight.DbsightSpanProcessor(BatchSpanProcessor(exporter))
    provider.add_span_processor(processor)
    with provider.get_tracer("app").start_as_current_span("GET /", kind=SpanKind.SERVER):
        pass
    provider.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /"]
    assert processor.analyzer.windows.all() == []


def test_spans_are_freed_without_the_garbage_collector(telemetry, analyzer):
    """Roots with and without queries, queries of others, and spans that are neither."""
    freed = []
    gc.disable()
    try:
        for times in (0, 2):
            with telemetry.root("GET /") as root, telemetry.tracer.start_as_current_span("inner") as inner:
                for _ in range(times):
                    query(telemetry)
            freed += [weakref.ref(root), weakref.ref(inner)]
            del root, inner
        telemetry.spans()
        assert [each() for each in freed] == [None] * 4
    finally:
        gc.enable()
