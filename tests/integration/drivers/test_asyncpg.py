"""What asyncpg has beside plain statements: prepared ones, cursors, COPY, pools and subclasses of its connection."""

import io

import asyncpg
import pytest

from driver_clients import Asyncpg


@pytest.fixture
def client(connect):
    """A client."""
    return connect(Asyncpg)


def spans(client):
    """Its spans, as rows returned and rows affected, but for those of transactions."""
    return [
        (span.attributes.get("db.response.returned_rows"), span.attributes.get("dbsight.query.rows_affected"))
        for span in client.telemetry.spans()
        if span.kind == "CLIENT" and span.name not in {"BEGIN", "COMMIT", "ROLLBACK"}
    ]


def test_every_kind_of_fetch_is_one_statement(client):
    """Plain and prepared."""

    async def read():
        connection = client.connection
        await connection.fetch("SELECT id FROM books")
        await connection.fetchrow("SELECT id FROM books")
        await connection.fetchval("SELECT count(*) FROM books WHERE id > $1", 1)
        await connection.execute("UPDATE books SET title = $1", "x")
        prepared = await connection.prepare("SELECT id FROM books WHERE id > $1")
        await prepared.fetch(1)
        await prepared.fetchval(1)

    with client.telemetry.root():
        client.run(read())
    assert spans(client) == [(3, None), (1, None), (1, None), (None, 3), (2, None), (1, None)]


def test_a_cursor_is_one_statement_whatever_the_number_of_fetches(client):
    """Iterated or fetched from, of a connection or a prepared statement; given up with what was read."""

    async def read():
        connection = client.connection
        async with connection.transaction():
            assert len([row async for row in connection.cursor("SELECT n FROM generate_series(1, 120) AS n")]) == 120
            cursor = await connection.cursor("SELECT id FROM books")
            assert len(await cursor.fetch(2)) == 2
            assert await cursor.fetchrow() is not None
            assert await cursor.fetchrow() is None
            prepared = await connection.prepare("SELECT n FROM generate_series(1, $1) AS n")
            async for row in prepared.cursor(100, prefetch=10):
                if row[0] == 15:
                    break

    with client.telemetry.root():
        client.run(read())
    assert spans(client) == [(120, None), (3, None), (20, None)]


def test_copy_is_one_statement(client):
    """In both directions, with its rows."""

    async def move():
        connection = client.connection
        await connection.copy_records_to_table("books", records=[(10, "secret"), (11, "secret")])
        await connection.copy_from_table("books", output=io.BytesIO())
        await connection.copy_from_query("SELECT * FROM books WHERE title = $1", "secret", output=io.BytesIO())

    with client.telemetry.root():
        client.run(move())
    assert len(spans(client)) == 3
    assert "secret" not in str(client.telemetry.spans())


def test_a_pool_and_a_subclass_of_its_connection_are_covered(client):
    """The reset of a connection is setup."""

    class Connection(asyncpg.Connection):
        """The application's."""

        async def fetch(self, *arguments, **named):
            """As that of the library."""
            return await super().fetch(*arguments, **named)

    async def read():
        where = client.database
        pool = await asyncpg.create_pool(
            host=where.host,
            port=where.port,
            user=where.user,
            password=where.password or None,
            database=where.name,
            min_size=1,
            max_size=1,
            connection_class=Connection,
        )
        async with pool:
            assert len(await pool.fetch("SELECT id FROM books")) == 3
            async with pool.acquire() as connection:
                await connection.fetchval("SELECT $1::int[]", [1, 2])

    with client.telemetry.root():
        client.run(read())
    assert spans(client) == [(3, None), (1, None)]


def test_a_timeout_is_an_error_and_the_connection_lives(client):
    """By its class."""

    async def wait():
        with pytest.raises(TimeoutError):
            await client.connection.fetch("SELECT pg_sleep(10)", timeout=0.2)
        await client.connection.fetch("SELECT 1")

    with client.telemetry.root():
        client.run(wait())
    types = [span.attributes.get("error.type") for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert types == ["TimeoutError", None]
