"""psycopg2, whose C types are subclassed: factories, type checks in C, named cursors, COPY and batches work."""

import asyncio
import functools
import io
import time

import psycopg2
import pytest
from psycopg2 import extensions, extras, sql
from sqlalchemy import create_engine, text

import dbsight
from dbsight.model import Operation, TransactionEvent
from driver_clients import Psycopg2
from hearing import hearing


@pytest.fixture
def client(connect):
    """A client of psycopg2."""
    return connect(Psycopg2)


def spans(client):
    """Its spans, as name, rows returned, rows affected and batch size."""
    keys = ("db.response.returned_rows", "dbsight.query.rows_affected", "db.operation.batch.size")
    return [
        (span.name, *(span.attributes.get(key) for key in keys))
        for span in client.telemetry.spans()
        if span.kind == "CLIENT"
    ]


def test_the_checks_of_the_c_extension_hold(client):
    """``isinstance``, ``register_type``, adapters of ``extras``, ``quote_ident`` and Composed text take its objects."""
    connection = client.connection
    assert isinstance(connection, extensions.connection)
    assert type(connection).__name__ == "connection"
    cursor = connection.cursor()
    assert isinstance(cursor, extensions.cursor)
    assert cursor.connection is connection
    for each in (connection, cursor):
        extensions.register_type(extensions.UNICODE, each)
        extras.register_uuid(conn_or_curs=each)
        extras.register_default_json(each)
        assert extensions.quote_ident("a b", each) == '"a b"'
    with client.telemetry.root():
        cursor.execute(sql.SQL("SELECT {} FROM books").format(sql.Identifier("title")))
        cursor.execute(b"SELECT id FROM books")
    assert [name for name, *_ in spans(client)] == ["SELECT books", "SELECT books"]


@pytest.mark.parametrize("name", ["DictCursor", "RealDictCursor", "NamedTupleCursor"])
@pytest.mark.parametrize("named", [None, "server"])
def test_cursors_of_extras_keep_their_rows(client, name, named):
    """By factory of the cursor or of the connection, buffered or on the server; one statement each."""
    factory = getattr(extras, name)
    with client.telemetry.root():
        cursor = client.connection.cursor(named, cursor_factory=factory)
        assert isinstance(cursor, factory)
        cursor.execute("SELECT id, title FROM books ORDER BY id")
        row = cursor.fetchone()
        assert (row.title if name == "NamedTupleCursor" else row["title"]) == "one"
        assert len(list(cursor)) == 2
        cursor.close()
    assert spans(client) == [("SELECT books", 3, None, None)]


@pytest.mark.parametrize("name", ["DictConnection", "RealDictConnection", "NamedTupleConnection"])
def test_connections_of_extras_make_their_own_cursors(client, name):
    """The default that such a connection sets is kept; so are a factory of cursors and the application's own class."""
    factory = getattr(extras, name)
    connection = psycopg2.connect(client.database.url(), connection_factory=factory)
    try:
        assert isinstance(connection, factory)
        assert type(connection.cursor()).__name__ == name.replace("Connection", "Cursor")
    finally:
        connection.close()

    class Own(extensions.cursor):
        """The application's."""

        def execute(self, query, vars=None):  # noqa: A002 - as the original
            return super().execute(query + " WHERE id = 1", vars)

    connection = psycopg2.connect(client.database.url(), cursor_factory=Own)
    try:
        assert connection.cursor_factory is Own
        with client.telemetry.root(), connection.cursor() as cursor:
            cursor.execute("SELECT id FROM books")
    finally:
        connection.close()
    (span,) = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert span.attributes["db.query.text"] == "SELECT id FROM books WHERE id = ?"


def test_a_factory_that_is_no_class_is_left_alone(client):
    """Its cursor is what it returns, and nothing is recorded."""
    with client.telemetry.root():
        cursor = client.connection.cursor(cursor_factory=functools.partial(extensions.cursor))
        cursor.execute("SELECT id FROM books")
    assert type(cursor) is extensions.cursor
    assert spans(client) == []


def test_a_named_cursor_is_one_statement_without_the_time_of_its_consumer(client):
    """However its rows are fetched."""
    with (
        hearing(lambda each: each if isinstance(each, Operation) else None) as heard,
        client.telemetry.root(),
        client.connection.cursor("named") as cursor,
    ):
        cursor.execute("SELECT n FROM generate_series(1, 10) AS n")
        assert cursor.fetchone() == (1,)
        time.sleep(0.4)
        assert len(cursor.fetchmany(3)) == 3
        assert len(cursor.fetchall()) == 6
    assert [rows for _, rows, *_ in spans(client)] == [10]
    (operation,) = heard
    assert operation.duration < 0.4
    assert operation.fetch_time > 0


def test_batches_of_extras_are_one_statement_with_their_size(client):
    """However many pages are sent; rows affected are known for one page only."""
    rows = [(number, "t") for number in range(100, 350)]
    insert = "INSERT INTO books (id, title) VALUES %s"
    cursor = client.connection.cursor()
    with client.telemetry.root():
        extras.execute_values(cursor, insert, rows[:50])
        extras.execute_values(cursor, insert, rows[50:])
        extras.execute_batch(cursor, "UPDATE books SET title = %s WHERE id = %s", [("u", each) for each, _ in rows])
        returned = extras.execute_values(cursor, insert + " RETURNING id", [(900, "x"), (901, "y")], fetch=True)
    assert returned == [(900,), (901,)]
    assert spans(client) == [
        ("INSERT books", None, 50, 50),
        ("INSERT books", None, None, 200),
        ("UPDATE books", None, None, 250),
        ("INSERT books", 2, None, 2),
    ]


def test_copy_in_both_directions_counts_rows(client):
    """By ``copy_expert``, ``copy_from`` and ``copy_to``."""
    cursor = client.connection.cursor()
    with client.telemetry.root():
        cursor.copy_expert("COPY books FROM STDIN", io.StringIO("10\tten\n11\televen\n"))
        cursor.copy_expert(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier("books")), io.StringIO())
        cursor.copy_from(io.StringIO("12,twelve\n"), "books", sep=",", columns=("id", "title"))
        cursor.copy_to(io.StringIO(), "books")
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY missing FROM STDIN", io.StringIO())
    assert [found[1:3] for found in spans(client)] == [(None, 2), (5, None), (None, 1), (6, None), (None, None)]


def test_with_and_reset_end_transactions(client):
    """As ``commit`` and ``rollback`` do, once each."""
    connection = client.connection
    with hearing(lambda each: each if isinstance(each, TransactionEvent) else None) as heard, client.telemetry.root():
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE books SET title = 'x'")
        with pytest.raises(psycopg2.Error), connection, connection.cursor() as cursor:
            cursor.execute("UPDATE books SET id = 1")
        connection.cursor().execute("UPDATE books SET title = 'z'")
        connection.reset()
    assert [event.result for event in heard] == ["commit", "rollback", "rollback"]


def test_a_killed_backend_and_a_timeout_have_their_codes(client):
    """The error is the driver's own, and the connection can be closed."""
    cursor = client.connection.cursor()
    with client.telemetry.root():
        cursor.execute("SET statement_timeout = 20")
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT pg_sleep(2)")
        client.connection.rollback()
        other = psycopg2.connect(client.database.url())
        other.cursor().execute("SELECT pg_terminate_backend(%s)", (client.connection.get_backend_pid(),))
        other.close()
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT id FROM books")
    codes = [span.attributes.get("db.response.status_code") for span in client.telemetry.spans()]
    assert "57014" in codes
    (lost,) = [span for span in client.telemetry.spans() if span.name == "SELECT books"]
    assert lost.attributes["error.type"].startswith("psycopg2.")


def test_after_uninstrumenting_nothing_is_replaced(client):
    """New connections are of the driver's own class."""
    client.instrumentor().uninstrument()
    connection = psycopg2.connect(client.database.url())
    try:
        assert type(connection) is extensions.connection
        assert type(connection.cursor()) is extensions.cursor
    finally:
        connection.close()


@pytest.mark.parametrize("first", ["sqlalchemy", "driver"])
def test_below_sqlalchemy_there_is_one_span_per_statement(make_telemetry, postgresql, first):
    """Whichever is instrumented first, with server-side cursors too; its connections are of the driver's own class."""
    telemetry = make_telemetry(instrument=False)
    kinds = [dbsight.SQLAlchemyInstrumentor(), dbsight.Psycopg2Instrumentor()]
    for kind in kinds if first == "sqlalchemy" else reversed(kinds):
        kind.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    try:
        engine = create_engine(postgresql.url("postgresql+psycopg2"))
        with telemetry.root(), engine.begin() as connection:
            assert type(connection.connection.dbapi_connection) is extensions.connection
            assert connection.execute(text("SELECT 1")).scalar() == 1
            streamed = connection.execution_options(stream_results=True)
            assert len(streamed.execute(text("SELECT n FROM generate_series(1, 5) AS n")).all()) == 5
        engine.dispose()
    finally:
        for kind in kinds:
            kind.uninstrument()
    assert len([span for span in telemetry.spans() if span.kind == "CLIENT"]) == 2


def test_an_asynchronous_connection_blocks_no_event_loop(client):
    """Its statement ends when it was sent; its results are the driver's own."""

    async def run():
        connection = psycopg2.connect(client.database.url(), async_=True)
        extras.wait_select(connection)
        cursor = connection.cursor()
        cursor.execute("SELECT pg_sleep(0.15), 7")
        extras.wait_select(connection)
        assert cursor.fetchone()[1] == 7
        connection.close()

    with client.telemetry.root():
        asyncio.run(run())
    assert spans(client) == [("SELECT", None, None, None)]
    assert "dbsight.findings.rules" not in client.telemetry.span("GET /").attributes
