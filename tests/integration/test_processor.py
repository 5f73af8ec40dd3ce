"""The span processor on a real SDK: windows, sampling, work outside spans, foreign spans, rebuilt roots."""

import threading

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Link, SpanKind
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

import dbsight
from builders import make_operation, make_span_context
from dbsight import config, recording, safety, scope
from dbsight.processor import DbsightSpanProcessor, attach
from dbsight.span.window_sampler import WindowSampler
from hearing import hearing
from shop import Book, fill


@pytest.fixture
def engine(tmp_path):
    """An engine on a filled SQLite file."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with suppress_instrumentation():
        fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def attached(make_provider):
    """A provider with one exporter, attached to."""
    return make_provider()


@pytest.fixture
def make_provider():
    """Makes providers that dbsight is attached to and that SQLAlchemy is watched with."""
    made = []

    def make(exporters=1, **options):
        provider = TracerProvider(shutdown_on_exit=False, **options)
        provider.exporters = [InMemorySpanExporter() for _ in range(exporters)]
        for exporter in provider.exporters:
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        attach(provider)
        made.append(provider)
        dbsight.SQLAlchemyInstrumentor().uninstrument()
        dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
        return provider

    yield make
    dbsight.SQLAlchemyInstrumentor().uninstrument()
    for provider in made:
        provider.shutdown()


def n_plus_one(engine):
    """One query and then one for each author."""
    with Session(engine) as session:
        for book in session.scalars(select(Book)):
            assert book.author.name


def spans_of(provider, exporter=0):
    """What an exporter got."""
    return provider.exporters[exporter].get_finished_spans()


def rules_logged(telemetry):
    """The rules whose findings became log events, but for those about the pools of the whole test process."""
    rules = [event.attributes["dbsight.finding.rule"] for event in telemetry.logs("dbsight.finding")]
    return [rule for rule in rules if "pool" not in rule]


def processor_of(provider):
    """The one processor of ours."""
    (processor,) = provider._active_span_processor._span_processors
    assert isinstance(processor, DbsightSpanProcessor)
    return processor


def test_attaching_twice_is_attaching_once(attached):
    """The same processor comes back, and the sampler is wrapped once."""
    processor = processor_of(attached)
    assert attach(attached) is processor
    assert isinstance(attached.sampler, WindowSampler)
    assert not isinstance(attached.sampler.inner, WindowSampler)


def test_a_processor_that_is_added_later_gets_the_same_enriched_root(attached, engine):
    """It is put inside ours."""
    later = InMemorySpanExporter()
    attached.add_span_processor(SimpleSpanProcessor(later))
    with attached.get_tracer("app").start_as_current_span("GET /", kind=SpanKind.SERVER):
        n_plus_one(engine)
    assert len(later.get_finished_spans()) == 7
    assert all(ours is theirs for ours, theirs in zip(spans_of(attached), later.get_finished_spans(), strict=True))
    assert later.get_finished_spans()[-1].attributes["dbsight.findings.rules"] == ("n_plus_one",)


def test_two_exporters_see_each_operation_once(make_provider, engine):
    """The totals count six operations, not twelve."""
    provider = make_provider(exporters=2)
    with provider.get_tracer("app").start_as_current_span("GET /"):
        n_plus_one(engine)
    assert len(spans_of(provider, 0)) == len(spans_of(provider, 1)) == 7
    assert processor_of(provider).analyzer.snapshot().calls == 6


def test_two_processors_by_hand_share_one_engine(engine):
    """Each has an exporter of its own; operations and findings are counted once."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporters = [InMemorySpanExporter(), InMemorySpanExporter()]
    processors = [DbsightSpanProcessor(SimpleSpanProcessor(exporter)) for exporter in exporters]
    for processor in processors:
        provider.add_span_processor(processor)
    dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
    try:
        with provider.get_tracer("app").start_as_current_span("GET /"):
            n_plus_one(engine)
        snapshot = processors[1].analyzer.snapshot()
        assert processors[0].analyzer is processors[1].analyzer
        assert (snapshot.calls, snapshot.windows, len(snapshot.findings)) == (6, 1, 1)
        for exporter in exporters:
            spans = exporter.get_finished_spans()
            assert len(spans) == 7
            assert [event.name for event in spans[-1].events] == ["dbsight.finding"]
    finally:
        dbsight.SQLAlchemyInstrumentor().uninstrument()
        provider.shutdown()


def test_the_concurrent_multi_processor_works_too(make_provider, engine):
    """Hooks run on other threads there; nothing depends on the thread."""
    provider = make_provider(active_span_processor=ConcurrentMultiSpanProcessor())
    with provider.get_tracer("app").start_as_current_span("GET /", kind=SpanKind.SERVER):
        n_plus_one(engine)
    assert spans_of(provider)[-1].attributes["dbsight.db.calls"] == 6


def test_a_rebuilt_root_differs_by_what_was_added_alone(make_provider, engine):
    """Limits, links, status, scope, resource, dropped counts: the OTLP bytes are the same but for the additions."""
    limits = SpanLimits(max_span_attributes=3, max_events=2, max_links=1, max_span_attribute_length=200)
    provider = make_provider(span_limits=limits, resource=Resource({"service.name": "bytes"}))
    stock = InMemorySpanExporter()
    seen = SimpleSpanProcessor(stock)
    # Beside ours, not inside: it gets what the SDK made.
    multi = provider._active_span_processor
    multi._span_processors = (*multi._span_processors, seen)
    tracer = provider.get_tracer("app", "1.2", "https://example.test/schema", {"a": 1})
    links = [Link(make_span_context(), {"n": number}) for number in range(3)]
    with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER, links=links) as span:
        span.set_attributes({f"key{number}": number for number in range(6)})
        for number in range(5):
            span.add_event(f"event {number}", {"n": number})
        span.set_status(dbsight_status())
        n_plus_one(engine)
    before = next(each for each in stock.get_finished_spans() if each.name == "GET /")
    after = next(each for each in spans_of(provider) if each.name == "GET /")
    (message,) = encode_spans([after]).resource_spans
    (original,) = encode_spans([before]).resource_spans
    rebuilt = message.scope_spans[0].spans[0]
    kept = [each for each in rebuilt.attributes if not each.key.startswith("dbsight.")]
    events = [each for each in rebuilt.events if each.name != "dbsight.finding"]
    assert len(rebuilt.attributes) > len(kept)
    assert len(rebuilt.events) == len(events) + 1 == 3
    del rebuilt.attributes[:]
    rebuilt.attributes.extend(kept)
    del rebuilt.events[:]
    rebuilt.events.extend(events)
    assert message.SerializeToString(deterministic=True) == original.SerializeToString(deterministic=True)


def dbsight_status():
    """A status with words."""
    from opentelemetry.trace.status import Status, StatusCode

    return Status(StatusCode.ERROR, "the application's own words")


def test_a_root_without_database_work_is_handed_on_untouched(attached):
    """The very object that the SDK made, with nothing of ours on it."""
    with attached.get_tracer("app").start_as_current_span("GET /"):
        pass
    (span,) = spans_of(attached)
    assert not any(key.startswith("dbsight.") for key in span.attributes)


def test_unsampled_work_is_judged_and_nothing_is_exported(make_provider, engine, make_telemetry):
    """The root is recorded for our sake alone; its finding becomes a log event with the trace's context."""
    telemetry = make_telemetry(sampler=ParentBased(ALWAYS_OFF))
    telemetry.tracer_provider.sampler = WindowSampler(
        telemetry.tracer_provider.sampler, telemetry.processor.remember_unsampled
    )
    tracer = telemetry.tracer_provider.get_tracer("made after attaching")
    with tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER) as root:
        assert root.is_recording()
        assert not root.get_span_context().trace_flags.sampled
        with tracer.start_as_current_span("child") as child:
            assert not child.is_recording()
            n_plus_one(engine)
    assert telemetry.spans() == []
    (event,) = [
        each for each in telemetry.logs("dbsight.finding") if "pool" not in each.attributes["dbsight.finding.rule"]
    ]
    assert event.attributes["dbsight.finding.rule"] == "n_plus_one"
    assert event.trace_id == f"{root.get_span_context().trace_id:032x}"
    assert telemetry.processor.analyzer.windows.all() == []
    assert telemetry.processor.unsampled == {}


def test_wrapped_processors_do_not_see_what_the_sampler_dropped(make_provider):
    """Neither start nor end."""
    seen = []

    class Curious(SimpleSpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append(span.name)

        def on_end(self, span):
            seen.append(span.name)

    provider = make_provider(sampler=ALWAYS_OFF)
    provider.add_span_processor(Curious(InMemorySpanExporter()))
    with provider.get_tracer("app").start_as_current_span("GET /", kind=SpanKind.SERVER):
        pass
    assert seen == []


def test_a_trace_of_an_older_tracer_closes_after_silence(make_telemetry, engine):
    """Its root never reaches us: ten seconds later its findings are log events."""
    telemetry = make_telemetry(sampler=ParentBased(ALWAYS_OFF))
    with telemetry.root():
        n_plus_one(engine)
    analyzer = telemetry.processor.analyzer
    (window,) = analyzer.windows.all()
    assert window.rootless
    now = window.last_ns
    analyzer._clock = lambda: now + 9_000_000_000
    analyzer.sweep()
    assert (rules_logged(telemetry), len(analyzer.windows)) == ([], 1)
    analyzer._clock = lambda: now + 11_000_000_000
    analyzer.sweep()
    assert analyzer.windows.all() == []
    assert rules_logged(telemetry) == ["n_plus_one"]


def test_a_plain_script_gets_its_findings_under_one_root(telemetry, engine):
    """Work outside any span: one INTERNAL root, its queries as children, the finding on it."""
    n_plus_one(engine)
    telemetry.processor.analyzer.finish()
    root = telemetry.span("dbsight.window")
    children = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert (root.kind, root.parent_span_id, root.scope.name) == ("INTERNAL", "", "dbsight")
    assert {(span.trace_id, span.parent_span_id) for span in children} == {(root.trace_id, root.span_id)}
    assert root.attributes["dbsight.db.calls"] == len(children) == 6
    assert [event.name for event in root.events] == ["dbsight.finding"]
    assert root.start_ns <= min(span.start_ns for span in children)
    assert root.end_ns >= max(span.end_ns for span in children)


def test_what_runs_outside_spans_around_requests_is_told_apart_by_them(telemetry, engine):
    """A session that is read before a framework's span begins: the same query of two requests is not redundant."""
    for _ in range(3):
        with engine.connect() as connection:
            connection.execute(text("SELECT name FROM authors WHERE id = 1")).all()
        with telemetry.root("GET /", SpanKind.SERVER):
            pass
    telemetry.processor.analyzer.finish()
    roots = telemetry.spans("dbsight.window")
    assert [root.attributes["dbsight.db.calls"] for root in roots] == [1, 1, 1]
    assert len({root.trace_id for root in roots}) == 3


def test_each_thread_outside_spans_draws_its_own_root(telemetry, engine):
    """Two workers are two units of work."""
    threads = [threading.Thread(target=n_plus_one, args=(engine,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    telemetry.processor.analyzer.finish()
    roots = telemetry.spans("dbsight.window")
    assert [root.attributes["dbsight.db.calls"] for root in roots] == [6, 6]
    assert len({root.trace_id for root in roots}) == 2


def test_after_a_second_of_silence_the_next_operation_draws_a_new_root(telemetry, engine):
    """A worker's loop is a root for each burst of work."""
    analyzer = telemetry.processor.analyzer
    n_plus_one(engine)
    (window,) = analyzer.windows.all()
    now = window.last_ns
    analyzer._clock = lambda: now + 1_500_000_000
    analyzer.sweep()
    n_plus_one(engine)
    analyzer.finish()
    assert [root.attributes["dbsight.db.calls"] for root in telemetry.spans("dbsight.window")] == [6, 6]


def test_an_unsampled_script_exports_nothing_and_logs_its_finding(make_telemetry, engine):
    """The drawn root asks the sampler once."""
    telemetry = make_telemetry(sampler=ALWAYS_OFF)
    n_plus_one(engine)
    telemetry.processor.analyzer.finish()
    assert telemetry.spans() == []
    assert rules_logged(telemetry) == ["n_plus_one"]


def test_a_server_span_below_a_local_parent_is_a_window_of_its_own(telemetry, engine):
    """A server that was started inside a span makes every later request its child."""
    with telemetry.root("main", SpanKind.INTERNAL):
        for name in ("GET /a", "GET /b"):
            with telemetry.root(name), telemetry.root("inner", SpanKind.INTERNAL):
                n_plus_one(engine)
    calls = {span.name: span.attributes.get("dbsight.db.calls") for span in telemetry.spans() if span.kind != "CLIENT"}
    assert calls == {"inner": None, "GET /a": 6, "GET /b": 6, "main": None}


def test_work_that_goes_on_after_its_root_is_told_of_as_a_log_event(telemetry, engine):
    """A background task: its spans keep their parent, its finding has no span left to carry it."""
    with telemetry.root() as root:
        pass
    from opentelemetry.context import attach as attach_context
    from opentelemetry.context import detach
    from opentelemetry.trace import set_span_in_context

    token = attach_context(set_span_in_context(root))
    try:
        n_plus_one(engine)
    finally:
        detach(token)
    telemetry.processor.analyzer.finish()
    assert "dbsight.db.calls" not in telemetry.span("GET /").attributes
    (event,) = [
        each for each in telemetry.logs("dbsight.finding") if "pool" not in each.attributes["dbsight.finding.rule"]
    ]
    assert event.trace_id == telemetry.span("GET /").trace_id


def test_a_window_that_reaches_its_size_is_judged_and_goes_on(make_telemetry, engine):
    """Findings wait for the root, merged by id, with their counts added."""
    telemetry = make_telemetry(settings=config.Settings(max_operations_per_window=20))
    with telemetry.root():
        for _ in range(10):
            n_plus_one(engine)
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert root.attributes["dbsight.db.calls"] == 60
    finding = next(event for event in root.events if event.attributes["dbsight.finding.rule"] == "n_plus_one")
    assert 40 <= finding.attributes["dbsight.finding.count"] <= 50


def test_the_number_of_windows_is_bounded(make_telemetry):
    """The oldest is judged early; what is dropped is counted."""
    telemetry = make_telemetry(settings=config.Settings(max_windows=5))
    roots = [telemetry.tracer.start_span(f"GET /{number}", kind=SpanKind.SERVER) for number in range(8)]
    assert len(telemetry.processor.analyzer.windows) == 5
    assert safety.drops() == {"windows": 3}
    for root in roots:
        root.end()
    assert telemetry.processor.analyzer.windows.all() == []
    assert telemetry.processor.analyzer.windows._by_span == {}


def test_a_foreign_span_is_judged_and_handed_on_once(engine, make_telemetry):
    """sqlite3's own instrumentor: fingerprint, call site and class are added, literals taken out, N+1 found."""
    import sqlite3

    telemetry = make_telemetry(instrument=False)
    SQLite3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    try:
        connection = sqlite3.connect(engine.url.database)
        with telemetry.root():
            cursor = connection.cursor()
            for number in range(1, 8):
                cursor.execute(f"SELECT name FROM authors WHERE id = {number} AND name <> 'MARKER'").fetchall()
        connection.close()
    finally:
        SQLite3Instrumentor().uninstrument()
    spans = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert len(spans) == 7
    assert {span.attributes["db.statement"] for span in spans} == {
        "SELECT name FROM authors WHERE id = ? AND name <> ?"
    }
    assert len({span.attributes["dbsight.query.fingerprint"] for span in spans}) == 1
    assert {span.attributes["code.function.name"] for span in spans} == {
        "test_a_foreign_span_is_judged_and_handed_on_once"
    }
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert root.attributes["dbsight.db.calls"] == 7
    assert "MARKER" not in repr(telemetry.spans())


def test_a_script_of_foreign_spans_gets_one_root(engine, make_telemetry):
    """A database span is never a window of its own, foreign ones included."""
    import sqlite3

    telemetry = make_telemetry(instrument=False)
    SQLite3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    try:
        connection = sqlite3.connect(engine.url.database)
        cursor = connection.cursor()
        for number in range(1, 8):
            cursor.execute("SELECT name FROM authors WHERE id = ?", (number,)).fetchall()
        connection.close()
    finally:
        SQLite3Instrumentor().uninstrument()
    telemetry.processor.analyzer.finish()
    root = telemetry.span("dbsight.window")
    children = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert {(span.trace_id, span.parent_span_id) for span in children} == {(root.trace_id, root.span_id)}
    assert root.attributes["dbsight.db.calls"] == 7


def test_a_foreign_span_hangs_below_no_root_of_another_pipeline(engine, make_telemetry):
    """That of another provider in the same thread, whose window is still open."""
    first, second = make_telemetry(), make_telemetry(instrument=False)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT name FROM authors").all()
    foreign = {"db.system.name": "sqlite", "db.query.text": "SELECT id FROM authors"}
    second.tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=foreign).end()
    for telemetry in (first, second):
        telemetry.processor.analyzer.finish()
    for telemetry in (first, second):
        root = telemetry.span("dbsight.window")
        (query,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
        assert (query.trace_id, query.parent_span_id) == (root.trace_id, root.span_id)


@pytest.mark.parametrize(
    "names",
    [
        ("db.system", "db.statement", "db.name", "net.peer.name", "net.peer.port"),
        ("db.system.name", "db.query.text", "db.namespace", "server.address", "server.port"),
    ],
)
def test_foreign_spans_are_read_by_old_and_new_conventions(make_telemetry, names):
    """The same operation comes of both, parameters included."""
    telemetry = make_telemetry(instrument=False)
    attributes = dict(
        zip(names, ("postgresql", "SELECT a FROM t WHERE b = 'x'", "shop", "db.example", 5433), strict=True)
    )
    attributes["db.query.parameter.b"] = "x"
    with (
        hearing() as heard,
        telemetry.root(),
        telemetry.tracer.start_as_current_span("q", kind=SpanKind.CLIENT, attributes=attributes),
    ):
        pass
    (operation,) = heard
    assert (operation.statement.text, operation.database.key) == (
        "SELECT a FROM t WHERE b = ?",
        "postgresql://db.example:5433/shop",
    )
    assert operation.parameters is not None
    assert "db.query.parameter.b" not in telemetry.span("q").attributes


def test_a_foreign_error_keeps_its_class_and_loses_its_message(make_telemetry):
    """Drivers quote values: status and exception event say no more than ours would."""
    telemetry = make_telemetry(instrument=False)
    attributes = {"db.system": "postgresql", "db.statement": "INSERT INTO t VALUES (1)"}
    with (
        telemetry.root(),
        pytest.raises(ValueError, match="MARKER"),
        telemetry.tracer.start_as_current_span("q", kind=SpanKind.CLIENT, attributes=attributes),
    ):
        raise ValueError("Key (email)=(MARKER) already exists")
    span = telemetry.span("q")
    assert span.status == "ERROR"
    assert [event.attributes.get("exception.type") for event in span.events] == ["ValueError"]
    assert "MARKER" not in repr(span)


def test_a_foreign_name_shows_no_more_than_the_text(make_telemetry):
    """Some instrumentations take the text up to its first blank for the operation, a value behind it or not."""
    telemetry = make_telemetry(instrument=False)
    shown = {}
    for query in ("SELECT'MARKER',5 FROM t", "SELECT 'MARKER' FROM t"):
        operation = query.split()[0]
        attributes = {"db.system": "sqlite", "db.statement": query, "db.operation": operation}
        with telemetry.root(), telemetry.tracer.start_as_current_span(operation, kind=SpanKind.CLIENT) as span:
            span.set_attributes(attributes)
        span = next(span for span in telemetry.spans() if span.kind == "CLIENT" and span.name not in shown)
        shown[span.name] = span.attributes.get("db.operation"), span.attributes["db.statement"]
    assert shown == {"SELECT t": (None, "SELECT?,? FROM t"), "SELECT": ("SELECT", "SELECT ? FROM t")}


def test_operations_of_another_provider_are_not_ours(make_telemetry, engine):
    """Two SDKs in one process: each counts its own."""
    first = make_telemetry()
    second = make_telemetry(instrument=False)
    with second.root():
        pass
    with first.root():
        n_plus_one(engine)
    assert first.processor.analyzer.snapshot().calls == 6
    assert second.processor.analyzer.snapshot().calls == 0


@pytest.mark.swallows_errors
def test_a_rule_that_raises_is_switched_off_and_the_others_go_on(telemetry, caplog, engine):
    """Reported once; the query and the other rules are unharmed."""
    analyzer = telemetry.processor.analyzer

    class Broken(type(analyzer.judge.completers[0])):
        name = "broken"

        def complete(self, window):
            raise RuntimeError("MARKER")

    analyzer.judge.completers.insert(0, Broken(config.current()))
    for _ in range(3):
        with telemetry.root():
            n_plus_one(engine)
    assert [span.attributes["dbsight.findings.rules"] for span in telemetry.spans() if span.kind == "SERVER"] == [
        ["n_plus_one"]
    ] * 3
    assert [record.message for record in caplog.records if "broken" in record.message].__len__() == 1
    assert "MARKER" not in caplog.text


def test_an_allowed_finding_is_not_made(telemetry, engine):
    """Context manager, decorator and comment."""

    @dbsight.allow("n_plus_one", reason="three rows at most")
    def decorated():
        n_plus_one(engine)

    with telemetry.root():
        decorated()
    with telemetry.root(), dbsight.allow("all", reason="a test"):
        n_plus_one(engine)
    with telemetry.root(), engine.connect() as connection:
        for number in range(9):
            connection.execute(
                text("SELECT name FROM authors WHERE id = :n -- dbsight: allow n_plus_one"), {"n": number}
            ).all()
    assert [span.attributes.get("dbsight.findings.count") for span in telemetry.spans() if span.kind == "SERVER"] == [
        None,
        None,
        None,
    ]


def test_findings_go_to_logs_when_asked(make_telemetry, engine):
    """log: no event on the span; both: both."""
    for to, events, logs in (("log", 0, 1), ("both", 1, 1), ("span", 1, 0)):
        telemetry = make_telemetry(settings=config.Settings(findings=to))
        with telemetry.root():
            n_plus_one(engine)
        (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
        assert (to, len(root.events), len(telemetry.logs())) == (to, events, logs)
        assert root.attributes["dbsight.findings.count"] == 1
        telemetry.close()


def test_metrics_of_a_request(telemetry, engine):
    """Queries by type, findings by rule, queries of the request, rows: exact."""
    with telemetry.root(http_route="/books"):
        n_plus_one(engine)
    (queries,) = telemetry.points("dbsight.queries")
    assert (queries.value, queries.attributes) == (
        6,
        {"db.system.name": "sqlite", "dbsight.query.type": "select", "dbsight.query.class": "normal"},
    )
    (findings,) = telemetry.points("dbsight.findings")
    assert (findings.value, findings.attributes["dbsight.finding.rule"]) == (1, "n_plus_one")
    (request,) = telemetry.points("dbsight.request.queries")
    assert (request.count, request.sum) == (1, 6)
    rows = {
        point.attributes["db.query.summary"]: point.sum
        for point in telemetry.points("db.client.response.returned_rows")
    }
    assert rows == {"SELECT books": 10, "SELECT authors": 5}
    durations = telemetry.points("db.client.operation.duration")
    assert sum(point.count for point in durations) == 6
    assert durations[0].bounds == [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]


def test_an_exemplar_points_at_the_query_itself(telemetry, engine):
    """Not at the request that it belongs to."""
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Book.id)).all()
    (query,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    (point,) = telemetry.points("db.client.operation.duration")
    assert [exemplar.span_id for exemplar in point.exemplars] == [query.span_id]


def test_a_slow_query_says_so_on_its_own_span_and_is_counted_on_its_root(make_telemetry, engine):
    """Class, threshold, id and event on the query; count, rule and severity on the root; no status."""
    telemetry = make_telemetry(settings=config.Settings(slow_query_threshold=0.001, very_slow_query_threshold=5.0))
    slow = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT max(i) FROM n")
    with telemetry.root(), engine.connect() as connection:
        connection.execute(slow).all()
    (query,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    (event,) = query.events
    assert (query.status, query.attributes["dbsight.query.class"], query.attributes["dbsight.query.threshold"]) == (
        "UNSET",
        "slow",
        0.001,
    )
    assert query.attributes["dbsight.finding.ids"] == [event.attributes["dbsight.finding.id"]]
    assert event.attributes["dbsight.finding.rule"] == "slow_query"
    assert (root.events, root.attributes["dbsight.findings.rules"]) == ([], ["slow_query"])
    assert root.attributes["dbsight.findings.max_severity"] == "warning"


def test_a_normal_query_carries_no_class(telemetry, engine):
    """The class is only written when there is something to say."""
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Book.id)).all()
    (query,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert not {"dbsight.query.class", "dbsight.query.threshold", "dbsight.finding.ids"} & set(query.attributes)


def test_an_operation_without_anything_around_it_is_counted(telemetry):
    """record_query and drivers without spans: totals, and no window."""
    recording.publish(make_operation())
    assert telemetry.processor.analyzer.snapshot().calls == 1
    assert scope.window.get() is None
