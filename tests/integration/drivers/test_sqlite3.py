"""sqlite3, whose C types are subclassed: nothing else about them changes; and one span per statement below others."""

import gc
import pickle
import sqlite3
import weakref

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

import dbsight
from driver_clients import AioSQLite, SQLite


@pytest.fixture
def client(connect):
    """A client of sqlite3."""
    return connect(SQLite)


def rows(client):
    """Rows returned, of each statement."""
    found = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    return [span.attributes.get("db.response.returned_rows") for span in found]


def test_its_objects_are_those_of_the_library(client):
    """By class, name, text and errors; a factory of the application's own is kept."""

    class Connection(sqlite3.Connection):
        """The application's."""

        def hello(self):
            """Something of its own."""
            return "hello"

    class Cursor(sqlite3.Cursor):
        """The application's."""

    connection = client.connection
    assert isinstance(connection, sqlite3.Connection)
    assert repr(connection).startswith("<sqlite3.Connection object at")
    assert repr(connection.cursor()).startswith("<sqlite3.Cursor object at")
    assert weakref.ref(connection)() is connection
    with pytest.raises(TypeError):
        pickle.dumps(connection)
    with pytest.raises(AttributeError):
        connection.anything = 1
    own = sqlite3.connect(":memory:", factory=Connection)
    assert own.hello() == "hello"
    assert isinstance(own.cursor(Cursor), Cursor)
    assert own.cursor(factory=Cursor).execute("SELECT 1").fetchone() == (1,)
    own.close()
    with pytest.raises(TypeError):
        connection.cursor(factory=lambda _: None)
    other = sqlite3.connect(":memory:")
    connection.backup(other)
    other.close()


def test_rows_are_counted_however_they_are_fetched(client):
    """Also of a result that was not read to its end, when its cursor is gone."""
    connection = client.connection
    with client.telemetry.root():
        assert len(list(connection.execute("SELECT id FROM books"))) == 3
        assert connection.execute("SELECT id FROM books").fetchone() == (1,)
        gc.collect()
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM books")
        assert len(cursor.fetchmany(2)) == 2
        cursor.execute("SELECT id FROM books")
        assert len(cursor.fetchall()) == 3
        for (_number,) in connection.execute("SELECT id FROM books"):
            connection.execute("SELECT title FROM books WHERE id = 1").fetchall()
    assert sorted(rows(client)) == [1, 1, 1, 1, 2, 3, 3, 3]


def test_a_with_block_ends_its_transaction(client):
    """By commit, or by rollback where it raises."""
    from dbsight.model import TransactionEvent
    from hearing import hearing

    with hearing(lambda each: each.result if isinstance(each, TransactionEvent) else None) as heard:
        with client.connection as connection:
            connection.execute("DELETE FROM books WHERE id = 1")
        with pytest.raises(KeyError), client.connection as connection:  # noqa: PT012 - the block is what raises
            connection.execute("DELETE FROM books WHERE id = 2")
            raise KeyError
    assert heard == ["commit", "rollback"]


def test_what_a_creator_of_sqlalchemy_opens_is_left_alone(make_telemetry, tmp_path):
    """What is asked of it is reported above; a connection of the application's own is watched as ever."""
    telemetry = make_telemetry()
    driver = dbsight.SQLite3Instrumentor()
    driver.instrument(tracer_provider=telemetry.tracer_provider)
    path = str(tmp_path / "shop.db")
    try:
        engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path))
        with telemetry.root(), engine.connect() as connection:
            assert type(connection.connection.dbapi_connection) is sqlite3.Connection
            connection.execute(text("SELECT 1 + 1")).all()
        engine.dispose()
        own = sqlite3.connect(path)
        with telemetry.root():
            own.execute("SELECT 2 + 2").fetchall()
        own.close()
    finally:
        driver.uninstrument()
    queries = [span.attributes["db.query.text"] for span in telemetry.spans() if span.kind == "CLIENT"]
    assert queries == ["SELECT ? + ?", "SELECT ? + ?"]


@pytest.mark.parametrize("first", ["sqlalchemy", "driver"])
def test_below_sqlalchemy_there_is_one_span_per_statement(make_telemetry, tmp_path, first):
    """Whichever is instrumented first, sync and async."""
    import asyncio

    telemetry = make_telemetry(instrument=False)
    drivers = [dbsight.SQLite3Instrumentor(), dbsight.AioSQLiteInstrumentor()]
    kinds = (
        [dbsight.SQLAlchemyInstrumentor(), *drivers]
        if first == "sqlalchemy"
        else [*drivers, dbsight.SQLAlchemyInstrumentor()]
    )
    path = tmp_path / "shop.db"
    for kind in kinds:
        kind.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    try:
        engine = create_engine(f"sqlite:///{path}")
        with telemetry.root(), engine.begin() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
            connection.execute(text("CREATE TABLE t (n INTEGER)"))
        engine.dispose()

        async def run():
            engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
            async with engine.begin() as connection:
                await connection.execute(text("SELECT 1"))
                async for _ in await connection.stream(text("SELECT 2")):
                    pass
            await engine.dispose()

        with telemetry.root():
            asyncio.run(run())
    finally:
        for kind in kinds:
            kind.uninstrument()
    names = [span.name for span in telemetry.spans() if span.kind == "CLIENT"]
    assert names == ["SELECT", "CREATE TABLE t", "SELECT", "SELECT"]


def test_aiosqlite_has_one_span_per_statement_while_sqlite3_is_instrumented_too(connect):
    """What its thread asks of sqlite3 is reported where it is awaited."""
    client = connect(AioSQLite)
    below = dbsight.SQLite3Instrumentor()
    below.instrument(tracer_provider=client.telemetry.tracer_provider, skip_dep_check=True)
    try:

        async def read():
            import aiosqlite

            async with aiosqlite.connect(client.path) as connection:
                async with connection.execute("SELECT id FROM books") as cursor:
                    assert len([row async for row in cursor]) == 3
                assert len(await connection.execute_fetchall("SELECT id FROM books")) == 3
                await connection.execute_insert("INSERT INTO books VALUES (9, 'nine')")

        with client.telemetry.root():
            client.run(read())
    finally:
        below.uninstrument()
    assert rows(client) == [3, 3, None]
