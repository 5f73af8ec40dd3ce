"""Who holds the connections, for every pool library: named when others wait in vain, and when nobody gives back."""

import asyncio
import re
import threading
import time

import pytest
import redis
import redis.asyncio
from subjects import OVERFLOW, SIZE, SUBJECTS, RedisSync, named

import dbsight
from dbsight.config import Settings
from suggested import applied
from waiting import until

LIMITS = Settings(connection_leak_after=0.3, pool_wait_threshold=0.05)
TAKING = re.compile(r"tests/integration/pools/subjects\.py:\d+")


@pytest.fixture
def limits():
    """That a test can reach."""
    return LIMITS


@pytest.fixture
def telemetry(make_telemetry, limits):
    """With those limits."""
    return make_telemetry(settings=limits)


@pytest.fixture
def found(telemetry):
    """Gives what a rule about totals says now."""

    def find(rule):
        telemetry.processor.analyzer.finish()
        merged = telemetry.processor.analyzer.snapshot().findings
        return [each.finding for each in merged if each.finding.rule == rule]

    return find


def pools_that(applies):
    """Pools to which a test applies, one of each kind of code that gives back."""
    pairs = {pair[1].block: pair for pair in reversed(SUBJECTS) if applies(pair[1])}
    return pytest.mark.parametrize("subject_and_server", list(reversed(pairs.values())), indirect=True, ids=named)


redis_alone = pools_that(lambda subject: subject == RedisSync())


def on_root(telemetry):
    """The findings on the roots so far."""
    return [event.attributes for span in telemetry.spans("GET /orders") for event in span.events]


def ask(telemetry, subject, pool, *, gives):
    """Take a connection within a root, which is given none when ``gives`` is false."""
    if subject.asynchronous:

        async def request():
            with telemetry.root("GET /orders"):
                if gives:
                    await subject.give_async(pool, await subject.take_async(pool))
                    return
                with pytest.raises(subject.timeout_error()):
                    await subject.take_async(pool)

        subject.loop(pool).run(request())
        return
    with telemetry.root("GET /orders"):
        if gives:
            subject.give(pool, subject.take(pool))
            return
        with pytest.raises(subject.timeout_error()):
            subject.take(pool)


def run(suggestion, subject, pool):
    """Run a block as it was suggested, around one use of a connection."""
    if not subject.asynchronous:
        body = "client.ping()" if "client" in suggestion else "connection"
        applied(suggestion, body, redis=redis, engine=pool, pool=pool)
        return
    body = "await client.ping()" if "client" in suggestion else "connection"
    subject.loop(pool).run(applied(suggestion, body, redis=redis, engine=pool.pool, pool=pool.pool))


@pools_that(lambda subject: subject.limit is not None and not subject.shares and not subject.refuses)
def test_who_waits_in_vain_learns_who_holds_the_connections(telemetry, opened, subject):
    """Lines and ages on the root, where no query span can be; in the suggested block, one after the other is served."""
    pool = opened(timeout=0.3)
    taken = [subject.take(pool) for _ in range(SIZE + OVERFLOW)]
    ask(telemetry, subject, pool, gives=False)
    (event,) = on_root(telemetry)
    assert (event["dbsight.finding.rule"], event["dbsight.finding.severity"]) == ("pool_wait", "error")
    _, _, holders = event["dbsight.finding.description"].partition("; 1 checkout timed out. Held by ")
    assert re.fullmatch(rf"(?:{TAKING.pattern} for [\d.]+ [mµ]?s(?:, |\.)){{3}}", holders), event
    suggestion = event["dbsight.finding.suggestion"]
    assert suggestion.startswith(f"{subject.block}  # tests/integration/pools/subjects.py:")
    for connection in taken:
        subject.give(pool, connection)
    telemetry.clear()
    for _ in range(SIZE + OVERFLOW + 1):
        run(suggestion, subject, pool)
    ask(telemetry, subject, pool, gives=True)
    assert on_root(telemetry) == []


@pools_that(lambda subject: not subject.shares and subject.block)
def test_what_nobody_gives_back_is_a_leak(found, opened, subject):
    """The line that took it and code for this library; a connection that is given back so is none."""
    pool = opened()
    connection = subject.take(pool)
    (leak,) = until(lambda: found("connection_leak"))
    assert (leak.severity, leak.suggestion) == ("error", subject.block)
    assert TAKING.fullmatch(str(leak.call_site))
    subject.give(pool, connection)
    assert found("connection_leak") == []
    run(leak.suggestion, subject, pool)
    time.sleep(1.5 * LIMITS.connection_leak_after)
    assert found("connection_leak") == []


@pools_that(lambda subject: subject.library in {"psycopg_pool", "asyncpg"})
@pytest.mark.parametrize("limits", [Settings(connection_leak_after=1.0)], ids=["patient"])
def test_a_connection_that_works_is_no_leak(found, opened, subject, limits):
    """However long it is out."""
    pool = opened()
    connection = subject.take(pool)
    end = time.monotonic() + 1.3 * limits.connection_leak_after
    while time.monotonic() < end:
        query = connection.execute("SELECT 1")
        if subject.asynchronous:
            subject.loop(pool).run(query)
        assert found("connection_leak") == []
        time.sleep(0.01)
    subject.give(pool, connection)


@pools_that(lambda subject: subject.library == "psycopg_pool")
def test_a_connection_whose_query_takes_long_is_no_leak(found, opened, subject):
    """While it runs."""
    pool = opened()
    connection = subject.take(pool)

    def work():
        query = connection.execute(f"SELECT pg_sleep({5 * LIMITS.connection_leak_after})")
        if subject.asynchronous:
            subject.loop(pool).run(query)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(2 * LIMITS.connection_leak_after)
    leaks = found("connection_leak")
    thread.join()
    assert leaks == []
    subject.give(pool, connection)


@redis_alone
def test_what_redis_py_keeps_on_purpose_is_no_leak(found, subject, redis_server):
    """Subscriptions, clients of one connection and commands that wait; keys that are watched and forgotten are one."""
    url = redis_server.url()
    with (
        redis.Redis.from_url(url) as client,
        redis.Redis.from_url(url, single_connection_client=True) as single,
        client.pubsub() as subscription,
    ):
        single.ping()
        subscription.subscribe("news")
        waiting = threading.Thread(target=client.blpop, args=("nothing", 4 * LIMITS.connection_leak_after))
        waiting.start()
        time.sleep(2 * LIMITS.connection_leak_after)
        leaks = found("connection_leak")
        waiting.join()
        assert leaks == []
        pipe = client.pipeline()
        pipe.watch("stock")
        (leak,) = until(lambda: found("connection_leak"))
        assert leak.call_site.function == "test_what_redis_py_keeps_on_purpose_is_no_leak"
        pipe.reset()


@redis_alone
def test_what_redis_py_keeps_for_tasks_is_no_leak(found, subject, redis_server):
    """The same on an event loop, in a pool that is shared by role too."""

    async def work():
        pool = dbsight.redis_pool("async", redis_server.url())
        async with redis.asyncio.Redis(connection_pool=pool) as client, client.pubsub() as subscription:
            await subscription.subscribe("news")
            waiting = asyncio.ensure_future(client.blpop("nothing", 4 * LIMITS.connection_leak_after))
            await asyncio.sleep(2 * LIMITS.connection_leak_after)
            leaks = found("connection_leak")
            await waiting
            connection = await pool.get_connection("_")
            await asyncio.sleep(1.5 * LIMITS.connection_leak_after)
            (leak,) = found("connection_leak")
            await pool.release(connection)
        await pool.disconnect()
        return leaks, leak

    leaks, leak = asyncio.run(work())
    dbsight.SharedPoolRegistry.close()
    assert leaks == []
    assert leak.call_site.function.endswith("work")
