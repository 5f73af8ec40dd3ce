"""What every driver's instrumentor keeps, on its real server, sync and async."""

import contextlib
import gc
import inspect
import sqlite3
import time

import pytest

from dbsight import config
from dbsight.instrument.driver_call import Link
from dbsight.model import Operation, TransactionEvent
from driver_clients import CLIENTS, SQLite
from hearing import hearing


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.__name__)
def watched(request, connect):
    """A client of each driver."""
    return connect(request.param)


def insert(client):
    """Insert one book."""
    return f"INSERT INTO books (id, title) VALUES ({client.mark(1)}, {client.mark(2)})"


def by_id(client):
    """Select one book."""
    return f"SELECT title FROM books WHERE id = {client.mark(1)}"


def spans(client):
    """The spans of statements, without those by which asyncpg begins and ends transactions."""
    found = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    return [
        span
        for span in found
        if span.attributes.get("db.query.summary", span.name) not in {"BEGIN", "COMMIT", "ROLLBACK"}
    ]


def one(client):
    """The only one."""
    (span,) = spans(client)
    return span


def findings(client):
    """Rules that found something in the unit of work."""
    return client.telemetry.span("GET /").attributes.get("dbsight.findings.rules", [])


def test_a_query_has_name_text_rows_and_its_line(watched):
    """The summary as the name, a text without values, the rows, the database, and the line of the application."""
    with watched.telemetry.root():
        rows = watched.run(watched.query("SELECT id, title FROM books WHERE id > 1 AND title <> 'secret'"))
    assert len(rows) == 2
    span = one(watched)
    assert (span.name, span.scope.name) == ("SELECT books", "dbsight")
    attributes = span.attributes
    assert attributes["db.query.text"] == "SELECT id, title FROM books WHERE id > ? AND title <> ?"
    assert attributes["db.system.name"] == watched.system
    assert attributes["db.response.returned_rows"] == 2
    assert attributes["code.function.name"].endswith("query")
    lines, first = inspect.getsourcelines(type(watched).query)
    assert first < attributes["code.line.number"] < first + len(lines)
    assert attributes["db.namespace"] == (watched.database.name if watched.database else "shop.db")
    assert span.parent_span_id == watched.telemetry.span("GET /").span_id


def test_a_write_has_its_rows(watched):
    """Those affected, not returned."""
    with hearing(lambda each: each if isinstance(each, Operation) else None) as heard, watched.telemetry.root():
        watched.run(watched.execute("UPDATE books SET title = 'x' WHERE id > 1"))
    assert [(each.affected, each.rows) for each in heard if each.statement.kind == "update"] == [(2, None)]


@pytest.mark.parametrize("number", [0, 1, 10_000])
def test_executemany_is_one_statement(watched, number):
    """With the size of its batch from two on; none where there is nothing to execute."""
    rows = [(100 + each, "t") for each in range(number)]
    with watched.telemetry.root():
        watched.run(watched.many(insert(watched), rows))
    found = spans(watched)
    assert [span.name for span in found] == ["INSERT books"] * (number > 0)
    assert [span.attributes.get("db.operation.batch.size") for span in found] == [number if number > 1 else None] * len(
        found
    )


def test_the_same_parameters_are_redundant_others_an_n_plus_one(watched):
    """Parameters are told apart, and appear nowhere."""
    with watched.telemetry.root():
        for _ in range(6):
            watched.run(watched.query(by_id(watched), 2))
    assert findings(watched) == ["redundant_query"]
    watched.telemetry.clear()
    with watched.telemetry.root():
        for number in range(6):
            watched.run(watched.query(by_id(watched), number))
    assert findings(watched) == ["n_plus_one"]


def test_an_error_has_its_class_and_code_and_no_values(watched):
    """As the driver raised it."""
    with watched.telemetry.root(), pytest.raises(Exception) as raised:
        watched.run(watched.query("SELECT 'secret' FROM missing_table"))
    kind = type(raised.value)
    span = one(watched)
    assert span.attributes["error.type"] == f"{kind.__module__}.{kind.__qualname__}"
    if not (watched.system == "sqlite" and not hasattr(raised.value, "sqlite_errorname")):
        assert span.attributes["db.response.status_code"] == watched.code
    assert "secret" not in str(span)
    watched.run(watched.rollback())


@pytest.mark.parametrize("text", ["", "-- nothing", "/* nothing */"])
def test_a_text_without_a_statement_does_what_the_driver_does(watched, text):
    """It may be an error, and nothing is swallowed."""
    with watched.telemetry.root(), contextlib.suppress(Exception):
        watched.run(watched.execute(text))
    assert len(spans(watched)) <= 1
    watched.run(watched.rollback())


def test_its_duration_is_the_time_in_the_driver(watched):
    """A slow statement takes as long; the consumer's time between fetches is not in it."""
    with watched.telemetry.root():
        began = time.perf_counter()
        watched.run(watched.query(watched.slow))
        took = time.perf_counter() - began
    (point,) = watched.telemetry.points("db.client.operation.duration")[-1:]
    assert point.sum <= took + 0.5
    span = one(watched)
    assert span.end_ns - span.start_ns <= took * 1e9 + 1e6
    assert span.end_ns - span.start_ns >= took * 0.5e9


def test_a_transaction_is_an_event(watched):
    """From its first statement to its end, with what ran in it."""
    with hearing(lambda each: each if isinstance(each, TransactionEvent) else None) as heard, watched.telemetry.root():
        watched.run(watched.execute("UPDATE books SET title = 'x' WHERE id = 1"))
        watched.run(watched.execute("UPDATE books SET title = 'y' WHERE id = 1"))
        watched.run(watched.commit())
        watched.run(watched.execute("DELETE FROM books WHERE id = 1"))
        watched.run(watched.rollback())
    assert [(event.result, event.queries, event.writes) for event in heard] == [("commit", 2, 2), ("rollback", 1, 1)]


def test_a_synchronous_driver_on_an_event_loop_blocks_it(watched):
    """A finding for synchronous ones alone."""
    import asyncio

    async def handler():
        watched.query(watched.slow)

    if watched.asynchronous:
        with watched.telemetry.root():
            watched.run(watched.query(watched.slow))
        assert "blocking_call" not in findings(watched)
    else:
        with watched.telemetry.root():
            asyncio.run(handler())
        assert "blocking_call" in findings(watched)


def test_suppressed_and_uninstrumented_statements_are_not_seen(watched):
    """Neither while instrumentation is suppressed, nor afterwards."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with watched.telemetry.root(), suppress_instrumentation():
        watched.run(watched.query(by_id(watched), 1))
    watched.instrumentor().uninstrument()
    with watched.telemetry.root():
        watched.run(watched.query(by_id(watched), 1))
    assert spans(watched) == []


def test_parameters_of_any_kind_disturb_nothing(watched):
    """What the driver refuses is its own error; PyMySQL takes a single value."""
    config.use(config.Settings(parameters="full"))
    with watched.telemetry.root(), contextlib.suppress(Exception):
        cursor = watched.connection.cursor() if not watched.asynchronous else None
        if cursor is not None:
            cursor.execute(by_id(watched), 2)
        else:
            watched.run(watched.query(by_id(watched), object()))
    watched.run(watched.rollback())
    assert len(spans(watched)) <= 1


def test_a_connection_that_the_garbage_collector_frees_leaves_nothing(connect):
    """What was known of it is gone with it, not after the next collection."""
    client = connect(SQLite)
    with client.telemetry.root():
        own = [sqlite3.connect(":memory:")]
        own.append(own)  # a cycle
        own[0].execute("SELECT 1").fetchall()
    gc.collect()
    before = sum(type(each) is Link for each in gc.get_objects())
    del own
    gc.collect()
    assert sum(type(each) is Link for each in gc.get_objects()) == before - 1
