"""Everything that watches Redis, SQLAlchemy and caches, inside ``suppress_instrumentation()``: nothing is reported."""

import asyncio
import contextlib
import gc

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

import dbsight
from dbsight.instrument import caches, locks, pools
from shop import Author, fill

cachetools = pytest.importorskip("cachetools")
aiocache = pytest.importorskip("aiocache")


@pytest.fixture
def everything(make_telemetry, redis_server):
    """A ``telemetry.Telemetry`` with SQLAlchemy, Redis, locks and caches instrumented, once the server is empty."""
    telemetry = make_telemetry(batched=True)
    about = {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}
    instrumentors = [dbsight.RedisInstrumentor(), dbsight.LockInstrumentor(), dbsight.CacheInstrumentor()]
    for each in instrumentors:
        each.instrument(skip_dep_check=True, **about)
    yield telemetry
    for each in instrumentors:
        each.uninstrument()
    locks._held.clear()
    caches._counters.clear()
    caches._polls.clear()


def work(url):
    """One of each thing that is watched: commands, pipelines, a lock that waits, caches, a transaction."""
    with contextlib.closing(redis.Redis.from_url(url, decode_responses=True)) as client:
        client.set("user:1", "x")
        client.get("user:2")
        client.pipeline().get("user:1").get("user:2").execute()
        with pytest.raises(redis.ResponseError):
            client.lpush("user:1", 1)
        with client.lock("stock", timeout=10):
            assert not client.lock("stock", timeout=10, sleep=0.01).acquire(blocking_timeout=0.03)
        forgotten = client.lock("forgotten", timeout=10)
        forgotten.acquire()
        del forgotten
        gc.collect()
        client.delete("user:1", "forgotten")
    cache = dbsight.watch_cache("products", cachetools.LRUCache(maxsize=1))
    for key in "aba":
        if cache.get(key) is None:
            cache[key] = 1
    asyncio.run(awaited(url))
    engine = create_engine("sqlite://")
    fill(engine)
    with Session(engine) as session:
        session.scalars(select(Author)).all()
        session.commit()
    engine.dispose()


async def awaited(url):
    """The same on an event loop."""
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.set("user:1", "x")
        await client.pipeline().get("user:1").get("user:2").execute()
        async with client.lock("stock", timeout=10):
            assert not await client.lock("stock", timeout=10, sleep=0.01).acquire(blocking_timeout=0.03)
        await client.delete("user:1")
    cache = aiocache.Cache(aiocache.Cache.MEMORY)
    await cache.get("nothing")
    await cache.set("something", 1)
    await cache.multi_get(["something", "nothing"])
    await cache.delete("something")


def told(telemetry):
    """Spans, totals and the numbers of all metrics but those of states, of the process and of dbsight itself."""
    snapshot = telemetry.processor.analyzer.snapshot()
    states = ("db.client.connection.count", "db.client.connection.max", "db.client.connection.idle", "dbsight.self")
    states += ("db.client.connection.pending",)
    numbers = {}
    for request in telemetry.metric_requests()[-1:]:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if not metric.name.startswith((*states, "process.", "dbsight.pool.", "dbsight.health", "redis.")):
                        numbers[metric.name] = len(getattr(metric, metric.WhichOneof("data")).data_points)
    return {
        "spans": [span.name for span in telemetry.spans()],
        "totals": (snapshot.calls, snapshot.failed, dict(snapshot.kinds), list(snapshot.transaction_totals)),
        "caches": list(snapshot.caches),
        "locks": list(snapshot.locks),
        "findings": [each for each in snapshot.findings if each.finding.category in {"lock", "cache", "query"}],
        "metrics": {
            name for name, number in numbers.items() if number and name != "db.client.connection.pending_requests"
        },
    }


def test_what_begins_while_instrumentation_is_suppressed_is_not_reported(everything, redis_server):
    """No span, no finding, no metric, and totals that do not move; the same work outside shows all of them."""
    url = redis_server.url()
    with everything.root(), suppress_instrumentation():
        work(url)
    inside = told(everything)
    assert inside["spans"] == ["GET /"]
    assert inside["totals"] == (0, 0, {}, [])
    assert [list(inside[name]) for name in ("caches", "locks", "findings")] == [[], [], []]
    counted = {name for name in inside["metrics"] if name.startswith(("db.", "dbsight.cache", "dbsight.lock"))}
    assert not counted - {"dbsight.cache.items"}  # the state of caches that other tests watch
    assert not {name for name in inside["metrics"] if "transaction" in name or "orm" in name or "leak" in name}
    everything.clear()
    with everything.root():
        work(url)
    outside = told(everything)
    assert {"lock acquire", "SET user:{}", "MULTI GET", "LPUSH user:{}"} <= set(outside["spans"])
    assert {each.cache for each in outside["caches"]} >= {"products", "aiocache.SimpleMemoryCache"}
    assert {each.lock for each in outside["locks"]} == {"stock", "forgotten"}
    assert {"db.client.connection.use_time", "dbsight.lock.acquisitions"} & outside["metrics"]


def test_a_lock_that_is_taken_outside_and_given_back_inside_is_over(everything, redis_server):
    """And the reverse is none; neither is reported as held."""
    with contextlib.closing(redis.Redis.from_url(redis_server.url())) as client, everything.root():
        first, second = client.lock("first", timeout=10), client.lock("second", timeout=10)
        first.acquire()
        with suppress_instrumentation():
            first.release()
            second.acquire()
        second.release()
    assert [(each.lock, each.acquired, each.releases) for each in told(everything)["locks"]] == [("first", 1, 1)]
    assert locks._held == {}


def test_a_transaction_that_begins_outside_and_ends_inside_is_reported_once(everything):
    """And one that begins inside is not; no connection stays in use."""
    engine = create_engine("sqlite://", pool_logging_name="own")
    with engine.connect() as connection:
        connection.execute(select(1))
        with suppress_instrumentation():
            connection.commit()
            connection.execute(select(2))
        connection.commit()
    assert [point.count for point in everything.points("dbsight.transaction.duration")] == [1]
    assert [state.used for state in pools.snapshots("sqlalchemy") if state.name == "own"] == [0]
    engine.dispose()


def test_a_pipeline_that_is_filled_outside_and_sent_inside_leaves_no_connection_in_use(everything, redis_server):
    """WATCH outside, EXEC inside, and the reverse."""
    with contextlib.closing(redis.Redis.from_url(redis_server.url())) as client, everything.root():
        for around_watch, around_execute in (
            (contextlib.nullcontext, suppress_instrumentation),
            (suppress_instrumentation, contextlib.nullcontext),
        ):
            with client.pipeline() as pipe:
                with around_watch():
                    pipe.watch("user:1")
                pipe.multi()
                pipe.set("user:1", 1)
                with around_execute():
                    pipe.execute()
        (state,) = pools.snapshots("redis")
        assert (state.used, state.pending, state.created - state.closed) == (0, 0, state.idle)
