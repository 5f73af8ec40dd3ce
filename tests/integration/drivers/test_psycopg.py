"""What psycopg 3 has beside the plain execution: server-side, client-side and raw cursors, stream, COPY, pipelines."""

import asyncio
import time

import psycopg
import pytest
from psycopg import sql

from dbsight.model import Operation, TransactionEvent
from driver_clients import AsyncPsycopg, Psycopg
from hearing import hearing


@pytest.fixture
def client(connect):
    """A synchronous client."""
    return connect(Psycopg)


@pytest.fixture
def asynchronous(connect):
    """An asynchronous one."""
    return connect(AsyncPsycopg)


def spans(client):
    """Its spans, as name, rows returned and rows affected."""
    return [
        (
            span.name,
            span.attributes.get("db.response.returned_rows"),
            span.attributes.get("dbsight.query.rows_affected"),
        )
        for span in client.telemetry.spans()
        if span.kind == "CLIENT"
    ]


def durations():
    """Of what runs in a block, s."""
    return hearing(lambda each: each.duration if isinstance(each, Operation) else None)


def test_a_server_side_cursor_is_one_statement(client):
    """However its rows are fetched; what the consumer does meanwhile does not count."""
    with durations() as heard, client.telemetry.root():
        with client.connection.cursor("named") as cursor:
            cursor.execute("SELECT n FROM generate_series(1, 10) AS n")
            assert cursor.fetchone() == (1,)
            time.sleep(0.4)
            assert len(cursor.fetchmany(3)) == 3
            assert len(cursor.fetchall()) == 6
        with client.connection.cursor("other") as cursor:
            cursor.execute("SELECT n FROM generate_series(1, 5) AS n")
            assert [row[0] for row in cursor] == [1, 2, 3, 4, 5]
    assert [rows for _, rows, _ in spans(client)] == [10, 5]
    assert max(heard) < 0.4


def test_an_asynchronous_server_side_cursor_is_one_statement(asynchronous):
    """The same, awaited."""

    async def read():
        async with asynchronous.connection.cursor("named") as cursor:
            await cursor.execute("SELECT n FROM generate_series(1, 5) AS n")
            assert await cursor.fetchone() == (1,)
            assert [row[0] async for row in cursor] == [2, 3, 4, 5]

    with asynchronous.telemetry.root():
        asynchronous.run(read())
    assert [rows for _, rows, _ in spans(asynchronous)] == [5]


def test_a_stream_is_one_statement_even_if_it_is_given_up(client):
    """With the rows that the consumer took."""
    cursor = client.connection.cursor()
    with client.telemetry.root():
        assert len(list(cursor.stream("SELECT n FROM generate_series(1, 10) AS n"))) == 10
        for row in cursor.stream("SELECT n FROM generate_series(1, 10) AS n"):
            if row[0] == 3:
                break
        with pytest.raises(psycopg.errors.UndefinedTable):
            list(cursor.stream("SELECT n FROM missing"))
    assert [rows for _, rows, _ in spans(client)][:2] == [10, 3]
    failed = [span for span in client.telemetry.spans() if span.attributes.get("error.type")]
    assert [span.attributes["db.response.status_code"] for span in failed] == ["42P01"]


def test_an_asynchronous_stream_is_one_statement(asynchronous):
    """The same, awaited."""

    async def read():
        cursor = asynchronous.connection.cursor()
        return [row async for row in cursor.stream("SELECT n FROM generate_series(1, 4) AS n")]

    with asynchronous.telemetry.root():
        assert len(asynchronous.run(read())) == 4
    assert [rows for _, rows, _ in spans(asynchronous)] == [4]


def test_copy_is_one_statement_in_both_directions(client):
    """Rows that were written, and rows that were read; the time of what moves them alone."""
    cursor = client.connection.cursor()
    with durations() as heard, client.telemetry.root():
        with cursor.copy("COPY books (id, title) FROM STDIN") as copy:
            for number in range(10, 20):
                copy.write_row((number, "secret"))
            time.sleep(0.4)
        with cursor.copy("COPY books TO STDOUT") as copy:
            assert len(list(copy.rows())) == 13
        with pytest.raises(psycopg.errors.UndefinedTable), cursor.copy("COPY missing TO STDOUT") as copy:
            copy.read()
    kept = spans(client)
    assert [rows for _, *rows in kept] == [[None, 10], [13, None], [None, None]]
    assert "secret" not in str(client.telemetry.spans())
    assert max(heard) < 0.4


def test_asynchronous_copy_is_one_statement(asynchronous):
    """The same, awaited."""

    async def move():
        cursor = asynchronous.connection.cursor()
        async with cursor.copy("COPY books (id, title) FROM STDIN") as copy:
            await copy.write_row((10, "ten"))
        async with cursor.copy("COPY books TO STDOUT") as copy:
            return [row async for row in copy.rows()]

    with asynchronous.telemetry.root():
        assert len(asynchronous.run(move())) == 4
    assert [rows for _, *rows in spans(asynchronous)] == [[None, 1], [4, None]]


def test_an_error_of_the_application_inside_copy_is_its_own(client):
    """The context manager passes it on, and the connection can be used again."""
    cursor = client.connection.cursor()
    error = KeyError("mine")
    with client.telemetry.root():
        with pytest.raises(KeyError) as raised, cursor.copy("COPY books (id, title) FROM STDIN") as copy:  # noqa: PT012 - the block is what raises
            copy.write_row((10, "ten"))
            raise error
        assert raised.value is error
        client.connection.rollback()
        assert client.query("SELECT count(*) FROM books") == [(3,)]
    assert len(spans(client)) == 2


def test_a_pipeline_has_a_span_per_statement(client):
    """Rows are not known when it was sent."""
    with client.telemetry.root(), client.connection.pipeline():
        first = client.connection.execute("SELECT 1")
        second = client.connection.execute("SELECT id FROM books")
        assert (len(first.fetchall()), len(second.fetchall())) == (1, 3)
    assert [name for name, *_ in spans(client)] == ["SELECT", "SELECT books"]


def test_other_kinds_of_cursors_and_texts_are_seen(client):
    """Client-side and raw cursors, bytes, and composed SQL, without their literals."""
    composed = sql.SQL("SELECT title FROM {} WHERE title = {}").format(sql.Identifier("books"), sql.Literal("secret"))
    with client.telemetry.root():
        psycopg.ClientCursor(client.connection).execute("SELECT title FROM books WHERE id = %s", (1,))
        psycopg.RawCursor(client.connection).execute("SELECT title FROM books WHERE id = $1", (1,))
        client.connection.execute(b"SELECT title FROM books WHERE id = 1")
        client.connection.execute(composed)
    assert [name for name, *_ in spans(client)] == [*["SELECT books"] * 3, 'SELECT "books"']
    assert "secret" not in str(client.telemetry.spans())


def test_a_transaction_block_is_an_event_of_the_connection(client):
    """``connection.transaction()`` commits without a statement of the application."""
    client.connection.commit()
    with hearing(lambda each: each.result if isinstance(each, TransactionEvent) else None) as heard:
        with client.connection.transaction():
            client.execute("DELETE FROM books WHERE id = 1")
        with pytest.raises(KeyError), client.connection.transaction():  # noqa: PT012 - the block is what raises
            client.execute("DELETE FROM books WHERE id = 1")
            raise KeyError
    assert heard == ["commit", "rollback"]


def test_a_cancelled_statement_is_no_error(asynchronous):
    """The task gave up; its time counts."""

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asynchronous.query("SELECT pg_sleep(10)"), 0.2)

    with asynchronous.telemetry.root():
        asynchronous.run(give_up())
    (span,) = [span for span in asynchronous.telemetry.spans() if span.kind == "CLIENT"]
    assert "error.type" not in span.attributes


def test_a_lost_connection_is_an_error_of_the_statement(client):
    """The next statement on it fails, and is reported as well."""
    pid = client.connection.info.backend_pid
    with client.telemetry.root():
        with pytest.raises(psycopg.OperationalError):
            client.execute(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(psycopg.OperationalError):
            client.connection.execute("SELECT 1")
    assert [span.attributes["error.type"] for span in client.telemetry.spans() if span.kind == "CLIENT"] in (
        ["psycopg.errors.AdminShutdown", "psycopg.OperationalError"],
        ["psycopg.errors.AdminShutdown"],
    )


def test_the_wait_for_a_pool_is_on_the_first_statement(client):
    """No other one waited."""
    import threading

    from psycopg_pool import ConnectionPool

    import dbsight

    pools = dbsight.PsycopgPoolInstrumentor()
    pools.instrument(meter_provider=client.telemetry.meter_provider, skip_dep_check=True)
    try:
        with ConnectionPool(client.database.url(), min_size=1, max_size=1, open=True) as pool:
            pool.wait()
            held = pool.getconn()
            threading.Timer(0.2, pool.putconn, (held,)).start()
            with client.telemetry.root(), pool.connection() as connection:
                connection.execute("SELECT 1")
                connection.execute("SELECT 2")
    finally:
        pools.uninstrument()
    found = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert [span.attributes.get("dbsight.pool.wait", 0) > 0.1 for span in found] == [True, False]
