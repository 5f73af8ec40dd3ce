"""What users reported of other instrumentations of drivers, tried with dbsight: ``public_reports.toml`` lists them.

A test here for each kind of fault that no other test covers.
"""

import copy
import json
import pickle
import re
import sqlite3
import sys
import weakref
from pathlib import Path

import pytest

from driver_clients import (
    CLIENTS,
    AioMySQL,
    AioSQLite,
    AsyncMy,
    Asyncpg,
    AsyncPsycopg,
    MySQLClient,
    Psycopg,
    Psycopg2,
    PyMySQL,
    SQLite,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TESTS = Path(__file__).parents[2]
REPORTS = tomllib.loads(Path(__file__).with_name("public_reports.toml").read_text(encoding="utf-8"))["report"]


def each(*kinds):
    """A test for some kinds of clients."""
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)


def summaries(client):
    """Of its statements."""
    spans = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    return [span.attributes.get("db.query.summary", span.name) for span in spans]


def test_each_report_names_a_test_that_exists():
    """With its link, once; what was not tried says why."""
    links = [report["link"] for report in REPORTS]
    assert len(links) == len(set(links)) >= 25
    for report in REPORTS:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", report["link"])
        assert report["outcome"] in {"held", "mended", "does not apply"}, report["link"]
        if report["outcome"] == "does not apply":
            assert report["reason"]
        else:
            file, _, name = report["test"].partition("::")
            assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), report["test"]


@each(Psycopg, Psycopg2, SQLite, PyMySQL, MySQLClient, AsyncPsycopg, AioSQLite, AioMySQL, AsyncMy)
def test_a_generator_of_rows_is_consumed_by_the_driver_alone(connect, kind):
    """Each of its rows arrives, once, in one statement."""
    client = connect(kind)
    text = f"INSERT INTO books (id, title) VALUES ({client.mark(1)}, {client.mark(2)})"
    given = []

    def rows():
        for number in range(10, 15):
            given.append(number)
            yield number, "title"

    with client.telemetry.root():
        client.run(client.many(text, rows()))
    client.run(client.commit())
    assert given == [10, 11, 12, 13, 14]
    assert summaries(client) == ["INSERT books"]
    assert client.run(client.query("SELECT COUNT(*) FROM books"))[0][0] == 8


@each(*CLIENTS)
def test_connections_are_held_weakly_and_compared_as_before(connect, kind):
    """They are keys of weak dictionaries, equal to themselves alone, and have the attributes that they had."""
    client, other = connect(kind), object()
    connection = client.connection
    assert connection == connection  # noqa: PLR0124 - a proxy may not be
    assert connection != other
    assert hash(connection) == hash(connection)
    known = weakref.WeakKeyDictionary({connection: 1}) if kind is not MySQLClient else {connection: 1}
    assert known[connection] == 1
    for module in {type(connection).__module__.partition(".")[0], kind.module}:
        assert not module.startswith("dbsight")


@each(Psycopg2, SQLite, PyMySQL)
def test_what_cannot_be_copied_or_pickled_says_so_as_before(connect, kind):
    """The driver's own error, not one of a wrapper; its exceptions can be pickled."""
    client = connect(kind)
    if kind is not PyMySQL:  # a socket is in it
        with pytest.raises(TypeError):
            copy.copy(client.connection)
    with pytest.raises(TypeError):
        pickle.dumps(client.connection)
    with pytest.raises(Exception, match="missing") as caught:
        client.query("SELECT * FROM missing")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert again.args == caught.value.args


def test_a_with_block_gives_the_watched_cursor(connect):
    """``with connection.cursor() as cursor`` is the same object, and its statements are seen, of psycopg2."""
    client = connect(Psycopg2)
    with client.telemetry.root(), client.connection, client.connection.cursor() as cursor:
        cursor.execute("SELECT title FROM books")
        assert cursor.connection is client.connection
        assert next(iter(cursor)) == ("one",)
    assert summaries(client) == ["SELECT books"]


def test_adapters_are_prepared_with_the_connection(connect):
    """``adapt(…).prepare(connection)``, JSONB and ranges take what psycopg2 made, which C code checks."""
    extensions = pytest.importorskip("psycopg2.extensions")
    extras = pytest.importorskip("psycopg2.extras")
    client = connect(Psycopg2)
    for value in ([1, 2, 3], b"12345", "text"):
        extensions.adapt(value).prepare(client.connection)
    extras.register_default_jsonb(conn_or_curs=client.connection, loads=lambda text: [json.loads(text)])
    assert client.query("SELECT %s::jsonb", '{"a": 1}') == [([{"a": 1}],)]
    client.telemetry.clear()
    factory = extras.LoggingConnection
    logged = []
    with_log = __import__("psycopg2").connect(client.database.url(), connection_factory=factory)
    with_log.initialize(type("Log", (), {"write": lambda _, text: logged.append(text)})())
    with client.telemetry.root(), with_log.cursor() as cursor:
        cursor.execute("SELECT title FROM books")
    with_log.close()
    assert summaries(client) == ["SELECT books"]
    assert any("SELECT title" in str(line) for line in logged)


def test_iterating_over_an_asynchronous_cursor_of_a_pool(connect):
    """``async for`` and ``async with`` of psycopg's pool, whose check sends an empty text."""
    pool = pytest.importorskip("psycopg_pool")
    client = connect(AsyncPsycopg)

    async def read():
        check = pool.AsyncConnectionPool.check_connection
        async with pool.AsyncConnectionPool(client.database.url(), min_size=1, max_size=1, check=check) as made:
            await made.wait()
            async with made.connection() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT title FROM books ORDER BY id")
                return [row[0] async for row in cursor]

    with client.telemetry.root():
        assert client.run(read()) == ["one", "two", "three"]
    assert [each for each in summaries(client) if each == "SELECT books"] == ["SELECT books"]


def test_every_way_to_connect_is_watched(connect):
    """``psycopg.connect``, that of the class, of a subclass, and of one with a row factory."""
    psycopg = pytest.importorskip("psycopg")
    client = connect(Psycopg)
    url = client.database.url()

    class Own(psycopg.Connection):
        """The application's."""

    with client.telemetry.root():
        for opens in (psycopg.connect, psycopg.Connection.connect, Own.connect):
            with opens(url, row_factory=psycopg.rows.dict_row) as connection:
                assert connection.execute("SELECT title FROM books WHERE id = 1").fetchone() == {"title": "one"}
                assert connection.info.dbname == client.database.name
        assert isinstance(connection, Own)
        assert connection.closed
    assert summaries(client) == ["SELECT books"] * 3


def test_notices_and_notifications_arrive(connect):
    """LISTEN, NOTIFY and RAISE, of psycopg, psycopg2 and asyncpg: handlers are called with the driver's objects."""
    raises = "DO $$ BEGIN RAISE NOTICE 'noticed'; END $$"
    client = connect(Psycopg)
    noticed = []
    client.connection.autocommit = True
    client.connection.add_notice_handler(lambda about: noticed.append(about.message_primary))
    client.execute(raises)
    client.execute("LISTEN news")
    client.execute("NOTIFY news, 'psycopg'")
    assert noticed == ["noticed"]
    assert [each.payload for each in client.connection.notifies(timeout=5, stop_after=1)] == ["psycopg"]


def test_notices_and_notifications_of_psycopg2_arrive(connect):
    """In the lists of its connection."""
    client = connect(Psycopg2)
    client.connection.autocommit = True
    client.execute("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$")
    client.execute("LISTEN news")
    client.execute("NOTIFY news, 'psycopg2'")
    client.connection.poll()
    assert "noticed" in client.connection.notices[-1]
    assert [each.payload for each in client.connection.notifies] == ["psycopg2"]


def test_listeners_of_asyncpg_are_called(connect):
    """With the connection that the application has."""
    client = connect(Asyncpg)
    heard = []

    def note(connection, process, channel, payload):
        heard.append((connection, payload))

    async def listen():
        await client.connection.add_listener("news", note)
        await client.connection.execute("NOTIFY news, 'asyncpg'")
        await client.connection.execute("SELECT 1")
        await client.connection.remove_listener("news", note)

    client.run(listen())
    assert [payload for _, payload in heard] == ["asyncpg"]
    assert heard[0][0] is client.connection


def test_shortcuts_of_a_connection_are_seen(connect):
    """``connection.execute`` of sqlite3, its cursors are iterators, and its own methods take the connection."""
    client = connect(SQLite)
    connection = client.connection
    with client.telemetry.root():
        assert next(iter(connection.execute("SELECT title FROM books ORDER BY id"))) == ("one",)
        assert iter(cursor := connection.cursor()) is cursor
        connection.row_factory = sqlite3.Row
        connection.create_function("twice", 1, lambda text: text * 2)
        assert connection.execute("SELECT twice(title) AS title FROM books").fetchone()["title"] == "oneone"
        target = sqlite3.connect(":memory:")
        connection.backup(target)
        assert target.execute("SELECT COUNT(*) FROM books").fetchone() == (3,)
        target.close()
    assert summaries(client) == ["SELECT books"] * 3
