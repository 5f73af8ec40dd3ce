"""The blocks of a guide to the database side of a web framework; README.md has the table."""

import asyncio
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import cachetools
import pytest
import redis
import redis.asyncio
from sqlalchemy import Column, Integer, String, Text, create_engine, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base

import dbsight
from capabilities.guided import run
from capabilities.records import Database, Record
from dbsight import development_config, high_performance_config, production_config, profiler, recording

HEALTH = """
async def health_check(session):
    try:
        await session.execute(text("SELECT 1"))
        return True
    except:
        return False
"""

LOCK = """
config = LockConfig(
    max_retries=10,
    base_retry_delay=0.01,  # Start with 10ms
    max_retry_delay=1.0,
)

lock_provider = OptimizedPostgresLockProvider(engine, config=config)
"""

LOCK_STATISTICS = """
stats = lock_provider.get_stats()
print(f"Success rate: {stats['success_rate']:.2f}%")
print(f"Avg acquisition time: {stats['avg_acquisition_time']:.3f}s")
"""

LAYERS = """
cache = MultiLayerCache(
    l1_size=1000,  # In-memory cache
    l1_ttl=60,     # 1 minute
    l2_size=10000, # Redis or external cache
    l2_ttl=600,    # 10 minutes
)
"""

INVALIDATION = """
# Write-through cache
async def update_item(id, data):
    result = await database.update(id, data)
    await cache.delete(f"item:{id}")
    await cache.invalidate_pattern("list:*")
    return result
"""

SESSIONS = """
@asynccontextmanager
async def get_db_session():
    async with session_factory() as session:
        try:
            yield session
            await session.commit()
        except:
            await session.rollback()
            raise
"""

METRICS = """
adapter = OptimizedSQLAlchemyAdapter(
    model=Item,
    database_url=database_url
)

# Get performance metrics
metrics = await adapter.get_metrics()
print(f"Average query time: {metrics['avg_time']:.3f}s")
print(f"Cache hit rate: {metrics['cache_hit_rate']:.2f}%")
"""

DEVELOPMENT = """
config = development_config()
# Smaller pools, shorter timeouts, caching disabled
"""

PRODUCTION = """
config = production_config()
# Larger pools, longer timeouts, aggressive caching
"""

HIGH_TRAFFIC = """
config = high_performance_config()
# Maximum pools, extended timeouts, large cache
"""

BENCHMARK = """
import asyncio
import time

async def benchmark(adapter, iterations=1000):
    start_time = time.time()

    tasks = []
    for i in range(iterations):
        tasks.append(adapter.get_one(i % 100))  # Hit cache frequently

    results = await asyncio.gather(*tasks)

    end_time = time.time()
    duration = end_time - start_time

    print(f"Completed {iterations} queries in {duration:.2f}s")
    print(f"QPS: {iterations / duration:.2f}")

    metrics = await adapter.get_metrics()
    print(f"Cache hit rate: {metrics['cache_hit_rate']:.2f}%")

# Run benchmark
adapter = create_optimized_adapter(Item, database_url)
await benchmark(adapter)
"""

OVER_FETCHING = """
# Bad: Fetching all columns
query = select(Item)

# Good: Select only needed columns
query = select(Item.id, Item.name)
"""

INEFFICIENT_FILTERING = """
# Bad: Client-side filtering
items = await get_all_items()
filtered = [i for i in items if i.price > 100]

# Good: Database-side filtering
items = await get_items(filters={"price__gt": 100})
"""

N_PLUS_ONE = """
# Bad: N+1 queries
for item in items:
    item.details = await get_details(item.id)

# Good: Batch query
item_ids = [item.id for item in items]
details = await get_details_batch(item_ids)
"""


@pytest.fixture
def profiled(sqlalchemy, monkeypatch, tmp_path):
    """Runs a coroutine function on a database of 100 records, and returns the profile of what it did."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
    dbsight.create_performance_monitor()

    async def work(function):
        database = await Database(tmp_path / "items.db").made()
        await database.create_batch([Record(name=str(number)) for number in range(100)])
        dbsight.reset()
        with dbsight.profile() as profile:
            await function(database)
        await database.close()
        return profile

    return lambda function: asyncio.run(work(function))


class Adapter:
    """Reads items, each from the database once."""

    def __init__(self, database):
        self.database = database
        self.items = cachetools.LRUCache(1000)

    async def get_one(self, number):
        if number not in self.items:
            self.items[number] = None
            self.items[number] = await self.database.read(number + 1)
        return self.items[number]

    async def get_metrics(self):
        recording.settle()
        return dbsight.metrics()


def test_a_check_of_health_is_no_query_of_the_statistics(profiled):
    """A ping; of a database that is away the answer is no."""
    health_check = run(HEALTH, text=text)["health_check"]

    async def check(database):
        async with AsyncSession(database.engine) as session:
            assert await health_check(session)
        away = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
        async with AsyncSession(away) as session:
            assert not await health_check(session)

    assert profiled(check).query_count == 0
    assert dbsight.stats().total == 0


def test_locks_have_a_success_rate_and_a_mean_time(process, redis_server, capsys):
    """Two that were acquired, and one that another holds."""
    dbsight.create_performance_monitor()
    instrumentor = dbsight.LockInstrumentor()
    instrumentor.instrument()
    try:
        with redis.Redis.from_url(redis_server.url()) as client:

            def provider(engine, config):
                def lock(name):
                    return engine.lock(name, timeout=10, sleep=config.base_retry_delay, blocking_timeout=0.02)

                return SimpleNamespace(lock=lock, get_stats=dbsight.lock_stats)

            names = run(LOCK, OptimizedPostgresLockProvider=provider, LockConfig=SimpleNamespace, engine=client)
            with names["lock_provider"].lock("a"), names["lock_provider"].lock("b"):
                assert not names["lock_provider"].lock("a").acquire()
            recording.settle()
            run(LOCK_STATISTICS, lock_provider=names["lock_provider"])
    finally:
        instrumentor.uninstrument()
    assert capsys.readouterr().out.startswith("Success rate: 66.67%\nAvg acquisition time: 0.0")


def test_layers_of_a_cache_have_a_ratio_each(process):
    """Of the names that the application gives them."""
    dbsight.create_performance_monitor()

    def layers(l1_size, l1_ttl, l2_size, l2_ttl):
        return [
            dbsight.watch_cache("items", cachetools.TTLCache(size, ttl), layer=layer)
            for layer, size, ttl in (("l1", l1_size, l1_ttl), ("l2", l2_size, l2_ttl))
        ]

    first, second = run(LAYERS, MultiLayerCache=layers)["cache"]
    second["a"] = 1
    assert (first.get("a"), second.get("a"), second.get("b")) == (None, 1, None)
    stats = dbsight.cache_stats()["items"]
    assert (stats["hits"], stats["misses"]) == (1, 2)


def test_an_invalidation_by_pattern_is_found(process, redis_server, monkeypatch):
    """KEYS reads all keys of the server."""
    monkeypatch.setattr(profiler, "instrument_libraries", lambda: None)
    instrumentor = dbsight.RedisInstrumentor()
    instrumentor.instrument()

    async def update(number, data):
        return data

    async def work():
        async with redis.asyncio.Redis.from_url(redis_server.url()) as client:

            async def invalidate_pattern(pattern):
                if keys := await client.keys(pattern):
                    await client.delete(*keys)

            await client.set("list:1", 1)
            cache = SimpleNamespace(delete=client.delete, invalidate_pattern=invalidate_pattern)
            update_item = run(INVALIDATION, database=SimpleNamespace(update=update), cache=cache)["update_item"]
            with dbsight.profile() as profile:
                assert await update_item(1, "data") == "data"
            return profile

    try:
        profile = asyncio.run(work())
    finally:
        instrumentor.uninstrument()
    assert profile.query_count == 3
    assert [finding.rule for finding in profile.findings()] == ["redis_chatter"]


def test_sessions_that_are_closed_leave_no_connection_out(profiled):
    """After a commit, and after a rollback."""

    async def work(database):
        names = run(
            SESSIONS,
            asynccontextmanager=asynccontextmanager,
            session_factory=lambda: AsyncSession(database.engine),
        )
        async with names["get_db_session"]() as session:
            await session.execute(text("UPDATE records SET data = '1' WHERE id = 1"))
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block of the session is what raises
            async with names["get_db_session"]() as session:
                await session.execute(text("UPDATE records SET data = '2' WHERE id = 2"))
                raise ZeroDivisionError
        assert (await database.read(1)).data == "1"
        assert (await database.read(2)).data != "2"

    assert profiled(work).query_count == 4
    assert all(pool["active"] == 0 for pool in dbsight.pool_stats().values())


def test_metrics_of_an_adapter(profiled, capsys):
    """Mean time and hit rate of the process."""

    async def work(database):
        adapter = Adapter(database)
        await adapter.get_one(1)
        await asyncio.to_thread(
            run, METRICS, OptimizedSQLAlchemyAdapter=lambda **_: adapter, Item=None, database_url=None
        )

    profiled(work)
    assert capsys.readouterr().out.startswith("Average query time: 0.0")


def test_settings_of_each_environment():
    """By the name of the environment."""
    limits = {
        config: run(block, **{config.__name__: config})["config"].slow_query_threshold
        for block, config in (
            (DEVELOPMENT, development_config),
            (PRODUCTION, production_config),
            (HIGH_TRAFFIC, high_performance_config),
        )
    }
    assert list(limits.values()) == [2.0, 0.5, 0.5]


def test_a_sample_benchmark_hits_the_cache(profiled, capsys):
    """A thousand reads are a hundred queries."""

    async def work(database):
        watched = Adapter(database)
        watched.items = dbsight.watch_cache("items", watched.items)
        await asyncio.to_thread(
            run, BENCHMARK, create_optimized_adapter=lambda *_: watched, Item=None, database_url=None, time=time
        )

    assert profiled(work).query_count == 100
    assert "Completed 1000 queries in " in capsys.readouterr().out


def test_an_n_plus_one_of_helpers_is_found_and_the_batch_is_not(profiled):
    """Both in one block; the loop alone is told."""

    async def work(database):
        items = [SimpleNamespace(id=number) for number in range(1, 11)]
        await asyncio.to_thread(
            run, N_PLUS_ONE, items=items, get_details=database.read, get_details_batch=database.read_batch
        )

    profile = profiled(work)
    assert profile.query_count == 11
    (found,) = profile.detect_n_plus_one()
    assert found.count == 10


class Item(declarative_base()):
    """What the guide calls so, with a description that is not wanted in a list."""

    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    name = Column(String(40))
    price = Column(Integer)
    description = Column(Text)


@pytest.fixture
def items(tmp_path):
    """URL of a file with 200 items, of which three cost more than 100."""
    url = f"{tmp_path}/items.db"
    engine = create_engine(f"sqlite:///{url}")
    Item.metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"name": f"item {n}", "price": n % 104, "description": "long " * 100} for n in range(200)]
        connection.execute(insert(Item), rows)
    engine.dispose()
    return url


@pytest.fixture
def development(make_telemetry):
    """Runs a function in a request under the preset for development; the rules that found something, and its line."""
    telemetry = make_telemetry(settings=development_config())

    def found(work):
        with telemetry.root("GET /items"):
            work()
        return [
            (each.finding.rule, each.finding.suggestion) for each in telemetry.processor.analyzer.snapshot().findings
        ]

    return found


def test_columns_that_nobody_reads_are_found_until_they_are_selected(development, items):
    """Both statements of the block, one after the other: the first one loads descriptions for a list of names."""
    engine = create_engine(f"sqlite:///{items}")
    chosen = []
    run(OVER_FETCHING, Item=Item, select=lambda *columns: chosen.append(select(*columns)))
    bad, good = chosen

    def names_by_class():
        with Session(engine) as session:
            assert len({item.name for item in session.execute(bad).scalars()}) == 200

    def names_by_columns():
        with Session(engine) as session:
            assert len({row.name for row in session.execute(good)}) == 200

    assert development(names_by_columns) == []
    assert development(names_by_class) == [("over_fetch", "select(Item).options(load_only(Item.name))")]
    engine.dispose()


def test_a_filter_in_python_is_found_and_that_of_the_database_is_not(development, items):
    """Both in one block, of which the first is told; what is filtered is read afterwards."""

    async def ask(statement):
        engine = create_async_engine(f"sqlite+aiosqlite:///{items}")
        async with AsyncSession(engine) as session:
            found = (await session.scalars(statement)).all()
        await engine.dispose()
        return found

    async def get_all_items():
        return await ask(select(Item))

    async def get_items(filters):
        return await ask(select(Item).where(Item.price > filters["price__gt"]))

    def work():
        names = run(INEFFICIENT_FILTERING, get_all_items=get_all_items, get_items=get_items)
        assert sorted(item.name for item in names["filtered"]) == sorted(item.name for item in names["items"])

    (found,) = [suggestion for rule, suggestion in development(work) if rule == "client_side_filter"]
    assert found.startswith("select(Item).where(Item.price == …)")
