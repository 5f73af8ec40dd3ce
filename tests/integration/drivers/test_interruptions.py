"""What every driver's instrumentor does when a statement is cut short, and how it times rows that are fetched later."""

import asyncio
import time

import psycopg
import pymysql
import pytest

from dbsight.model import Operation
from driver_clients import CLIENTS, AioMySQL, AsyncMy, MySQLClient, PyMySQL
from hearing import hearing

_PID = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
_TIMEOUT = {
    "postgresql": ("SET statement_timeout = 30", "SELECT pg_sleep(5)", "57014"),
    "mariadb": ("SET max_statement_time = 0.03", "SELECT SLEEP(5) FROM books", "1969"),
}


def each(*kinds):
    """A test for each of these drivers."""
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)


def kill(client, number):
    """End a connection of a client from another one."""
    where = client.database
    if client.system == "postgresql":
        with psycopg.connect(where.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (number,))
        return
    with pymysql.connect(**PyMySQL.arguments(client)) as connection, connection.cursor() as cursor:
        cursor.execute("KILL %s", (number,))


def statements(client, name):
    """Attributes of the spans of a name."""
    return [dict(span.attributes) for span in client.telemetry.spans() if span.name == name]


@each(*(kind for kind in CLIENTS if kind.server))
def test_a_lost_connection_is_an_error_of_its_statement(connect, kind):
    """Its class is known; what is open on the connection ends with it."""
    client = connect(kind)
    number = client.run(client.query(_PID[client.system]))[0][0]
    client.run(client.commit())
    client.telemetry.clear()
    kill(client, number)
    with client.telemetry.root(), pytest.raises(Exception) as raised:
        client.run(client.query("SELECT id FROM books"))
    (attributes,) = statements(client, "SELECT books")
    cls = type(raised.value)
    assert attributes["error.type"] == f"{cls.__module__}.{cls.__qualname__}"
    assert attributes["db.system.name"] == client.system


@each(*(kind for kind in CLIENTS if kind.server))
def test_a_statement_timeout_has_its_code(connect, kind):
    """As the server gave it."""
    client = connect(kind)
    limit, slow, code = _TIMEOUT[client.system]
    client.run(client.execute(limit))
    client.run(client.commit())
    client.telemetry.clear()
    with client.telemetry.root(), pytest.raises(Exception):  # noqa: B017 - each driver has its own
        client.run(client.query(slow))
    (attributes,) = [
        dict(span.attributes)
        for span in client.telemetry.spans()
        if span.kind == "CLIENT" and "error.type" in span.attributes
    ]
    assert attributes["db.response.status_code"] == code
    client.run(client.rollback())


@each(*(kind for kind in CLIENTS if kind.asynchronous))
def test_a_cancelled_statement_is_no_error(connect, kind):
    """Its span ends when its task does."""
    client = connect(kind)

    async def cancelled():
        await asyncio.wait_for(client.query(client.slow), 0.02)

    with client.telemetry.root(), pytest.raises(asyncio.TimeoutError):
        client.run(cancelled())
    (span,) = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert "error.type" not in span.attributes


@each(PyMySQL, MySQLClient, AioMySQL, AsyncMy)
@pytest.mark.parametrize("name", ["SSCursor", "SSDictCursor"])
def test_an_unbuffered_cursor_is_one_statement_without_the_time_of_its_consumer(connect, kind, name):
    """However its rows are fetched; the time of fetches is told apart."""
    client = connect(kind)
    cursors = __import__(f"{kind.module}.cursors", fromlist=["cursors"]) if kind is not PyMySQL else pymysql.cursors
    factory = getattr(cursors, name)

    def read():
        cursor = client.connection.cursor(factory)
        cursor.execute("SELECT id FROM books")
        rows = [cursor.fetchone()]
        time.sleep(0.3)
        rows += cursor.fetchmany(1)
        rows += cursor.fetchall()
        cursor.close()
        return rows

    async def read_async():
        cursor = client.connection.cursor(factory)
        cursor = await cursor if kind is AioMySQL else cursor
        await cursor.execute("SELECT id FROM books")
        rows = [await cursor.fetchone()]
        await asyncio.sleep(0.3)
        rows += await cursor.fetchmany(1)
        rows += await cursor.fetchall()
        await cursor.close()
        return rows

    with hearing(lambda record: record if isinstance(record, Operation) else None) as heard, client.telemetry.root():
        rows = client.run(read_async() if client.asynchronous else read())
    assert len(rows) == 3
    (operation,) = [record for record in heard if record.statement.kind == "select"]
    assert operation.rows == 3
    assert 0 < operation.fetch_time <= operation.duration < 0.3


@each(*CLIENTS)
def test_a_text_of_bytes_does_what_the_driver_does(connect, kind):
    """Where a driver takes it, the statement is read as its characters."""
    client = connect(kind)
    with client.telemetry.root():
        try:
            client.run(client.query(b"SELECT id FROM books WHERE id = 1"))
            taken = True
        except Exception:  # a driver that takes text alone
            taken = False
    texts = [found.get("db.query.text") for found in statements(client, "SELECT books")]
    assert texts == ["SELECT id FROM books WHERE id = ?"] * len(texts)
    assert len(texts) == 1 or not taken
    client.run(client.rollback())
