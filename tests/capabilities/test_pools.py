"""Statistics of connection pools, from Python."""

import gc
import threading
import time

import pytest
from opentelemetry import trace
from sqlalchemy import create_engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

import dbsight
from waiting import until


@pytest.fixture
def engine(sqlalchemy, tmp_path):
    """A pool of two connections and one beyond."""
    gc.collect()  # pools of other tests
    dbsight.create_performance_monitor()
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=2, max_overflow=1, pool_timeout=1)
    yield engine
    engine.dispose()


def test_a_pool_tells_who_uses_it_and_who_waits(engine):
    """Three connections are out and a fourth thread waits, until it gives up."""
    held = [engine.connect() for _ in range(3)]
    gave_up = []

    def work():
        with pytest.raises(PoolTimeout):
            engine.connect()
        gave_up.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    (name,) = dbsight.pool_stats()
    while dbsight.pool_stats()[name]["waiting"] == 0:
        assert not gave_up
        time.sleep(0.001)
    stats = dbsight.connection_pool.stats()
    assert (stats.total, stats.active, stats.idle, stats.waiting, stats.max) == (3, 3, 0, 1, 3)
    thread.join()
    assert gave_up == [True]
    for connection in held:
        connection.close()
    stats = dbsight.connection_pool.stats(name)
    assert (stats.total, stats.active, stats.idle, stats.waiting) == (2, 0, 2, 0)
    assert stats.checkout_time_ms >= 1000 / 4
    with pytest.raises(KeyError, match="no such pool"):
        dbsight.connection_pool.stats("no such pool")


def test_a_query_that_waited_for_its_connection_says_so_on_its_span(exported, engine):
    """``pool.checkout`` with the wait, at the moment when the connection was had."""
    held, *others = [engine.connect() for _ in range(3)]

    def work():
        with engine.connect() as connection:
            connection.execute(text("SELECT 2")).all()

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: any(each["waiting"] for each in dbsight.pool_stats().values()))
    time.sleep(0.05)  # it is waiting when the connection comes
    held.close()
    thread.join()
    for connection in others:
        connection.close()
    trace.get_tracer_provider().force_flush()
    (span,) = [each for each in exported() if each.name == "SELECT"]
    (event,) = span.events
    assert event.name == "pool.checkout"
    assert event.timestamp == span.start_time
    assert event.attributes["dbsight.pool.wait"] == span.attributes["dbsight.pool.wait"] > 0
    assert event.attributes["db.client.connection.pool.name"].endswith("shop.db")


def test_connections_that_were_made_are_in_use_or_idle_after_churn(engine):
    """Of eight threads."""

    def work():
        for _ in range(50):
            with engine.connect():
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = dbsight.connection_pool.stats()
    assert (stats.active, stats.waiting) == (0, 0)
    assert stats.total == stats.idle
    assert 1 <= stats.total <= 2


def test_pools_are_counted_and_each_has_a_hash_of_its_configuration(engine, tmp_path):
    """Two that are configured alike have the same hash, and names of their own."""
    twin = create_engine(engine.url, pool_size=2, max_overflow=1, pool_timeout=1)
    with engine.connect(), twin.connect():
        manager = dbsight.ConnectionPoolManager()
        first, second = manager.get_pool_info().items()
        assert second[0] == f"{first[0]} #2"
        assert first[1] == second[1]
        assert len(first[1]["config_hash"]) == 8
        assert manager.get_pool_count() == 2
    twin.dispose()
