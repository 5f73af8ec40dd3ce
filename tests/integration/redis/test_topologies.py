"""Clusters and sentinels on real servers: the same spans, findings and pools as for a single server."""

import asyncio
import gc

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from dbsight import semconv
from dbsight.instrument import pools
from suggested import applied


def told(telemetry):
    """Names of the spans of commands, and where they went."""
    return [
        (span.name, span.attributes.get("server.address"), span.attributes.get("server.port"))
        for span in telemetry.spans()
        if span.kind == "CLIENT"
    ]


def suggestions(telemetry):
    """What was suggested since the last time; slowness is the machine's."""
    events = [event.attributes for span in telemetry.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    telemetry.clear()
    return [event[semconv.FINDING_SUGGESTION] for event in events if event[semconv.FINDING_RULE] != "slow_query"]


@pytest.fixture
def cluster(watched, redis_cluster):
    """A client of a cluster, empty, with nothing told of its start."""
    with redis.RedisCluster(host=redis_cluster.host, port=redis_cluster.port, decode_responses=True) as client:
        client.flushall()
        watched.clear()
        yield client


def test_commands_of_a_cluster_are_spans(cluster, watched, redis_cluster):
    """One a command or pipeline, errors too; what the client asks the cluster about itself is its own business."""
    with watched.root():
        cluster.set("user:4711", "a secret")
        assert cluster.get("user:4711") == "a secret"
        cluster.mget("{user}:1", "{user}:2")
        with cluster.pipeline() as pipe:
            assert pipe.get("user:1").get("user:2").execute() == [None, None]
        with pytest.raises(redis.ResponseError):
            cluster.lpush("user:4711", 1)
    where = (redis_cluster.host, redis_cluster.port)
    assert told(watched) == [
        ("SET user:{}", *where),
        ("GET user:{}", *where),
        ("MGET {user}:{}", *where),
        ("PIPELINE GET", *where),
        ("LPUSH user:{}", *where),
    ]
    spans = [span for span in watched.spans() if span.kind == "CLIENT"]
    assert spans[3].attributes["db.operation.batch.size"] == 2
    assert spans[4].attributes["db.response.status_code"] == "WRONGTYPE"
    assert "secret" not in repr(spans)


def test_commands_of_an_asynchronous_cluster_are_the_same_spans(watched, redis_cluster):
    """Command, pipeline and error."""

    async def ask():
        async with redis.asyncio.RedisCluster(host=redis_cluster.host, port=redis_cluster.port) as cluster:
            await cluster.ping()
            watched.clear()
            with watched.root():
                await cluster.set("user:4711", "a secret")
                await cluster.pipeline().get("user:1").get("user:2").execute()
                with pytest.raises(redis.ResponseError):
                    await cluster.lpush("user:4711", 1)
            await cluster.delete("user:4711")

    asyncio.run(ask())
    where = (redis_cluster.host, redis_cluster.port)
    assert told(watched)[:3] == [("SET user:{}", *where), ("PIPELINE GET", *where), ("LPUSH user:{}", *where)]


def test_the_pool_of_each_node_is_watched(cluster, watched, redis_cluster):
    """By its address; used, idle and created add up."""
    cluster.get("a")
    name = f"{redis_cluster.host}:{redis_cluster.port}/0"
    (state,) = [each for each in pools.snapshots("redis") if each.name == name]
    assert (state.used, state.kind) == (0, "ConnectionPool")
    assert state.created - state.closed == state.idle > 0
    assert name in {point.attributes[semconv.POOL_NAME] for point in watched.points("db.client.connection.count")}


def test_the_connections_of_each_asynchronous_node_are_watched(watched, redis_cluster):
    """A node keeps them itself; they are counted as those of any pool, and gone with it."""
    gc.collect()  # clients of earlier tests
    name = f"{redis_cluster.host}:{redis_cluster.port}/0"

    async def ask():
        async with redis.asyncio.RedisCluster(host=redis_cluster.host, port=redis_cluster.port) as cluster:
            await asyncio.gather(*(cluster.get(f"user:{number}") for number in range(5)))
            (state,) = [each for each in pools.snapshots("redis") if each.name == name]
            return state

    state = asyncio.run(ask())
    assert (state.kind, state.used, state.created - state.closed == state.idle > 0) == ("ClusterNode", 0, True)


def test_chatter_with_a_cluster_is_found_and_its_remedy_is_not(cluster, watched):
    """Fifty round trips; keys of different slots have no command in common, but a pipeline."""
    keys = [f"price:{number}" for number in range(50)]
    with watched.root():
        for key in keys:
            cluster.get(key)
    events = [event for span in watched.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    assert [event.attributes[semconv.FINDING_RULE] for event in events] == ["redis_chatter"]
    watched.clear()
    with watched.root(), cluster.pipeline() as pipe:
        for key in keys:
            pipe.get(key)
        pipe.execute()
    assert [event for span in watched.spans() for event in span.events] == []


def test_clients_of_a_sentinel_are_watched(watched, redis_sentinel, redis_server):
    """Commands are the master's by the name of the service; its pool is the declared kind."""
    sentinel = redis.sentinel.Sentinel([(redis_sentinel.host, redis_sentinel.port)])
    client = sentinel.master_for("shop", decode_responses=True, db=int(redis_server.name))
    with watched.root():
        client.set("user:1", "x")
        assert client.get("user:1") == "x"
        client.pipeline(transaction=False).get("user:1").get("user:2").execute()
    assert [name for name, address, _ in told(watched) if address == "shop"] == [
        "SET user:{}",
        "GET user:{}",
        "PIPELINE GET",
    ]
    (state,) = [each for each in pools.snapshots("redis") if each.name.startswith("shop")]
    assert (state.kind, state.used, state.idle, state.created) == ("SentinelConnectionPool", 0, 1, 1)
    client.close()


def test_asynchronous_clients_of_a_sentinel_are_watched(watched, redis_sentinel, redis_server):
    """The same on an event loop."""

    async def ask():
        sentinel = redis.asyncio.sentinel.Sentinel([(redis_sentinel.host, redis_sentinel.port)])
        client = sentinel.master_for("shop", db=int(redis_server.name))
        with watched.root():
            await client.set("user:1", "x")
        (state,) = [each for each in pools.snapshots("redis") if each.name.startswith("shop")]
        await client.aclose()
        return state

    state = asyncio.run(ask())
    assert [name for name, address, _ in told(watched) if address == "shop"] == ["SET user:{}"]
    assert (state.kind, state.used, state.idle, state.created) == ("SentinelConnectionPool", 0, 1, 1)


def test_chatter_with_a_cluster_is_helped_by_what_may_cross_slots(cluster, watched):
    """Keys of several slots; the command for one server would be refused."""
    keys = [f"price:{number}" for number in range(50)]
    for key in keys:
        cluster.set(key, "1")
    watched.clear()
    with watched.root():
        for key in keys:
            cluster.get(key)
    (suggestion,) = suggestions(watched)
    with watched.root():
        assert applied(suggestion, client=cluster, keys=keys) == ["1"] * 50
    assert (suggestion, suggestions(watched)) == ("client.mget_nonatomic(keys)", [])
