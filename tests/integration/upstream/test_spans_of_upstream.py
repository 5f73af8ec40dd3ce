"""Real spans of OpenTelemetry's own instrumentors, with the old and the new names of attributes, are read as ours."""

import contextlib
import importlib
import re

import pytest

from dbsight import semconv
from dbsight.model import Operation
from hearing import hearing
from integration.upstream.clients import CLIENTS


@pytest.fixture(params=CLIENTS, ids=lambda each: each.name[0])
def upstream(request, instrumented):
    """One of them, what is exported, and what opens a connection."""
    upstream = request.param
    pytest.importorskip(upstream.needs, reason="the library is not installed")
    pytest.importorskip(f"opentelemetry.instrumentation.{upstream.name[0]}", reason="the instrumentor is missing")
    at = request.getfixturevalue(upstream.server or "tmp_path")
    telemetry = instrumented(upstream.instrumentor())
    with contextlib.ExitStack() as stack:

        def connect():
            connection = upstream.connect(at if upstream.server else at / "shop.db")
            stack.callback(connection.close)
            return connection

        yield upstream, telemetry, connect


def by_name(name):
    """The one with this instrumentor."""
    return next(each for each in CLIENTS if each.name[0] == name)


def filled(telemetry, connect):
    """A connection to a table with three rows; what was exported is forgotten."""
    connection = connect()
    with telemetry.root("setup"):
        connection.run("CREATE TABLE books (id INTEGER PRIMARY KEY, title VARCHAR(50))")
        connection.run("INSERT INTO books (id, title) VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    telemetry.clear()
    return connection


def operations(heard):
    """Of statements."""
    return [each for each in heard if isinstance(each, Operation)]


def test_each_statement_is_read_once(mode, upstream):
    """System, summary, table, line and error; six of a loop are one N+1; no value is exported."""
    client, telemetry, connect = upstream
    connection = filled(telemetry, connect)
    with hearing() as heard, telemetry.root():
        for number in range(6):
            connection.run(f"SELECT title FROM books WHERE id = {client.mark}", number % 3 + 1)
        connection.run("UPDATE books SET title = 'SECRET' WHERE id = 123454321")
        with pytest.raises(Exception):  # noqa: B017 - each has its own
            connection.run("SELECT id FROM missing WHERE title = 'SECRET'")
    found = operations(heard)
    assert [each.statement.summary for each in found] == ["SELECT books"] * 6 + ["UPDATE books", "SELECT missing"]
    assert {(each.statement.system, each.database.system) for each in found} == {(client.system, client.system)}
    assert len({each.statement.fingerprint for each in found}) == 3
    assert {each.call_site.function.rpartition(".")[2] for each in found} <= {"run", "sent"}
    assert [bool(each.error_type) for each in found] == [False] * 7 + [True]
    assert (found[-1].error_type != "_OTHER") is client.says_class
    assert telemetry.span("GET /").attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert not {"SECRET", "123454321"} & set(re.findall(r"\w+", repr(telemetry.spans())))


def test_connecting_is_waiting_and_no_statement(upstream):
    """Where upstream makes a span of it, its time is on the next statement."""
    client, telemetry, connect = upstream
    filled(telemetry, connect)
    with hearing() as heard, telemetry.root():
        connect().run("SELECT title FROM books")
    found = operations(heard)
    assert [each.statement.summary for each in found if "books" in each.statement.targets] == ["SELECT books"]
    assert any(each.connect_time > 0 for each in found) is client.connects


def test_fetches_of_a_cursor_are_one_execution(mode, instrumented, postgresql):
    """The instrumentor of asyncpg makes a span named ``CURSOR: SELECT`` of each fetch."""
    pytest.importorskip("asyncpg")
    upstream = importlib.import_module("opentelemetry.instrumentation.asyncpg")
    telemetry = instrumented(upstream.AsyncPGInstrumentor())
    client = by_name("asyncpg").connect(postgresql)
    every, some = (f"SELECT n FROM generate_series(1, {count}) AS n" for count in (40, 50))

    async def read():
        seen = []
        async with client.connection.transaction():
            seen += [row["n"] async for row in client.connection.cursor(every, prefetch=10)]
            cursor = await client.connection.cursor(some)
            for _ in range(20):
                seen += [row["n"] for row in await cursor.fetch(1)]
            seen.append((await cursor.fetchrow())["n"])
        return seen

    with contextlib.closing(client), hearing() as heard, telemetry.root():
        assert client.loop.run_until_complete(read()) == [*range(1, 41), *range(1, 21), 21]
    of_cursors = [each for each in operations(heard) if each.cursor]
    assert [each.statement.summary for each in of_cursors] == ["SELECT generate_series"] * 2
    root = telemetry.span("GET /")
    assert "dbsight.findings.rules" not in root.attributes
    assert root.attributes[semconv.DB_CALLS] == len(operations(heard))
    summaries = [span.attributes.get("db.query.summary") for span in telemetry.spans()]
    assert summaries.count("SELECT generate_series") >= 60


def test_captured_parameters_are_compared_and_not_exported(instrumented, postgresql):
    """``capture_parameters=True``: the same ones again are redundant, others are an N+1."""
    client = by_name("psycopg")
    telemetry = instrumented(client.instrumentor(), capture_parameters=True)
    connection = client.connect(postgresql)
    with contextlib.closing(connection):
        filled(telemetry, lambda: connection)
        for names in (["one"] * 6, ["one", "two", "three", "SECRET", "five", "six"]):
            with telemetry.root():
                for name in names:
                    connection.run("SELECT id FROM books WHERE title = %s", name)
    roots = [span for span in telemetry.spans() if span.name == "GET /"]
    assert [root.attributes["dbsight.findings.rules"] for root in roots] == [["redundant_query"], ["n_plus_one"]]
    assert "SECRET" not in repr(telemetry.spans())


def test_comments_of_upstream_change_no_fingerprint(instrumented, postgresql):
    """``enable_commenter=True`` and comments in the attribute, whose ``traceparent`` differs from query to query."""
    client = by_name("psycopg")
    telemetry = instrumented(client.instrumentor(), enable_commenter=True, enable_attribute_commenter=True)
    connection = client.connect(postgresql)
    with contextlib.closing(connection):
        filled(telemetry, lambda: connection)
        with hearing() as heard, telemetry.root():
            for number in range(6):
                connection.run("SELECT title FROM books WHERE id = %s", number)
    assert len({each.statement.fingerprint for each in operations(heard)}) == 1
    assert telemetry.span("GET /").attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert "traceparent" not in repr([span.attributes for span in telemetry.spans()])
