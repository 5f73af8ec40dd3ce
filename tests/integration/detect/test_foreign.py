"""Loops seen through the spans of other instrumentations."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest
import sqlalchemy
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.trace import SpanKind
from sqlalchemy import text

from integration.detect.conftest import Watch

NUMBERS = range(1, 7)


@pytest.fixture
def instrumented(engine, make_telemetry):
    """A ``Watch`` without our own instrumentor, but with these: ``instrumented(SQLite3Instrumentor)``."""
    made = []

    def instrument(*classes, ours=False):
        telemetry = make_telemetry(instrument=ours)
        for each in classes:
            each().instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
            made.append(each())
        return Watch(engine, telemetry)

    yield instrument
    for each in made:
        each.uninstrument()


def test_detects_a_loop_of_the_driver_alone(instrumented):
    """sqlite3 without SQLAlchemy: parameters are unknown, the line is not."""
    watch = instrumented(SQLite3Instrumentor)

    def work(session, query, values):
        with closing(sqlite3.connect(watch.engine.url.database)) as connection:
            cursor = connection.cursor()
            for value in values:
                cursor.execute(query, value).fetchall()  # the line

    (found,) = watch(work, "SELECT name FROM customers WHERE id = ?", [(number,) for number in NUMBERS])
    assert (found.severity, found.count, found.suggestion) == (
        "warning",
        6,
        "SELECT id, name FROM customers WHERE id IN (…)",
    )
    assert found.line.endswith("# the line")
    assert watch(work, f"SELECT name FROM customers WHERE id IN ({','.join('?' * 6)})", [tuple(NUMBERS)]) == []


@pytest.mark.parametrize(
    ("classes", "ours"),
    [
        ((SQLAlchemyInstrumentor,), False),
        ((SQLite3Instrumentor, SQLAlchemyInstrumentor), False),
        ((SQLite3Instrumentor,), True),
    ],
    ids=["library", "library and driver", "ours and driver"],
)
def test_a_query_seen_by_two_instrumentations_counts_once(instrumented, classes, ours):
    """Whoever else looks, six queries are six."""
    watch = instrumented(*classes, ours=ours)
    engine = sqlalchemy.create_engine(watch.engine.url)  # by its module: upstream replaces it there

    def work(_):
        with engine.connect() as connection:
            for number in NUMBERS:
                connection.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": number}).all()

    assert [found.count for found in watch(work)] == [6]
    engine.dispose()


@pytest.mark.parametrize("name", ["CURSOR: SELECT", "sqlite.query.fetchone", "postgres.fetch"])
def test_leaves_alone_the_fetches_of_a_cursor(instrumented, name):
    """Spans for the rows of one statement, however an instrumentation names them; executions are a loop."""
    watch = instrumented()
    attributes = {"db.system": "postgresql", "db.statement": "SELECT name FROM customers WHERE id <> $1"}

    def work(session, name):
        for _ in range(58):
            with watch.telemetry.tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes):
                time.sleep(0.0001)  # what comes sooner, a cache has answered

    assert watch(work, name) == []
    assert [(found.rule, found.count) for found in watch(work, "SELECT fetch")] == [("n_plus_one", 58)]
