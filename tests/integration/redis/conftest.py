"""An SDK in memory that watches redis-py, a client of a real server, and the way to ask for its spans."""

import contextlib

import pytest
import redis
import redis.asyncio

import dbsight


@pytest.fixture
def watched(make_telemetry):
    """A ``telemetry.Telemetry`` with redis-py instrumented."""
    telemetry = make_telemetry(instrument=False)
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
