"""Slow queries on a real database: the finding stands on the query's own span."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.orm import Session

import dbsight
from dbsight import semconv
from dbsight.config import Settings
from integration.detect.shop import Order

COUNT = text("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n")
ALL = text("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n")


@pytest.fixture
def telemetry(engine, make_telemetry):
    """Limits of 20 ms and 10 s, so that a test is over soon."""
    return make_telemetry(settings=Settings(slow_query_threshold=0.02, very_slow_query_threshold=10.0))


def query(telemetry, work, engine):
    """The one span that ``work`` makes, apart from the root."""
    with telemetry.root("GET /report"), engine.connect() as connection:
        work(connection)
    (span,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    return span


def test_detects_a_slow_query_and_leaves_alone_a_quick_one(telemetry, engine):
    """Class, limit and finding are on the query's span; its status is unset, and the root counts it."""

    def slow(connection):
        connection.execute(COUNT).scalar_one()

    def quick(connection):
        connection.execute(text("SELECT 42 + 1 FROM customers")).all()

    span = query(telemetry, slow, engine)
    (found,) = span.events_named(semconv.FINDING_EVENT)
    assert {
        name: span.attributes[name] for name in (semconv.QUERY_CLASS, semconv.QUERY_THRESHOLD, semconv.FINDING_IDS)
    } == {
        semconv.QUERY_CLASS: "slow",
        semconv.QUERY_THRESHOLD: 0.02,
        semconv.FINDING_IDS: [found.attributes[semconv.FINDING_ID]],
    }
    assert span.status == "UNSET"
    assert found.attributes[semconv.FINDING_SEVERITY] == "warning"
    assert found.attributes[semconv.FINDING_CURRENT_VALUE] == pytest.approx(span.duration, abs=0.002)
    assert found.attributes[semconv.CODE_FUNCTION_NAME].endswith("slow")
    root = telemetry.span("GET /report")
    assert root.attributes[semconv.FINDINGS_RULES] == ["slow_query"]
    assert root.events_named(semconv.FINDING_EVENT) == []

    telemetry.clear()
    assert semconv.QUERY_CLASS not in query(telemetry, quick, engine).attributes


def test_the_time_of_the_application_between_fetches_is_not_the_databases(make_telemetry, engine):
    """Reading 5 000 rows with a pause in the middle that alone is above the limit."""
    telemetry = make_telemetry(settings=Settings(slow_query_threshold=0.3, very_slow_query_threshold=10.0))

    def work(connection):
        result = connection.execution_options(stream_results=True, max_row_buffer=100).execute(ALL)
        result.fetchmany(100)
        time.sleep(0.4)
        assert len(result.fetchall()) == 4900

    span = query(telemetry, work, engine)
    assert span.duration > 0.3
    assert semconv.QUERY_CLASS not in span.attributes


def test_time_in_fetching_is_told_apart(telemetry, tmp_path):
    """SQLite does the work when rows are fetched: here in a function that takes 3 ms for each."""
    engine = create_engine(f"sqlite:///{tmp_path / 'fetch.db'}")

    @event.listens_for(engine, "connect")
    def connect(connection, record):
        connection.create_function("slowly", 1, lambda value: time.sleep(0.003) or value)
        connection.execute("CREATE TEMPORARY TABLE numbers (id INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(9)])

    def work(connection):
        assert len(connection.execute(text("SELECT slowly(id) FROM numbers")).all()) == 9

    span = query(telemetry, work, engine)
    (found,) = span.events_named(semconv.FINDING_EVENT)
    description = found.attributes[semconv.FINDING_DESCRIPTION]
    assert description.startswith(("Waited 0 s, executed ", "Waited 0 s, connected "))
    assert description.endswith("; 9 rows returned.")
    assert span.attributes[semconv.QUERY_FETCH_TIME] > 0.02
    engine.dispose()


def test_leaves_alone_a_slow_query_that_was_allowed(telemetry, engine):
    """It is still slow, but nobody wants to hear of it."""

    def work(connection):
        with dbsight.allow("slow_query", reason="once a month"):
            connection.execute(COUNT).scalar_one()

    span = query(telemetry, work, engine)
    assert span.attributes[semconv.QUERY_CLASS] == "slow"
    assert span.events_named(semconv.FINDING_EVENT) == []


def test_a_slow_query_in_a_loop_is_one_finding_each_on_its_span(telemetry, engine):
    """And the loop is one finding on the root."""
    with telemetry.root("GET /report"), Session(engine) as session:
        for number in range(5):
            slow = text(f"{COUNT.text} WHERE i != :number")
            session.execute(slow, {"number": number}).all()
        session.scalars(select(Order)).all()
    root = telemetry.span("GET /report")
    assert root.attributes[semconv.FINDINGS_RULES] == ["n_plus_one", "slow_query"]
    assert [event_.attributes[semconv.FINDING_RULE] for event_ in root.events_named(semconv.FINDING_EVENT)] == [
        "n_plus_one"
    ]
    assert (
        sum(len(span.events_named(semconv.FINDING_EVENT)) for span in telemetry.spans() if span.kind == "CLIENT") == 5
    )
