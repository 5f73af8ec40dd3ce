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
    """Commands name the server that answered; its pool is named after the service, and is of the declared kind."""
    sentinel = redis.sentinel.Sentinel([(redis_sentinel.host, redis_sentinel.port)])
    client = sentinel.master_for("shop", decode_responses=True, db=int(redis_server.name))
    master = (redis_server.host, redis_server.port)
    watched.clear()
    with watched.root():
        client.set("user:1", "x")
        assert client.get("user:1") == "x"
        client.pipeline(transaction=False).get("user:1").get("user:2").execute()
        with client.pipeline() as pipe:
            pipe.watch("user:1")
            pipe.get("user:1")
            pipe.multi()
            pipe.set("user:1", "y").execute()
    assert [each for each in told(watched) if each[0] != "SENTINEL MASTERS"] == [
        ("SET user:{}", *master),
        ("GET user:{}", *master),
        ("PIPELINE GET", *master),
        ("WATCH user:{}", *master),
        ("GET user:{}", *master),
        ("MULTI SET", *master),
    ]
    (state,) = [each for each in pools.snapshots("redis") if each.name.startswith("shop")]
    assert (state.kind, state.used, state.idle, state.created) == ("SentinelConnectionPool", 0, 1, 1)
    client.close()


def test_asynchronous_clients_of_a_sentinel_are_watched(watched, redis_sentinel, redis_server):
    """The same on an event loop."""
    watched.clear()

    async def ask():
        sentinel = redis.asyncio.sentinel.Sentinel([(redis_sentinel.host, redis_sentinel.port)])
        client = sentinel.master_for("shop", db=int(redis_server.name))
        with watched.root():
            await client.set("user:1", "x")
        (state,) = [each for each in pools.snapshots("redis") if each.name.startswith("shop")]
        await client.aclose()
        return state

    state = asyncio.run(ask())
    assert [each for each in told(watched) if each[0] != "SENTINEL MASTERS"] == [
        ("SET user:{}", redis_server.host, redis_server.port)
    ]
    assert (state.kind, state.used, state.idle, state.created) == ("SentinelConnectionPool", 0, 1, 1)


def owner(nodes, key):
    """Address and port of the node that has a key."""
    slot = redis.crc.key_slot(key.encode())
    node = nodes[next(number for number in range(3) if slot < (number + 1) * 16384 // 3)]
    return node.host, node.port


KEYS = [f"price:{number}" for number in range(12)]


def durations(telemetry):
    """Address and port of the points of the duration's histogram, and how many calls."""
    return {
        (point.attributes.get("server.address"), point.attributes.get("server.port")): point.count
        for point in telemetry.points("db.client.operation.duration")
        if point.attributes.get("db.query.summary") == "GET price:{}"
    }


def test_commands_of_a_cluster_name_the_node_that_answered(watched, redis_cluster_of_three):
    """Spans and metrics, also after a redirection; what several nodes answered names the node that was given."""
    nodes = redis_cluster_of_three
    first = (nodes[0].host, nodes[0].port)
    with redis.RedisCluster(host=nodes[0].host, port=nodes[0].port) as cluster:
        watched.clear()
        with watched.root():
            for key in KEYS:
                cluster.get(key)
            cluster.dbsize()
            with cluster.pipeline() as pipe:
                pipe.get("{a}1").get("{a}2").execute()
        answered = told(watched)
        assert answered[:12] == [("GET price:{}", *owner(nodes, key)) for key in KEYS]
        assert len({port for *_, port in answered[:12]}) == 3
        assert answered[12:] == [("DBSIZE", *first), ("PIPELINE GET", *owner(nodes, "{a}1"))]
        assert sum(durations(watched).values()) == 12
        assert set(durations(watched)) == {owner(nodes, key) for key in KEYS}
        # What the client knows of the slots is wrong: each node redirects it.
        slots = cluster.nodes_manager.slots_cache
        moved = {slot: slots[(slot + 5462) % 16384] for slot in range(16384)}
        slots.update(moved)
        watched.clear()
        with watched.root():
            cluster.get(KEYS[0])
        assert [each for each in told(watched) if each[0].startswith("GET")] == [
            ("GET price:{}", *owner(nodes, KEYS[0]))
        ]
        assert {span.status for span in watched.spans()} == {"UNSET"}


def test_commands_of_an_asynchronous_cluster_name_the_node_that_answered(watched, redis_cluster_of_three):
    """The same."""
    nodes = redis_cluster_of_three

    async def ask():
        async with redis.asyncio.RedisCluster(host=nodes[0].host, port=nodes[0].port) as cluster:
            await cluster.ping()
            watched.clear()
            with watched.root():
                for key in KEYS:
                    await cluster.get(key)
                await cluster.pipeline().get("{a}1").get("{a}2").execute()

    asyncio.run(ask())
    assert told(watched)[:12] == [("GET price:{}", *owner(nodes, key)) for key in KEYS]
    assert told(watched)[12:] == [("PIPELINE GET", *owner(nodes, "{a}1"))]


def test_one_loop_over_all_nodes_of_a_cluster_is_one_finding(watched, redis_cluster_of_three):
    """Its nodes are one database."""
    nodes = redis_cluster_of_three
    with redis.RedisCluster(host=nodes[0].host, port=nodes[0].port) as cluster:
        watched.clear()
        with watched.root():
            for number in range(50):
                cluster.get(f"price:{number}")
        events = [event for span in watched.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    loops = [each for each in events if each.attributes[semconv.FINDING_RULE] == "redis_chatter"]
    assert [each.attributes[semconv.FINDING_COUNT] for each in loops] == [50]


def test_a_port_that_is_given_as_text_is_a_number(watched, redis_server):
    """As it is read from the environment; the pool's name has it too."""
    watched.clear()
    with redis.Redis(host=redis_server.host, port=str(redis_server.port)) as client, watched.root():
        client.get("a")
    assert told(watched) == [("GET a", redis_server.host, redis_server.port)]


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
