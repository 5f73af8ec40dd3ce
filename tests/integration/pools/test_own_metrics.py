"""Metrics of pools that the semantic conventions do not have: each is what really happened to a real pool."""

import pytest
import redis
import sqlalchemy
from subjects import collect

import dbsight
from dbsight import semconv
from dbsight.instrument.pools import registry


def latest(telemetry, metric, attribute=None):
    """The latest value of a metric of the only pool, or its values by an attribute."""
    points = {point.attributes.get(attribute): point for point in telemetry.points(metric)}
    values = {key: getattr(point, "value", None) for key, point in points.items()}
    return values if attribute else values.get(None)


def test_use_and_overflow_are_those_of_the_pool(telemetry, postgresql):
    """Three of three are out, one beyond those that are kept; nothing of it when they are back."""
    engine = sqlalchemy.create_engine(postgresql.url("postgresql+psycopg"), pool_size=2, max_overflow=1)
    taken = [engine.connect() for _ in range(3)]
    metrics = (semconv.METRIC_POOL_USAGE, semconv.METRIC_POOL_OVERFLOW, semconv.METRIC_POOL_IDLE_TIME)
    assert [latest(telemetry, metric) for metric in metrics] == [1.0, 1, 0.0]
    for connection in taken:
        connection.close()
    usage, overflow, idle = (latest(telemetry, metric) for metric in metrics)
    assert (usage, overflow) == (0.0, 0)
    assert idle > 0
    assert latest(telemetry, semconv.METRIC_POOL_CREATED) == 3
    assert latest(telemetry, semconv.METRIC_POOL_CLOSED, semconv.POOL_REASON) == {"overflow": 1}
    engine.dispose()
    assert latest(telemetry, semconv.METRIC_POOL_CLOSED, semconv.POOL_REASON) == {"overflow": 1, "dispose": 2}
    ages = {
        point.attributes[semconv.POOL_REASON]: point.count for point in telemetry.points(semconv.METRIC_CONNECTION_AGE)
    }
    assert ages == {"overflow": 1, "dispose": 2}


def test_connections_that_cannot_be_made_are_counted_by_their_error(telemetry):
    """Eleven attempts at a port where nobody listens."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    for _ in range(11):
        with pytest.raises(sqlalchemy.exc.OperationalError):
            engine.connect()
    (point,) = telemetry.points(semconv.METRIC_CONNECTION_FAILURES)
    assert (point.value, point.attributes) == (
        11,
        {semconv.POOL_NAME: "127.0.0.1:1/none", "error.type": "psycopg.OperationalError"},
    )


def test_pools_engines_and_clients_are_those_that_are_alive(redis_server, telemetry, tmp_path):
    """Two engines of one file, three clients of one pool; what is collected is gone."""
    collect()
    file = f"{tmp_path.name}.db"  # other tests may have left engines of theirs, which are watched, too
    engines_before, pools_before = latest(telemetry, semconv.METRIC_ENGINES), dbsight.get_pool_count()
    engines = [sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{file}") for _ in range(2)]
    pool = redis.ConnectionPool.from_url(redis_server.url())
    clients = [redis.Redis(connection_pool=pool) for _ in range(3)]
    clients[0].ping()
    name = f"{redis_server.host}:{redis_server.port}/{redis_server.name}"

    def ours(metric):
        points = latest(telemetry, metric, semconv.POOL_NAME)
        return {each: value for each, value in points.items() if each in (file, name)}

    assert ours(semconv.METRIC_POOLS) == {file: 2, name: 1}
    assert ours(semconv.METRIC_POOL_CLIENTS) == {file: 2, name: 3}
    assert latest(telemetry, semconv.METRIC_ENGINES) - engines_before == 2
    assert dbsight.get_pool_count() - pools_before == 3
    del engines, clients[1:]
    collect()
    assert ours(semconv.METRIC_POOL_CLIENTS)[name] == 1
    assert latest(telemetry, semconv.METRIC_ENGINES) <= engines_before
    assert file not in {pool.name for pool in registry.snapshots("sqlalchemy")}


def test_a_collection_asks_the_pools_once_for_all_metrics(telemetry, monkeypatch, tmp_path):
    """And the next one asks again."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/asked.db")
    asked = []
    snapshots = registry.snapshots
    monkeypatch.setattr(registry, "snapshots", lambda: asked.append(1) or snapshots())
    with engine.connect():
        used = telemetry.points(semconv.METRIC_CONNECTION_COUNT)
    assert {point.attributes[semconv.CONNECTION_STATE]: point.value for point in used} == {"used": 1, "idle": 0}
    assert len(asked) == 1
    idle = telemetry.points(semconv.METRIC_CONNECTION_COUNT)
    assert {point.attributes[semconv.CONNECTION_STATE]: point.value for point in idle} == {"used": 0, "idle": 1}
    assert len(asked) == 2
