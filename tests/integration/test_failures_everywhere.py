"""Whatever of dbsight fails, the application's results and exceptions are the same.

Each function that runs under a small application is made to raise, one at a time. What is left out are functions that
call the application's own code or hand on what the SDK gives them, and guard the rest of what they do: they are listed.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import logging
import sys
import threading

import aiocache
import asyncpg
import cachetools
import dogpile.cache
import psycopg_pool
import pytest
import redis
import redis.asyncio
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, selectinload

import dbsight
from dbsight.instrument import caches
from dbsight.recording import Sweeper
from saboteur import SabotageError, Saboteur, name_of, watching
from shop import Author, Book, fill

pytestmark = pytest.mark.swallows_errors

BOUNDARIES = {
    # These hand on to the application's processors and fetch strategies whatever becomes of ours.
    *(
        f"processor.py:DbsightSpanProcessor.{name}"
        for name in ("on_start", "_on_ending", "on_end", "force_flush", "shutdown")
    ),
    *(
        f"instrument/results.py:TimedFetchStrategy.{name}"
        for name in ("fetchone", "fetchmany", "fetchall", "_fetch", "yield_per")
    ),
    *(f"instrument/results.py:TimedFetchStrategy.{name}" for name in ("soft_close", "hard_close", "handle_exception")),
    *(f"instrument/results.py:_CursorStrategy.{name}" for name in ("fetchone", "fetchall")),
    # They guard themselves: each object of the ORM comes there.
    "instrument/models.py:loaded",
    "instrument/models.py:inserted",
    # The application's creator runs within it.
    "instrument/cache_libraries.py:_Creating.__init__.<locals>.create",
    # The function that was submitted to another thread runs within it.
    "instrument/threads.py:_run",
    # SQLAlchemy makes the result within it.
    "instrument/sqlalchemy_call.py:StatementCall._follow_when_made.<locals>.setup_result_proxy",
}


def noted(seen, call):
    """Run something; note its result, or its exception and what that exception hides."""
    try:
        seen.append(call())
    except Exception as error:
        seen.append((type(error), str(error), type(error.__context__), type(error.__cause__)))


async def noted_async(seen, awaitable):
    """The same for something that is awaited."""
    try:
        seen.append(await awaitable)
    except BaseException as error:
        seen.append((type(error), str(error), type(error.__context__), type(error.__cause__)))


def on_sqlalchemy(place):
    """Core and ORM, sync, with an exhausted pool, errors, and connections that are lost."""
    seen = []
    engine = sqlalchemy.create_engine(f"sqlite:///{place.file}", pool_size=1, max_overflow=0, pool_timeout=0.01)
    with Session(engine) as session:
        seen += [(book.title, book.author.name) for book in session.scalars(sqlalchemy.select(Book).limit(8))]
        seen += [
            len(author.books)
            for author in session.scalars(sqlalchemy.select(Author).options(selectinload(Author.books)).limit(3))
        ]
        session.add_all([Author(name="new"), Author(name="newer")])
        session.flush()
        noted(seen, engine.connect)
        session.rollback()
    with engine.connect() as connection:
        noted(seen, lambda: connection.execute(sqlalchemy.text("SELECT nothing FROM nowhere")))
        noted(seen, lambda: connection.execute(sqlalchemy.insert(Author).values(id=1, name="again")))
        result = connection.execution_options(stream_results=True).execute(sqlalchemy.select(Author.id).limit(5))
        seen += [result.fetchone(), result.fetchmany(2), result.fetchall()]
        connection.rollback()
        connection.invalidate()

    def interrupted():
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    lost = engine.connect()
    del lost
    engine.dispose()
    return seen


def on_aiosqlite(place):
    """An asynchronous engine, with a task that is cancelled."""

    async def work():
        seen = []
        engine = create_async_engine(f"sqlite+aiosqlite:///{place.file}")
        async with engine.connect() as connection:
            result = await connection.execute(sqlalchemy.select(Author.name).limit(3))
            seen.append(result.all())
            await noted_async(seen, connection.execute(sqlalchemy.text("SELECT nothing FROM nowhere")))
            async with connection.stream(sqlalchemy.select(Author.id).limit(3)) as rows:
                seen += [row async for row in rows]
        await engine.dispose()
        return seen

    return asyncio.run(work())


def on_redis(place):
    """Commands, pipelines, transactions and locks, sync."""
    seen = []
    with contextlib.closing(redis.Redis.from_url(place.redis, decode_responses=True)) as client:
        client.flushdb()
        seen += [client.set("user:1", "x"), client.get("user:1"), client.get("user:2"), client.mget("user:1", "user:2")]
        noted(seen, lambda: client.lpush("user:1", 1))
        noted(seen, client.execute_command)
        with client.pipeline() as pipe:
            seen.append(pipe.get("user:1").incr("count").execute())
            pipe.watch("user:1")
            client.set("user:1", "y")
            noted(seen, pipe.multi().execute if pipe.multi() else lambda: pipe.get("user:1").execute())
        with client.lock("stock", timeout=5):
            seen.append(client.lock("stock", timeout=5, sleep=0.001).acquire(blocking_timeout=0.005))
        lock = client.lock("stock", timeout=5)
        seen.append(lock.acquire())
        client.delete("stock")
        noted(seen, lock.release)
        with pytest.raises(KeyboardInterrupt), client.lock("stock", timeout=5):
            raise KeyboardInterrupt
        client.connection_pool.disconnect()
        seen.append(client.ping())
    pool = redis.ConnectionPool.from_url(place.redis, max_connections=1)
    taken = pool.get_connection()
    noted(seen, lambda: redis.Redis(connection_pool=pool).ping())
    pool.release(taken)
    pool.disconnect()
    noted(seen, lambda: redis.Redis(port=1, retry=None).ping())
    return seen


def on_redis_async(place):
    """The same, async."""

    async def work():
        seen = []
        client = redis.asyncio.Redis.from_url(place.redis, decode_responses=True)
        await client.flushdb()
        seen += [await client.set("user:1", "x"), await client.get("user:1"), await client.get("user:2")]
        await noted_async(seen, client.lpush("user:1", 1))
        async with client.pipeline() as pipe:
            seen.append(await pipe.get("user:1").incr("count").execute())
        async with client.lock("stock", timeout=5):
            other = client.lock("stock", timeout=5, sleep=0.001)
            seen.append(await other.acquire(blocking_timeout=0.005))
        lock = client.lock("stock", timeout=5)
        seen.append(await lock.acquire())
        await client.delete("stock")
        await noted_async(seen, lock.release())
        waiting = asyncio.ensure_future(client.blpop("nothing"))
        # Cancelled before the server has it, redis-py makes another error of it.
        while not (await client.info("clients"))["blocked_clients"]:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.001)
        waiting.cancel()
        await noted_async(seen, waiting)
        await client.aclose()
        return seen

    return asyncio.run(work())


def on_caches(place):
    """Caches in the process."""
    seen = []
    region = dogpile.cache.make_region(name="pages").configure("dogpile.cache.memory")
    seen += [
        region.get_or_create("a", lambda: 1),
        region.get_or_create_multi(["a", "b"], lambda *keys: [2 for _ in keys]),
    ]
    noted(seen, lambda: region.get_or_create("c", lambda: 1 // 0))
    region.set("d", 4)
    region.delete("d")
    seen += [bool(region.get("d")), region.get("a"), region.get_multi(["a", "b"])]
    for _ in range(3):
        noted(seen, lambda: place.mapping["a"])
        seen.append(place.mapping.get("b", 5))
        place.mapping["a"] = 1
        place.mapping["b"] = 2
    place.mapping.clear()
    noted(seen, lambda: place.mapping.get([]))
    seen += [place.function(2), place.function(2)]

    async def work():
        cache = aiocache.SimpleMemoryCache(namespace="pages")
        found = [await cache.get("a", default=7), await cache.set("a", 1), await cache.get("a")]
        found += [await cache.multi_get(["a", "b"]), await cache.delete("a")]
        return found

    return seen + asyncio.run(work())


def on_postgresql(place):
    """psycopg_pool, sync and async, and asyncpg's pool, each exhausted once."""
    seen = []
    with psycopg_pool.ConnectionPool(place.postgresql, min_size=1, max_size=1, timeout=0.05, open=True) as pool:
        with pool.connection(timeout=5) as connection:
            seen.append(connection.execute("SELECT 1").fetchone())
            noted(seen, pool.getconn)
        pool.check()

    async def work():
        pool = psycopg_pool.AsyncConnectionPool(place.postgresql, min_size=1, max_size=1, timeout=0.05, open=False)
        await pool.open()
        async with pool.connection(timeout=5) as connection:
            seen.append(await (await connection.execute("SELECT 2")).fetchone())
            await noted_async(seen, pool.getconn())
        await pool.close()
        async with asyncpg.create_pool(place.postgresql, min_size=1, max_size=1) as pool:
            async with pool.acquire() as connection:
                seen.append(await connection.fetchval("SELECT 3"))
                await noted_async(seen, pool.acquire(timeout=0.02))
            seen.append(await pool.fetchval("SELECT 4"))

    asyncio.run(work())
    return seen


def on_threads(place):
    """Submitted functions and threads that read, and one that fails."""
    engine = sqlalchemy.create_engine(f"sqlite:///{place.file}")
    seen = []

    def look_up(number):
        with Session(engine) as session:
            return session.get(Book, number).title

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        seen += [*pool.map(look_up, range(1, 4)), type(pool.submit(look_up, "nothing", 1).exception())]
        seen.append(pool.submit(lambda: pool.submit(look_up, 1)).result().result())
    thread = threading.Thread(target=lambda: seen.append(look_up(4)))
    thread.start()
    thread.join()
    engine.dispose()
    return seen


PARTS = (on_sqlalchemy, on_aiosqlite, on_redis, on_redis_async, on_caches, on_postgresql, on_threads)


class Place:
    """Where an application works."""

    def __init__(self, directory, redis_url, postgresql_url):
        self.file = directory / "shop.db"
        self.redis = redis_url
        self.postgresql = postgresql_url
        self.mapping = cachetools.LRUCache(maxsize=1)
        self.function = functools.lru_cache(maxsize=2)(lambda number: number + 1)
        engine = sqlalchemy.create_engine(f"sqlite:///{self.file}")
        fill(engine)
        engine.dispose()


@pytest.fixture
def place(tmp_path, redis_server, postgresql):
    """A filled SQLite file, a Redis and a PostgreSQL."""
    return Place(tmp_path, redis_server.url(), postgresql.url("postgresql"))


INSTRUMENTORS = (
    dbsight.RedisInstrumentor,
    dbsight.LockInstrumentor,
    dbsight.CacheInstrumentor,
    dbsight.PsycopgPoolInstrumentor,
    dbsight.AsyncpgPoolInstrumentor,
)


@pytest.fixture
def watched(make_telemetry, place, monkeypatch):
    """A function that switches everything on, gives the ``Telemetry``, and is undone after the test."""
    monkeypatch.setattr(Sweeper, "_run", lambda _: None)  # it would fail whenever it likes
    with contextlib.ExitStack() as stack:

        def start():
            telemetry = make_telemetry()
            about = {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}
            for instrumentor in INSTRUMENTORS:
                instrumentor().instrument(skip_dep_check=True, **about)
                stack.callback(instrumentor().uninstrument)
            dbsight.watch_cache("products", place.mapping)
            dbsight.watch_cache("numbers", place.function)
            return telemetry

        yield start
    caches._counters.clear()
    caches._polls.clear()


def run(part, place, telemetry=None):
    """Run a part of the application within a unit of work, in a context of its own."""

    def work():
        if telemetry is None:
            return part(place)
        with telemetry.root(part.__name__):
            seen = part(place)
        telemetry.tracer_provider.force_flush()
        telemetry.meter_provider.force_flush()
        return seen

    return contextvars.copy_context().run(work)


@contextlib.contextmanager
def complaints():
    """Collect what goes wrong where nobody can catch it: in finalizers and in threads; log nothing."""
    said = []
    logging.disable()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda about: said.append(about.exc_value))
        patch.setattr(threading, "excepthook", lambda about: said.append(about.exc_value))
        yield said
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_whatever_raises_the_application_does_not_notice(part, place, watched):
    """Each function that is reached, in turn: same results, same exceptions, nothing in threads and finalizers."""
    plain = run(part, place)
    telemetry = watched()
    assert run(part, place, telemetry) == plain
    with watching() as codes:
        assert run(part, place, telemetry) == plain
    wrong = {}
    saboteur = Saboteur()
    for code in codes.values():
        if name_of(code) in BOUNDARIES:
            continue
        with complaints() as said, saboteur.broken(code):
            try:
                seen = run(part, place, telemetry)
            except Exception as error:
                seen = error
        if seen != plain:
            wrong[name_of(code)] = seen
        elif ours := [each for each in said if isinstance(each, SabotageError)]:
            wrong[name_of(code)] = ours
    assert len(codes) > 20
    assert wrong == {}
