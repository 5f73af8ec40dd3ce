"""What the server says of itself: asked beside the requests, and only where the settings say so."""

import os
import threading
from dataclasses import replace

import pytest
import redis

import dbsight
from dbsight import config
from dbsight.instrument import redis_server as instrument
from forking import in_child
from waiting import until

THREAD = "dbsight-redis-servers"


@pytest.fixture
def polled(make_telemetry, redis_server, request):
    """A ``telemetry.Telemetry`` and a client of a server that is asked again and again."""
    config.use(config.Settings(poll_redis_every=0.02))
    telemetry = make_telemetry(instrument=False)
    instrumentor = dbsight.RedisInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider, skip_dep_check=True
    )
    with redis.Redis.from_url(redis_server.url()) as client:
        yield telemetry, client
    instrumentor.uninstrument()


def state():
    """What the only server said last."""
    return next(iter(instrument.states().values()), None)


def test_the_numbers_of_the_server_are_metrics(polled, redis_server):
    """Connections, memory and look-ups, as INFO has them, by address and port."""
    telemetry, client = polled
    client.config_resetstat()
    client.set("user:1", "x")
    client.get("user:1")
    client.get("user:2")
    until(lambda: (said := state()) and said.number("keyspace_misses") == 1)
    told = {}
    for name, *_ in instrument.METRICS:
        (point,) = telemetry.points(name)
        assert point.attributes == {"server.address": redis_server.host, "server.port": redis_server.port}
        told[name] = point.value
    assert (told["redis.keyspace.hits"], told["redis.keyspace.misses"]) == (1, 1)
    assert told["redis.clients.connected"] >= 2
    assert told["redis.memory.used"] > 100_000
    assert told["redis.commands.processed"] > 2


def test_nothing_of_it_is_in_spans_pools_or_counts(polled, redis_server):
    """Its connection is beside the pools, and its commands are nobody's."""
    telemetry, _ = polled
    # The pools of other tests may be alive in this process: this one alone uses database 11.
    with redis.Redis.from_url(replace(redis_server, name="11").url()) as client:
        client.ping()
        until(state)
        telemetry.processor.analyzer.finish()
        assert {span.name for span in telemetry.spans()} == {"PING", "dbsight.window"}

        def own(metric):
            return sum(
                point.value
                for point in telemetry.points(metric)
                if point.attributes["db.client.connection.pool.name"] == f"{redis_server.host}:{redis_server.port}/11"
            )

        assert (own("dbsight.pools"), own("db.client.connection.count")) == (1, 1)


def test_the_slow_log_is_counted_and_values_are_hidden(polled):
    """New entries since the first look, with their keys."""
    telemetry, client = polled
    kept = client.config_get("slowlog-log-slower-than")
    client.ping()
    until(state)
    client.config_set("slowlog-log-slower-than", 0)
    try:
        client.set("user:1", "a secret")
    finally:
        client.config_set("slowlog-log-slower-than", kept["slowlog-log-slower-than"])
    said = until(lambda: state() if "SET user:1 ?" in [entry.text for entry in state().slow] else None)
    assert "secret" not in repr(said.slow)
    until(lambda: state().number("slow_log") > 0)
    (point,) = telemetry.points("dbsight.redis.slow_log")
    assert point.value > 0


def test_a_server_that_goes_away_is_no_error_of_ours(polled, monkeypatch):
    """It has no numbers while it does not answer, and is asked again."""
    telemetry, client = polled
    client.ping()
    until(state)
    connection_to = instrument.connection_to

    def refused(pool, package):
        raise ConnectionRefusedError

    monkeypatch.setattr(instrument, "connection_to", refused)
    client.client_kill_filter(_type="normal", skipme=True)
    until(lambda: not instrument.states())
    assert telemetry.points("redis.clients.connected") == []
    monkeypatch.setattr(instrument, "connection_to", connection_to)
    until(state)


def test_nobody_is_asked_unless_the_settings_say_so(watched, client):
    """Off by default: no thread, no instrument, no connection."""
    client.ping()
    assert THREAD not in [thread.name for thread in threading.enumerate()]
    assert watched.points("redis.clients.connected") == []
    assert [each["name"] for each in client.client_list() if each["name"] == "dbsight"] == []


def test_one_poller_asks_for_the_process(polled, redis_server):
    """However many clients there are; it ends with the instrumentor."""
    _, client = polled
    others = [redis.Redis.from_url(redis_server.url()) for _ in range(5)]
    for other in others:
        other.ping()
    until(state)
    assert [thread.name for thread in threading.enumerate()].count(THREAD) == 1
    assert [each["name"] for each in client.client_list()].count("dbsight") == 1
    for other in others:
        other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_asks_by_itself(polled):
    """Its thread is its own, and so is its connection; the parent's goes on."""
    _, client = polled
    client.ping()
    until(state)

    def work():
        client.ping()
        until(lambda: [each["name"] for each in client.client_list()].count("dbsight") == 2)
        until(state)
        return "asked"

    assert in_child(work) == "asked"
    instrument._poller.states = {}
    until(state)
