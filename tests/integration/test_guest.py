"""Where OpenTelemetry's own SQLAlchemy instrumentation makes the spans: they are enriched, each query counts once."""

import time

import pytest
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor as Upstream
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from sqlalchemy import create_engine, exc, select, text
from sqlalchemy.orm import Session

import dbsight
from dbsight.instrument import upstream_spans
from shop import Author, Book, fill

UPSTREAM = "opentelemetry.instrumentation.sqlalchemy"


@pytest.fixture
def upstream():
    """Instruments an engine as another distribution would have done; undone after the test."""

    def instrument(telemetry, engine):
        Upstream().instrument(tracer_provider=telemetry.tracer_provider, engine=engine, skip_dep_check=True)
        return engine

    yield instrument
    EngineTracer.remove_all_event_listeners()
    if Upstream().is_instrumented_by_opentelemetry:
        Upstream().uninstrument()
    assert not upstream_spans._open


@pytest.fixture
def engine(tmp_path):
    """An engine on a filled SQLite file."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    fill(engine)
    yield engine
    engine.dispose()


def queries(telemetry):
    """The spans of queries, in the order in which they were exported."""
    return [span for span in telemetry.spans() if span.kind == "CLIENT" and span.name != "connect"]


def loop(engine):
    """An N+1 of five."""
    with Session(engine) as session:
        return [book.author.name for book in session.scalars(select(Book))]  # loop


def test_its_span_gets_what_we_know_and_none_is_added(engine, telemetry, upstream):
    """Call site, fingerprint, relationship, rows on its spans; the finding on the root; metrics once."""
    upstream(telemetry, engine)
    with telemetry.root():
        loop(engine)
    spans = queries(telemetry)
    assert {span.scope.name for span in spans} == {UPSTREAM}
    assert [
        (
            span.attributes["db.query.summary"],
            span.attributes["code.function.name"],
            span.attributes["db.response.returned_rows"],
            span.attributes.get("dbsight.orm.relationship"),
        )
        for span in spans
    ] == [("SELECT books", "loop", 10, None), *[("SELECT authors", "loop", 1, "Book.author")] * 5]
    root = telemetry.span("GET /")
    assert (root.attributes["dbsight.db.calls"], root.attributes["dbsight.findings.rules"]) == (6, ["n_plus_one"])
    assert {span.parent_span_id for span in spans} == {root.span_id}
    assert sum(point.count for point in telemetry.points("db.client.operation.duration")) == 6


def test_it_may_come_after_ours_and_go_again(engine, telemetry, upstream):
    """Decided for each query: our span before it came, its span while it is there, ours again afterwards."""
    with telemetry.root(), engine.connect() as connection:
        connection.execute(select(Author.id)).all()
        upstream(telemetry, engine)
        connection.execute(select(Author.id)).all()
        EngineTracer.remove_all_event_listeners()
        connection.execute(select(Author.id)).all()
    assert [span.scope.name for span in queries(telemetry)] == ["dbsight", UPSTREAM, "dbsight"]
    assert telemetry.span("GET /").attributes["dbsight.db.calls"] == 3


def test_an_engine_that_it_misses_is_ours(engine, telemetry, upstream, tmp_path):
    """It covers no engine that was made before it: those have our spans."""
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    upstream(telemetry, engine)
    with telemetry.root():
        for each in (engine, other):
            with each.connect() as connection:
                connection.execute(text("SELECT 7 AS n")).all()
    assert [span.scope.name for span in queries(telemetry)] == [UPSTREAM, "dbsight"]


def test_its_span_waits_for_the_rows(engine, make_telemetry, upstream):
    """It ends when the driver returns; the class is known when the rows are read."""
    from dbsight import config

    config.use(config.Settings(slow_query_threshold=0.05))
    telemetry = make_telemetry()
    upstream(telemetry, engine)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n"
    with telemetry.root(), engine.connect() as connection:
        result = connection.execute(text(numbers))
        assert queries(telemetry) == []
        deadline = time.perf_counter() + 10
        while time.perf_counter() < deadline and result.fetchmany(1000):
            continue
    (span,) = queries(telemetry)
    assert span.attributes["dbsight.query.class"] in {"slow", "very_slow"}
    assert span.attributes["db.response.returned_rows"] == 300_000
    assert span.attributes["dbsight.query.fetch_time"] > 0.02
    assert [event.attributes["dbsight.finding.rule"] for event in span.events] == ["slow_query"]


def test_an_abandoned_result_goes_with_its_root(engine, telemetry, upstream):
    """Nothing is held back longer than the request lasts."""
    upstream(telemetry, engine)
    connection = engine.connect()
    with telemetry.root():
        connection.execute(select(Author.id)).fetchone()
    assert [span.attributes["db.response.returned_rows"] for span in queries(telemetry)] == [1]
    assert telemetry.spans()[-1].name == "GET /"
    connection.close()


def test_outside_any_span_its_spans_hang_below_the_root_that_is_drawn(engine, telemetry, upstream):
    """Each would be a trace of its own: they become one."""
    upstream(telemetry, engine)
    loop(engine)
    telemetry.processor.analyzer.finish()
    root = telemetry.span("dbsight.window")
    assert {(span.trace_id, span.parent_span_id) for span in queries(telemetry)} == {(root.trace_id, root.span_id)}
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]


def test_an_error_keeps_its_class_and_loses_its_message(engine, telemetry, upstream):
    """It writes the driver's message, which quotes values, into the status."""
    upstream(telemetry, engine)
    with telemetry.root(), engine.connect() as connection, pytest.raises(exc.IntegrityError):
        connection.execute(text("INSERT INTO authors (id, name) VALUES (1, 'MARKER')"))
    (span,) = queries(telemetry)
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "sqlite3.IntegrityError")
    assert span.status_description.startswith("sqlite3.IntegrityError")
    assert "MARKER" not in repr(telemetry.spans())


def test_unsampled_work_is_counted_and_not_exported(engine, make_telemetry, upstream):
    """Its span is not recorded, and ours does not take its place."""
    telemetry = make_telemetry(sampler=ParentBased(ALWAYS_OFF))
    upstream(telemetry, engine)
    with telemetry.root():
        loop(engine)
    assert telemetry.spans() == []
    assert sum(point.count for point in telemetry.points("db.client.operation.duration")) == 6


def test_two_processors_of_ours_hand_on_the_same_span(engine, telemetry, upstream):
    """Both exporters get each span once, with everything on it."""
    exporter = InMemorySpanExporter()
    second = dbsight.DbsightSpanProcessor(
        SimpleSpanProcessor(exporter),
        meter_provider=telemetry.meter_provider,
        logger_provider=telemetry.logger_provider,
    )
    telemetry.tracer_provider.add_span_processor(second)
    upstream(telemetry, engine)
    with telemetry.root():
        loop(engine)
    kept = [span for span in telemetry.readable_spans() if span.name.startswith("SELECT")]
    assert [span for span in exporter.get_finished_spans() if span.name.startswith("SELECT")] == kept
    assert len(kept) == 6
    assert telemetry.span("GET /").attributes["dbsight.db.calls"] == 6


def test_a_result_that_is_open_at_the_end_of_the_process_is_not_lost(engine, telemetry, upstream):
    """A script leaves it so: its span goes out with the root."""
    upstream(telemetry, engine)
    connection = engine.connect()
    result = connection.execute(select(Author.id))
    result.fetchone()
    telemetry.processor.analyzer.finish()
    (span,) = queries(telemetry)
    assert span.attributes["db.response.returned_rows"] == 1
    assert telemetry.span("dbsight.window").attributes["dbsight.db.calls"] == 1
    connection.close()
