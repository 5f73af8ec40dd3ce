"""The pools by the guides' names."""

import threading

import pytest
import sqlalchemy

import dbsight
from waiting import until


def test_pool_stats_have_the_names_of_the_guides(telemetry, postgresql):
    """A pool of 2 + 1 with four threads: one waits; everything is an exact number."""
    engine = sqlalchemy.create_engine(
        postgresql.url("postgresql+psycopg"), pool_size=2, max_overflow=1, pool_timeout=0.5
    )
    taken = [engine.connect() for _ in range(3)]
    errors = []

    def ask():
        try:
            engine.connect()
        except sqlalchemy.exc.TimeoutError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    name = f"{postgresql.host}:{postgresql.port}/{postgresql.name}"
    waiting = until(lambda: (each := dbsight.pool_stats()[name])["waiting"] and each)
    thread.join()
    (info,) = waiting.pop("pool_info")
    waiting.pop("checkout_time_ms")
    assert waiting == {
        "leaked": 0,
        "total": 3,
        "active": 3,
        "idle": 0,
        "waiting": 1,
        "max": 3,
        "pool_size": 2,
        "checked_out": 3,
        "checked_in": 0,
        "overflow": 1,
        "pools": 1,
    }
    assert set(info) == {"loop_id", "config_hash"}
    assert len(errors) == 1
    for connection in taken:
        connection.close()
    stats = dbsight.pool_stats()[name]
    assert (stats["active"], stats["idle"], stats["waiting"]) == (0, 2, 0)
    assert stats["checkout_time_ms"] == pytest.approx(500 / 4, rel=0.2)
    engine.dispose()


def test_pools_with_the_same_settings_have_the_same_hash(telemetry, tmp_path):
    """And those with others another one; each is counted."""
    before = dbsight.get_pool_count()
    url = f"sqlite:///{tmp_path}/{tmp_path.name}.db"  # no other test has pools of that name
    engines = [sqlalchemy.create_engine(url), sqlalchemy.create_engine(url), sqlalchemy.create_engine(url, pool_size=1)]
    hashes = [each["config_hash"] for each in dbsight.get_pool_info()[f"{tmp_path.name}.db"]]
    assert len(set(hashes)) == 2
    assert dbsight.get_pool_count() - before == len(engines)


def test_a_pool_that_was_named_keeps_its_name(telemetry, tmp_path):
    """``pool_logging_name`` tells pools of one database apart; the others are named by the target."""
    target, name = f"{tmp_path.name}.db", f"reports of {tmp_path.name}"
    url = f"sqlite:///{tmp_path}/{target}"
    engines = [sqlalchemy.create_engine(url), sqlalchemy.create_engine(url, pool_size=1, pool_logging_name=name)]
    stats = dbsight.pool_stats()
    assert [(stats[each]["pool_size"], stats[each]["pools"]) for each in (target, name)] == [(5, 1), (1, 1)]
    del engines
