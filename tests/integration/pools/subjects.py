"""Pools of every library behind one synchronous face, so that one contract holds for all of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import threading
from dataclasses import dataclass, field
from typing import Any

SIZE, OVERFLOW, TIMEOUT = 2, 1, 0.3


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, wait=30):
        """Run a coroutine on the loop, and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(wait)

    def close(self):
        """Stop it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


class Subject:
    """One kind of pool; a subclass for each library.

    Attributes:
        label: For the names of tests and the table of the documentation.
        library: As in ``PoolState``.
        limit: Connections at most; None where the pool has no such thing.
        keeps: ``db.client.connection.idle.max``.
        keeps_at_least: ``db.client.connection.idle.min``.
        shares: Several may have the same connection at once.
        refuses: It raises at once where others wait.
        asynchronous: Its face here runs it on a loop.
        collects: It gives back by itself what was forgotten, without complaining.
        block: Code that gives a connection back whatever happens, as it is suggested.
        counts: A query on a connection that is out shows that it is in use.
    """

    label = ""
    library = ""
    limit: int | None = SIZE + OVERFLOW
    keeps: int | None = SIZE
    keeps_at_least = 0
    shares = False
    refuses = False
    asynchronous = False
    collects = False
    block = "with engine.connect() as connection:"
    counts = True

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        """Make the pool; gives what the other methods take."""
        raise NotImplementedError

    def take(self, pool) -> Any:
        """Take a connection and use it."""
        raise NotImplementedError

    def give(self, pool, connection):
        """Give it back."""
        raise NotImplementedError

    def close(self, pool):
        """Close it and its connections."""
        raise NotImplementedError

    def timeout_error(self) -> type[BaseException]:
        """What it raises when it gives none in time."""
        raise NotImplementedError

    def name(self, database):
        """``db.client.connection.pool.name``."""
        return f"{database.host}:{database.port}/{database.name}"

    def taken(self, pool):
        """A connection for the time of a block."""
        return contextlib.closing(_Taken(self, pool))


class _Taken:
    def __init__(self, subject, pool):
        self.subject, self.pool = subject, pool
        self.connection = subject.take(pool)

    def close(self):
        self.subject.give(self.pool, self.connection)


def url_of(database, driver):
    """SQLAlchemy's URL for a driver."""
    from sqlalchemy import make_url

    if database == "sqlite":
        return make_url("sqlite+aiosqlite://" if driver == "aiosqlite" else "sqlite://")
    return make_url(database.url(driver))


class OnLoop:
    """A pool beside the loop that it lives on."""

    def __init__(self, pool, loop):
        self.pool, self.loop = pool, loop


@dataclass
class SQLAlchemySync(Subject):
    """A synchronous engine."""

    kind: str = "QueuePool"
    driver: str = "postgresql+psycopg"
    label: str = ""
    library: str = "sqlalchemy"
    options: dict = field(default_factory=dict)
    collects: bool = True

    def __post_init__(self):
        self.label = self.label or f"SQLAlchemy {self.kind}"

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import sqlalchemy

        options = {"poolclass": getattr(sqlalchemy.pool, self.kind), **self.options}
        if self.kind == "QueuePool":
            options |= {"pool_size": size, "max_overflow": overflow, "pool_timeout": timeout}
        if self.kind == "SingletonThreadPool":
            options["pool_size"] = 100
        return sqlalchemy.create_engine(url_of(database, self.driver), **options)

    def take(self, pool):
        connection = pool.connect()
        if not self.shares:  # no driver lets threads talk on one connection at once
            connection.exec_driver_sql("SELECT 1").all()
        return connection

    def give(self, pool, connection):
        connection.close()

    def close(self, pool):
        pool.dispose()

    def timeout_error(self):
        import sqlalchemy.exc

        return sqlalchemy.exc.TimeoutError


@dataclass
class SQLAlchemyAsync(Subject):
    """An asynchronous engine, on a loop of its own."""

    kind: str = "AsyncAdaptedQueuePool"
    driver: str = "postgresql+asyncpg"
    label: str = ""
    library: str = "sqlalchemy"
    asynchronous: bool = True
    block: str = "async with engine.connect() as connection:"

    def __post_init__(self):
        self.label = self.label or f"SQLAlchemy {self.kind}"

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import sqlalchemy.pool
        from sqlalchemy.ext.asyncio import create_async_engine

        options = {"poolclass": getattr(sqlalchemy.pool, self.kind)}
        if self.kind == "AsyncAdaptedQueuePool":
            options |= {"pool_size": size, "max_overflow": overflow, "pool_timeout": timeout}
        return OnLoop(create_async_engine(url_of(database, self.driver), **options), Loop())

    async def take_async(self, pool):
        """Take a connection on the running loop."""
        connection = await pool.pool.connect()
        try:
            await connection.exec_driver_sql("SELECT 1")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def give_async(self, pool, connection):
        """Give it back on the running loop."""
        await connection.close()

    def loop(self, pool):
        """The loop that it lives on."""
        return pool.loop

    def take(self, pool):
        return self.loop(pool).run(self.take_async(pool))

    def give(self, pool, connection):
        self.loop(pool).run(self.give_async(pool, connection))

    def close(self, pool):
        pool.loop.run(pool.pool.dispose())
        pool.loop.close()

    def timeout_error(self):
        import sqlalchemy.exc

        return sqlalchemy.exc.TimeoutError


@dataclass
class PsycopgSync(Subject):
    """A psycopg_pool with threads."""

    kind: str = "ConnectionPool"
    library: str = "psycopg_pool"
    limit: int = SIZE + OVERFLOW
    keeps: int = SIZE + OVERFLOW
    keeps_at_least: int = SIZE
    collects: bool = True
    block: str = "with pool.connection() as connection:"

    @property
    def label(self):
        return f"psycopg_pool {self.kind}"

    def arguments(self, database, size, overflow, timeout):
        """Of the pool's class."""
        sizes = {"min_size": size, "max_size": size + overflow}
        if "Null" in self.kind:
            sizes = {"min_size": 0, "max_size": size + overflow}
        return {"conninfo": database.url(), "timeout": timeout, "open": False, **sizes}

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import psycopg_pool

        pool = getattr(psycopg_pool, self.kind)(**self.arguments(database, size, overflow, timeout))
        pool.open(wait=True, timeout=30)
        return pool

    def take(self, pool):
        connection = pool.getconn()
        connection.execute("SELECT 1")
        return connection

    def give(self, pool, connection):
        pool.putconn(connection)

    def close(self, pool):
        pool.close()

    def timeout_error(self):
        import psycopg_pool

        return psycopg_pool.PoolTimeout


@dataclass
class PsycopgAsync(PsycopgSync):
    """A psycopg_pool with tasks, on a loop of its own."""

    kind: str = "AsyncConnectionPool"
    asynchronous: bool = True
    block: str = "async with pool.connection() as connection:"
    collects: bool = False

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import psycopg_pool

        loop = Loop()

        async def make():
            pool = getattr(psycopg_pool, self.kind)(**self.arguments(database, size, overflow, timeout))
            await pool.open(wait=True, timeout=30)
            return pool

        return OnLoop(loop.run(make()), loop)

    def loop(self, pool):
        """The loop that it lives on."""
        return pool.loop

    async def take_async(self, pool):
        """Take a connection on the running loop."""
        connection = await pool.pool.getconn()
        try:
            await connection.execute("SELECT 1")
        except BaseException:
            await pool.pool.putconn(connection)
            raise
        return connection

    async def give_async(self, pool, connection):
        """Give it back on the running loop."""
        await pool.pool.putconn(connection)

    def take(self, pool):
        return pool.loop.run(self.take_async(pool))

    def give(self, pool, connection):
        pool.loop.run(self.give_async(pool, connection))

    def close(self, pool):
        pool.loop.run(pool.pool.close())
        pool.loop.close()


@dataclass
class AsyncpgPool(Subject):
    """An asyncpg.Pool, on a loop of its own."""

    library: str = "asyncpg"
    label: str = "asyncpg Pool"
    limit: int = SIZE + OVERFLOW
    keeps: int = SIZE + OVERFLOW
    keeps_at_least: int = SIZE
    asynchronous: bool = True
    collects: bool = False
    block: str = "async with pool.acquire() as connection:"

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import asyncpg

        loop = Loop()

        async def make():
            return await asyncpg.create_pool(database.url(), min_size=size, max_size=size + overflow)

        pool = OnLoop(loop.run(make()), loop)
        pool.timeout = timeout
        return pool

    def loop(self, pool):
        """The loop that it lives on."""
        return pool.loop

    async def take_async(self, pool):
        """Take a connection on the running loop."""
        connection = await pool.pool.acquire(timeout=pool.timeout)
        try:
            await connection.fetchval("SELECT 1")
        except BaseException:
            await pool.pool.release(connection)
            raise
        return connection

    async def give_async(self, pool, connection):
        """Give it back on the running loop."""
        await pool.pool.release(connection)

    def take(self, pool):
        return pool.loop.run(self.take_async(pool))

    def give(self, pool, connection):
        pool.loop.run(self.give_async(pool, connection))

    def close(self, pool):
        pool.loop.run(pool.pool.close())
        pool.loop.close()

    def timeout_error(self):
        return asyncio.TimeoutError


@dataclass
class RedisSync(Subject):
    """A pool of redis-py with threads."""

    kind: str = "BlockingConnectionPool"
    library: str = "redis"
    limit: int = SIZE + OVERFLOW
    keeps: int = SIZE + OVERFLOW
    refuses: bool = False
    collects: bool = False
    block: str = "with redis.Redis(connection_pool=pool) as client:"
    counts: bool = False

    @property
    def label(self):
        return f"redis-py {self.kind}"

    def options(self, database, size, overflow, timeout):
        """Of the pool's class."""
        limit = size + overflow if "Blocking" in self.kind else 100
        waiting = {"timeout": timeout} if "Blocking" in self.kind else {}
        return {"host": database.host, "port": database.port, "max_connections": limit, **waiting}

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import redis

        return getattr(redis, self.kind)(**self.options(database, size, overflow, timeout))

    def take(self, pool):
        connection = pool.get_connection("PING")
        connection.send_command("PING")
        connection.read_response()
        return connection

    def give(self, pool, connection):
        pool.release(connection)

    def close(self, pool):
        pool.disconnect()

    def timeout_error(self):
        import redis

        return redis.ConnectionError


@dataclass
class RedisAsync(RedisSync):
    """A pool of redis-py with tasks, on a loop of its own."""

    asynchronous: bool = True
    block: str = "async with redis.asyncio.Redis(connection_pool=pool) as client:"

    @property
    def label(self):
        return f"redis-py asyncio {self.kind}"

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        import redis.asyncio

        loop = Loop()

        async def make():
            return getattr(redis.asyncio, self.kind)(**self.options(database, size, overflow, timeout))

        return OnLoop(loop.run(make()), loop)

    def loop(self, pool):
        """The loop that it lives on."""
        return pool.loop

    async def take_async(self, pool):
        """Take a connection on the running loop."""
        connection = await pool.pool.get_connection("PING")
        try:
            await connection.send_command("PING")
            await connection.read_response()
        except BaseException:
            await connection.disconnect()
            await pool.pool.release(connection)
            raise
        return connection

    async def give_async(self, pool, connection):
        """Give it back on the running loop."""
        await pool.pool.release(connection)

    def take(self, pool):
        return pool.loop.run(self.take_async(pool))

    def give(self, pool, connection):
        pool.loop.run(self.give_async(pool, connection))

    def close(self, pool):
        pool.loop.run(pool.pool.disconnect())
        pool.loop.close()


@dataclass
class ClusterNodeAsync(RedisAsync):
    """A node of an asynchronous cluster, which keeps its connections itself; there is no code to suggest for it."""

    kind: str = "ClusterNode"
    limit: int = 100
    keeps: int = 100
    refuses: bool = True
    block: str = ""

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        from redis.asyncio.cluster import ClusterNode

        loop = Loop()

        async def make():
            return ClusterNode(database.host, database.port, max_connections=self.limit)

        return OnLoop(loop.run(make()), loop)

    async def take_async(self, pool):
        connection = pool.pool.acquire_connection()
        try:
            await connection.send_command("PING")
            await connection.read_response()
        except BaseException:
            await connection.disconnect()
            await self.give_async(pool, connection)
            raise
        return connection

    async def give_async(self, pool, connection):
        # redis-py 5 to 7 do it so wherever they use one.
        getattr(pool.pool, "release", pool.pool._free.append)(connection)


@dataclass
class SentinelSync(RedisSync):
    """What a sentinel leads to; the database is that of the sentinel."""

    kind: str = "SentinelConnectionPool"
    limit: int = 100
    keeps: int = 100
    refuses: bool = True

    def name(self, database):
        return "shop/0"

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        from redis.sentinel import Sentinel, SentinelConnectionPool

        sentinel = Sentinel([(database.host, database.port)])
        return SentinelConnectionPool("shop", sentinel, max_connections=self.limit)


@dataclass
class SentinelAsync(RedisAsync):
    """The same with tasks."""

    kind: str = "SentinelConnectionPool"
    limit: int = 100
    keeps: int = 100
    refuses: bool = True

    def name(self, database):
        return "shop/0"

    def open(self, database, *, size=SIZE, overflow=OVERFLOW, timeout=TIMEOUT):
        from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

        loop = Loop()

        async def make():
            sentinel = Sentinel([(database.host, database.port)])
            return SentinelConnectionPool("shop", sentinel, max_connections=self.limit)

        return OnLoop(loop.run(make()), loop)


def no_limit(subject, *, keeps=None, **fields):
    """The subject as a pool without a maximum."""
    subject.limit, subject.keeps = None, keeps
    for name, value in fields.items():
        setattr(subject, name, value)
    return subject


def one_only(subject, **fields):
    """The subject as a pool of one connection."""
    subject.limit = subject.keeps = 1
    for name, value in fields.items():
        setattr(subject, name, value)
    return subject


PSYCOPG, PYMYSQL = "postgresql+psycopg", "mysql+pymysql"

SUBJECTS = [
    ("postgresql", SQLAlchemySync()),
    ("mariadb", SQLAlchemySync(driver=PYMYSQL)),
    ("postgresql", SQLAlchemyAsync()),
    ("postgresql", no_limit(SQLAlchemySync("NullPool"), keeps=0)),
    ("mariadb", no_limit(SQLAlchemySync("NullPool", PYMYSQL), keeps=0)),
    ("postgresql", no_limit(SQLAlchemyAsync("NullPool"), keeps=0)),
    ("postgresql", one_only(SQLAlchemySync("StaticPool", options={"pool_reset_on_return": None}), shares=True)),
    ("mariadb", one_only(SQLAlchemySync("StaticPool", PYMYSQL, options={"pool_reset_on_return": None}), shares=True)),
    ("postgresql", no_limit(SQLAlchemySync("SingletonThreadPool"), keeps=100)),
    ("mariadb", no_limit(SQLAlchemySync("SingletonThreadPool", PYMYSQL), keeps=100)),
    ("postgresql", one_only(SQLAlchemySync("AssertionPool"), refuses=True)),
    ("mariadb", one_only(SQLAlchemySync("AssertionPool", PYMYSQL), refuses=True)),
    ("postgresql", PsycopgSync()),
    ("postgresql", PsycopgSync("NullConnectionPool", keeps=0, keeps_at_least=0)),
    ("postgresql", PsycopgAsync()),
    ("postgresql", PsycopgAsync("AsyncNullConnectionPool", keeps=0, keeps_at_least=0)),
    ("postgresql", AsyncpgPool()),
    ("redis_server", RedisSync()),
    ("redis_server", RedisSync("ConnectionPool", limit=100, keeps=100, refuses=True)),
    ("redis_server", RedisAsync()),
    ("redis_server", RedisAsync("ConnectionPool", limit=100, keeps=100, refuses=True)),
    ("redis_server", ClusterNodeAsync()),
    ("redis_sentinel", SentinelSync()),
    ("redis_sentinel", SentinelAsync()),
]
"""Server and pool."""


def named(pair):
    """How a pool on its server is called in the name of a test."""
    server, subject = pair
    return f"{subject.label.replace(' ', '-')}-{server}"


def in_threads(number, work):
    """Run ``work(index)`` in threads at once; their results, exceptions included."""
    barrier = threading.Barrier(number, timeout=60)

    def begin(index):
        barrier.wait()
        try:
            return work(index)
        except Exception as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(number) as executor:
        return list(executor.map(begin, range(number)))


def collect():
    """Collect garbage until there is none."""
    for _ in range(2):
        gc.collect()
