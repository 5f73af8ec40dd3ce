"""Redis pools by role, on a real server: shared, sized by the settings, cleaned up, safe across forks and loops."""

import asyncio
import gc
import os
import threading
import time

import pytest
import redis

import dbsight
from dbsight import config, semconv
from dbsight.detect.rules.connection_growth import ConnectionGrowth
from dbsight.model import PoolSample, PoolSnapshot, PoolState, Snapshot
from forking import in_child
from suggested import applied

ROLES = ("master", "slave", "local", "async")


@pytest.fixture
def registry(watched):
    """The registry, empty before and after, with redis-py instrumented."""
    dbsight.SharedPoolRegistry.close()
    yield dbsight.SharedPoolRegistry
    dbsight.SharedPoolRegistry.close()


def in_loop(work):
    """What ``work`` gives on a running loop."""

    async def run():
        return work()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("minimal", (5, 10, 3, 10)), ("balanced", (10, 20, 5, 20)), ("high_performance", (20, 40, 10, 40))],
)
def test_a_preset_sizes_the_pool_of_each_role(registry, preset, sizes):
    """As the guide has them; an asynchronous pool keeps its own minimum."""
    config.use(config.Settings.load({}, redis_preset=preset))
    made = in_loop(lambda: tuple(dbsight.redis_pool(role).max_connections for role in ROLES))
    assert made == sizes
    assert config.current().redis_async_pool_min == {"minimal": 3, "balanced": 5, "high_performance": 10}[preset]


@pytest.mark.parametrize(("role", "variable"), [("master", "MASTER"), ("slave", "SLAVE"), ("local", "LOCAL")])
def test_the_environment_names_of_the_guide_are_heeded(registry, role, variable):
    """``REDIS_MASTER_POOL_SIZE`` and the like beat the preset."""
    config.use(config.Settings.load({f"REDIS_{variable}_POOL_SIZE": "7", "OTEL_DBSIGHT_REDIS_PRESET": "minimal"}))
    assert dbsight.redis_pool(role).max_connections == 7


def test_the_environment_names_of_asynchronous_pools_are_heeded(registry):
    """Both ends of what they keep and may open."""
    environment = {"REDIS_ASYNC_POOL_MIN": "2", "REDIS_ASYNC_POOL_MAX": "9"}
    config.use(config.Settings.load({**environment, "OTEL_DBSIGHT_REDIS_PRESET": "minimal"}))
    assert in_loop(lambda: dbsight.redis_pool("async").max_connections) == 9
    assert config.current().redis_async_pool_min == 2


def test_a_connection_that_was_idle_is_checked_before_it_is_used(registry, redis_server, monkeypatch):
    """With a PING, which the server counts; one that it closed meanwhile is made again, and nobody notices."""
    monkeypatch.setattr("dbsight.redis_pools.CHECK_EVERY", 0.05)
    client = redis.Redis(connection_pool=dbsight.redis_pool("master", redis_server.url()))
    with redis.Redis.from_url(redis_server.url()) as admin:
        client.set("a", 1)
        admin.config_resetstat()
        time.sleep(0.1)
        assert client.get("a") == b"1"
        assert admin.info("commandstats")["cmdstat_ping"]["calls"] == 1
        admin.client_kill_filter(_id=client.client_id())
        assert client.get("a") == b"1"


def test_what_is_no_role_is_refused(registry):
    """With those that there are."""
    with pytest.raises(ValueError, match="use one of master, slave, local, async"):
        dbsight.redis_pool("primary")
    with pytest.raises(RuntimeError, match="no running event loop"):
        dbsight.redis_pool("async")


def test_a_hundred_clients_share_ten_connections(registry, redis_server):
    """Against a connection each, which the server counts too."""
    url = redis_server.url()

    def ask(client):
        client.blpop("nothing", 0.05)

    def at_once(clients):
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with redis.Redis.from_url(url) as admin:
        alone = [redis.Redis.from_url(url) for _ in range(100)]
        at_once(alone)
        apart = len(admin.client_list())
        for client in alone:
            client.close()
        sharing = [redis.Redis(connection_pool=dbsight.redis_pool("master", url)) for _ in range(100)]
        at_once(sharing)
        together = len(admin.client_list())
    assert (apart, together) == (101, 11)
    stats = registry.get_pool_stats()
    (described,) = stats["pools"].values()
    assert stats["total_pools"] == 1
    assert (described["type"], described["role"], described["idle"], described["clients"]) == (
        "BlockingConnectionPool",
        "master",
        10,
        100,
    )
    assert list(stats["pools"]) == [f"master {redis_server.host}:{redis_server.port}/0"]


def test_a_pool_connects_when_it_is_first_used(registry, redis_server):
    """Asking for it opens nothing."""
    pool = dbsight.redis_pool("local", redis_server.url())
    assert pool.dbsight_open() == []
    redis.Redis(connection_pool=pool).ping()
    assert len(pool.dbsight_open()) == 1


def test_idle_connections_are_closed_and_made_again(registry, redis_server):
    """The pool stays; its clients notice nothing; a connection that is out is left alone."""
    pool = dbsight.redis_pool("master", redis_server.url())
    client = redis.Redis(connection_pool=pool)
    client.ping()
    connection = pool.get_connection("_")
    assert registry.cleanup(0) == 0
    assert registry.get_pool_stats()["pools"][pool.dbsight_name]["idle_time"] == 0
    pool.release(connection)
    assert registry.cleanup(3600) == 0
    assert registry.cleanup(0) == 1
    assert (pool.dbsight_open(), client.ping(), len(pool.dbsight_open())) == ([], True, 1)


def test_each_event_loop_has_its_own_pool(registry, redis_server):
    """And forgets it when it is closed; an idle one keeps its minimum open."""
    url = redis_server.url()
    config.use(config.Settings.load({"REDIS_ASYNC_POOL_MIN": "2"}))

    async def work():
        pool = dbsight.redis_pool("async", url)
        assert dbsight.redis_pool("async", url) is pool
        client = redis.asyncio.Redis(connection_pool=pool)
        await asyncio.gather(*(client.blpop("nothing", 0.05) for _ in range(5)))
        before = len(pool.dbsight_open())
        assert registry.cleanup(0) == 1
        while len(pool.dbsight_open()) > 2:  # noqa: ASYNC110 - nobody is told when it is done
            await asyncio.sleep(0.005)
        after = len(pool.dbsight_open())
        await client.ping()
        await pool.disconnect()
        return pool, before, after

    (first, before, after), (second, _, _) = asyncio.run(work()), asyncio.run(work())
    assert first is not second
    assert (before, after) == (5, 2)
    registry.cleanup(0)
    assert registry.get_pool_stats() == {"total_pools": 0, "pools": {}}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_its_own_connections(registry, redis_server):
    """The same pool serves both, each on sockets of its own."""
    client = redis.Redis(connection_pool=dbsight.redis_pool("master", redis_server.url()))
    mine = client.client_id()
    assert in_child(client.client_id) != mine
    assert client.client_id() == mine


def test_the_role_is_on_the_metrics(registry, redis_server, watched):
    """The same server in two roles is two pools."""
    for role in ("master", "slave"):
        redis.Redis(connection_pool=dbsight.redis_pool(role, redis_server.url())).ping()
    limits = {
        point.attributes.get(semconv.POOL_ROLE): point.value
        for point in watched.points(semconv.METRIC_CONNECTION_MAX)
        if semconv.POOL_ROLE in point.attributes
    }
    assert limits == {"master": 10, "slave": 20}


@pytest.mark.parametrize(("most", "severity"), [(50, "warning"), (3, "info")])
def test_a_pool_of_another_size_than_its_role_is_found(registry, redis_server, watched, monkeypatch, most, severity):
    """``pool_role_size``, and its suggestion applied."""
    analyzer = watched.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == "pool_role_size"]
    client = redis.Redis(connection_pool=dbsight.redis_pool("master", redis_server.url(), max_connections=most))
    client.ping()
    (found,) = examiner.examine(analyzer.snapshot())
    assert (found.severity, found.current_value, found.threshold) == (severity, most, 10)
    assert f"1 pool may hold {most} connections; the role master is configured for 10" in found.description
    del client
    registry.close()
    gc.collect()
    monkeypatch.setenv("REDIS_URL", redis_server.url())
    redis.Redis(connection_pool=applied(found.suggestion, dbsight=dbsight)).ping()
    assert list(examiner.examine(analyzer.snapshot())) == []


def by_kombu(url):
    """A pool as kombu's channels make theirs."""
    made = {"__name__": "kombu.transport.redis", "redis": redis}
    exec("def channel(url): return redis.ConnectionPool.from_url(url)", made)
    return made["channel"](url)


def of_a_class(url):
    """A pool with a class of its own, as kombu makes those for its event loop: its connections know the channel."""
    return redis.ConnectionPool.from_url(url, connection_class=type("Connection", (redis.Connection,), {}))


@pytest.mark.parametrize("make", [by_kombu, of_a_class])
def test_pools_that_no_line_of_the_application_could_share_are_no_duplicates(registry, redis_server, watched, make):
    """Those of a library's channels, and those of different connections."""
    clients = [redis.Redis(connection_pool=make(redis_server.url())) for _ in range(5)]
    for client in clients:
        client.ping()
    analyzer = watched.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == "duplicate_pools"]
    assert list(examiner.examine(analyzer.snapshot())) == []
    for client in clients:
        client.connection_pool.disconnect()


def test_a_pool_for_each_client_is_found_and_a_shared_one_is_not(registry, redis_server, watched):
    """``duplicate_pools``, and its suggestion applied."""
    url = redis_server.url()

    def found():
        analyzer = watched.processor.analyzer
        (examiner,) = [each for each in analyzer.judge.examiners if each.name == "duplicate_pools"]
        return [each.count for each in examiner.examine(analyzer.snapshot())]

    clients = [redis.Redis.from_url(url, client_name="own") for _ in range(5)]
    for client in clients:
        client.ping()
    assert found() == [5]
    for client in clients:
        client.close()
    del client, clients
    import gc

    gc.collect()
    pool = redis.ConnectionPool.from_url(url)
    clients = [redis.Redis(connection_pool=pool) for _ in range(5)]
    for client in clients:
        client.ping()
    assert found() == []


def series(*counts):
    """Points ten seconds apart."""
    return [PoolSample(number * 10_000_000_000, count, 0, 0, 0) for number, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "number"),
    [
        (range(10, 130, 10), 1),
        ([10] * 12, 0),
        ([*range(10, 120, 10), 5], 0),
        (range(100, 124, 2), 0),
        (range(10, 60, 10), 0),
    ],
    ids=["grows", "steady", "comes back", "a little", "too short"],
)
def test_connections_that_only_become_more_are_found(counts, number):
    """Two minutes, twice as many, never fewer in between."""
    pool = PoolSnapshot(PoolState("localhost:6379/0", "redis", "ConnectionPool", "redis"), series=series(*counts))
    findings = list(ConnectionGrowth(config.Settings()).examine(Snapshot(pools=[pool])))
    assert [each.rule for each in findings] == ["connection_growth"] * number


@pytest.mark.swallows_errors
def test_a_clean_up_that_fails_is_counted(registry, redis_server, watched, monkeypatch):
    """In the statistics, as a metric with the role, and in a finding; the application goes on."""
    pool = dbsight.redis_pool("master", redis_server.url())
    client = redis.Redis(connection_pool=pool)
    client.ping()

    def fail(*_):
        raise OSError("the socket is gone")

    with monkeypatch.context() as broken:
        broken.setattr(pool, "dbsight_clean", fail)
        assert registry.cleanup(0) == 0
    assert registry.get_pool_stats()["pools"][pool.dbsight_name]["cleanup_failures"] == 1
    (point,) = [each for each in watched.points(semconv.METRIC_POOL_CLEANUP_FAILURES) if each.value]
    assert (point.value, point.attributes[semconv.POOL_ROLE]) == (1, "master")
    analyzer = watched.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == "connection_growth"]
    assert [each.title for each in examiner.examine(analyzer.snapshot())] == [
        f"Idle connections of {point.attributes[semconv.POOL_NAME]} cannot be closed"
    ]
    assert client.ping()


def test_a_clean_up_that_fails_is_found():
    """With the role of the pool."""
    state = PoolState("localhost:6379/0 async", "redis", "SharedPool", "redis", role="async", cleanup_failures=2)
    (found,) = ConnectionGrowth(config.Settings()).examine(Snapshot(pools=[PoolSnapshot(state)]))
    assert (found.count, found.description) == (2, "2 cleanups of the async pool failed.")
