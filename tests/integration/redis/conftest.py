"""An SDK in memory that watches redis-py, a client of a real server, and the way to ask for its spans."""

import contextlib

import pytest
import redis
import redis.asyncio

import dbsight
import servers
from waiting import until


@pytest.fixture(scope="session")
def redis_program():
    """What runs a server of our own, or a skip."""
    program = next(servers.redis_programs(), None)
    if program is None:
        pytest.skip(servers.SOURCES["redis"].missing)
    return program


@pytest.fixture(scope="session")
def redis_cluster(redis_program):
    """A cluster of one node, which serves every slot: a ``servers.Database``."""
    with servers.embedded_redis(redis_program, "--cluster-enabled", "yes") as database:
        with redis.Redis.from_url(database.url()) as client:
            client.execute_command("CLUSTER ADDSLOTS", *range(16384))
            until(lambda: "cluster_state:ok" in servers.redis_says(database, "CLUSTER", "INFO"))
        yield database


@pytest.fixture(scope="session")
def redis_cluster_of_three(redis_program):
    """A cluster of three nodes, each with a third of the slots: their ``servers.Database``."""
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(servers.embedded_redis(redis_program, "--cluster-enabled", "yes")) for _ in range(3)
        ]
        for number, node in enumerate(nodes):
            with redis.Redis.from_url(node.url()) as client:
                slots = range(number * 16384 // 3, (number + 1) * 16384 // 3)
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER MEET", nodes[0].host, nodes[0].port)
        for node in nodes:
            until(lambda node=node: "cluster_state:ok" in servers.redis_says(node, "CLUSTER", "INFO"))
            until(lambda node=node: "cluster_known_nodes:3" in servers.redis_says(node, "CLUSTER", "INFO"))
        yield nodes


@pytest.fixture(scope="module")
def redis_sentinel(redis_program, redis_process):
    """A sentinel that watches the server of the session as ``shop``: a ``servers.Database``.

    No longer than the module: it is a client of that server, which other tests count.
    """
    with servers.embedded_sentinel(redis_program, "shop", redis_process.database) as database:
        yield database


@pytest.fixture
def watched(make_telemetry):
    """A ``telemetry.Telemetry`` with redis-py instrumented."""
    telemetry = make_telemetry(instrument=False, batched=True)
    instrumentor = dbsight.RedisInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider, skip_dep_check=True
    )
    yield telemetry
    instrumentor.uninstrument()


@pytest.fixture
def client(redis_server, watched):
    """A client of a real, empty server."""
    with contextlib.closing(redis.Redis.from_url(redis_server.url(), decode_responses=True)) as client:
        client.ping()
        watched.clear()
        yield client


@pytest.fixture
def async_client(redis_server, watched):
    """Makes a client of a real, empty server; to be called within a running loop, as a context manager."""

    @contextlib.asynccontextmanager
    async def make(**options):
        async with redis.asyncio.Redis.from_url(redis_server.url(), decode_responses=True, **options) as client:
            await client.ping()
            watched.clear()
            yield client

    return make
