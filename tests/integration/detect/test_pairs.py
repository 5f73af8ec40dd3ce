"""Faults of public applications are found at warning or above, and their right twins give nothing above info."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import redis
import redis.asyncio

from dbsight import RedisInstrumentor
from dbsight.detect import severity
from dbsight.model import SEVERITIES
from integration.detect.conftest import Watch
from integration.detect.pairs import of_reads, of_redis, of_writes
from integration.detect.pairs.catalogue import CLIENT_PAIRS, LOOP_PAIRS, SESSION_PAIRS

MODULES = (of_reads, of_redis, of_writes)
WARNING = SEVERITIES.index("warning")
RULES = {"n_plus_one", "redundant_query", "row_by_row_write", "redis_chatter"}


def named(pairs):
    """Parameters of a test, by application and function."""
    return [pytest.param(each, id=each.name) for each in pairs]


def above_info(findings):
    """The rules about repetitions that found something at warning or above."""
    return {each.rule for each in findings if SEVERITIES.index(each.severity) >= WARNING and each.rule in RULES}


@contextlib.contextmanager
def however_short():
    """Judge queries however small their part of the unit of work is: on a busy machine it is smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(severity, "_LITTLE", 0.0)
        yield


@pytest.mark.parametrize("pair", named(SESSION_PAIRS))
def test_tells_a_fault_of_a_session_from_its_right_twin(watch, pair):
    """The same work twice: as the application does it, and as it should."""
    with however_short():
        assert above_info(watch(pair.work, False)) & pair.rules
    assert above_info(watch(pair.work, True)) == set()


@pytest.fixture
def watch_redis(redis_server, make_telemetry):
    """Runs a pair below a root span, with a client or with one of an event loop; what is found at warning or above."""
    telemetry = make_telemetry(instrument=False)
    instrumentor = RedisInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider, skip_dep_check=True
    )

    def found(work, right):
        with redis.Redis.from_url(redis_server.url()) as client:
            client.ping()
            with telemetry.root("GET /"):
                work(client, right)
        return above_info(Watch(None, telemetry).findings())

    async def run(work, right):
        async with redis.asyncio.Redis.from_url(redis_server.url()) as client:
            await client.ping()
            with telemetry.root("GET /"):
                await work(client, right)

    def found_on_a_loop(work, right):
        asyncio.run(run(work, right))
        return above_info(Watch(None, telemetry).findings())

    yield lambda work, right: (found_on_a_loop if asyncio.iscoroutinefunction(work) else found)(work, right)
    instrumentor.uninstrument()


@pytest.mark.parametrize("pair", named(CLIENT_PAIRS + LOOP_PAIRS))
def test_tells_a_fault_of_a_redis_client_from_its_right_twin(watch_redis, pair):
    """The same, through redis-py."""
    with however_short():
        assert watch_redis(pair.work, False) & pair.rules
    assert watch_redis(pair.work, True) == set()


def test_there_are_enough_pairs():
    """Forty, of sessions, clients and event loops; each module registered its own."""
    pairs = SESSION_PAIRS + CLIENT_PAIRS + LOOP_PAIRS
    assert len(pairs) >= 40
    assert len({each.name for each in pairs}) == len(pairs)
    assert {each.work.__module__ for each in pairs} == {module.__name__ for module in MODULES}
