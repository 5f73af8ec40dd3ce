"""The servers of the tests answer, are empty, and are told apart."""

import psycopg
import pymysql
import pytest
import redis

import servers
from embedded import Unavailable


def test_postgresql_gives_an_empty_database(postgresql):
    """Each test has a database of its own, over TCP or a unix socket."""
    with psycopg.connect(postgresql.url()) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (0,)
        assert connection.execute("SELECT current_database()").fetchone() == (postgresql.name,)


def test_postgresql_speaks_to_asyncpg(postgresql):
    """The same URL serves the asynchronous driver."""
    import asyncio

    import asyncpg

    async def ask():
        connection = await asyncpg.connect(postgresql.url())
        try:
            return await connection.fetchval("SELECT 1")
        finally:
            await connection.close()

    assert asyncio.run(ask()) == 1


def test_a_postgresql_database_goes_although_somebody_is_connected(postgresql_server):
    """A test that leaks a connection does not make the next one fail."""
    with servers.fresh(postgresql_server) as database:
        leaked = psycopg.connect(database.url())
    with pytest.raises(psycopg.OperationalError):
        leaked.execute("SELECT 1")
    leaked.close()


def test_mariadb_gives_an_empty_database(mariadb):
    """Each test has a database of its own."""
    with (
        pymysql.connect(host=mariadb.host, port=mariadb.port, user=mariadb.user, password=mariadb.password) as client,
        client.cursor() as cursor,
    ):
        cursor.execute("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s", [mariadb.name])
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("key", ["first", "second"])
def test_redis_is_empty_for_each_test(redis_server, key):
    """What one test writes, the next does not find."""
    with redis.Redis.from_url(redis_server.url()) as client:
        assert client.ping()
        assert client.keys("*") == []
        client.set(key, "1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s%40crt@db.example:5433/shop",
        "postgresql://postgres@/postgres?host=/run/postgresql&port=5432",
        "redis://127.0.0.1:6379/3",
        "redis://:secret@127.0.0.1:6379/0",
    ],
)
def test_a_url_that_is_read_and_written_is_the_same(url):
    """Nothing of a configured URL is lost on its way to a client."""
    assert servers.read_url(url, url.partition(":")[0], 1, "x").url() == url


def test_a_configured_server_that_does_not_answer_is_not_replaced(monkeypatch):
    """Who names a server wants that one, and hears why it cannot be used."""
    monkeypatch.setenv("DBSIGHT_TEST_POSTGRESQL_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="DBSIGHT_TEST_POSTGRESQL_URL"), servers.serving("postgresql"):
        pass


def test_a_configured_server_is_used(monkeypatch, redis_process):
    """The environment comes before every other source."""
    monkeypatch.setenv("DBSIGHT_TEST_REDIS_URL", redis_process.database.url())
    with servers.serving("redis") as server:
        assert server.origin == "configured"
        assert server.database == redis_process.database
