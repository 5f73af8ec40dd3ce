"""PostgreSQL's advisory locks on a real server: taken, held, given back with the transaction or by themselves."""

import threading
import time

import pytest
import sqlalchemy
from sqlalchemy import func, select

import dbsight
from suggested import applied


@pytest.fixture
def locked(telemetry):
    """Telemetry with locks watched, too."""
    instrumentor = dbsight.LockInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider)
    telemetry.processor.analyzer.locks.reset()
    yield telemetry
    instrumentor.uninstrument()


@pytest.fixture
def engine(locked, postgresql):
    """An engine with a connection for each of twelve workers."""
    engine = sqlalchemy.create_engine(postgresql.url("postgresql+psycopg"), pool_size=14)
    yield engine
    engine.dispose()


def totals(telemetry):
    """The one lock that there is."""
    (only,) = telemetry.processor.analyzer.snapshot().locks
    return only


def found(telemetry, rule):
    """What a rule about totals says now."""
    analyzer = telemetry.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == rule]
    return list(examiner.examine(analyzer.snapshot()))


def test_a_lock_of_a_session_is_held_until_it_is_released(locked, engine):
    """Both in the totals and in the metrics, under the system's name."""
    with engine.connect() as connection:
        connection.execute(select(func.pg_advisory_lock(7)))
        time.sleep(0.02)
        connection.execute(select(func.pg_advisory_unlock(7)))
    seen = totals(locked)
    assert (seen.system, seen.lock, seen.acquired, seen.failed, seen.releases) == ("postgresql", "advisory", 1, 0, 1)
    assert 0.02 <= seen.held_max < 30
    (point,) = locked.points("dbsight.lock.acquire.duration")
    assert (point.count, point.attributes) == (
        1,
        {"db.system.name": "postgresql", "dbsight.lock.name": "advisory", "dbsight.lock.result": "acquired"},
    )
    assert dbsight.lock_stats()["locks"]["advisory"]["success_rate"] == 100.0


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_lock_of_a_transaction_ends_with_it(locked, engine, end):
    """Nobody releases it by name."""
    with engine.connect() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(7)))
        time.sleep(0.02)
        assert totals(locked).releases == 0
        getattr(connection, end)()
    seen = totals(locked)
    assert (seen.acquired, seen.releases, seen.held_max >= 0.02) == (1, 1, True)


def test_everything_is_released_at_once(locked, engine):
    """``pg_advisory_unlock_all``: two of the session's."""
    with engine.connect() as connection:
        for key in (1, 2):
            connection.execute(select(func.pg_advisory_lock(key)))
        connection.execute(select(func.pg_advisory_unlock_all()))
    assert (totals(locked).acquired, totals(locked).releases) == (2, 2)


def test_a_try_counts_where_it_was_got(locked, engine):
    """What the server answered is not known, but that it was released later is."""
    with engine.connect() as first, engine.connect() as second:
        assert first.scalar(select(func.pg_try_advisory_lock(7)))
        first.execute(select(func.pg_advisory_unlock(7)))
        first.execute(select(func.pg_advisory_lock(8)))
        assert not second.scalar(select(func.pg_try_advisory_lock(8)))
        first.execute(select(func.pg_advisory_unlock(8)))
    assert (totals(locked).acquired, totals(locked).releases) == (2, 2)


def test_a_lock_that_most_wait_for_is_found_and_one_for_each_thing_is_not(locked, engine):
    """Twelve workers want the same lock, which is held; then each that of its own thing, as it is suggested."""

    def contend(take):
        def work(index):
            with engine.begin() as connection:
                take(connection, index)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(12)]
        with engine.begin() as holder:
            holder.execute(select(func.pg_advisory_xact_lock(1)))
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 60
            while any(thread.is_alive() for thread in threads) and waiting(holder) < 12:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.1)
        for thread in threads:
            thread.join()

    def waiting(connection):
        asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return connection.exec_driver_sql(asked).scalar()

    contend(lambda connection, index: connection.execute(select(func.pg_advisory_xact_lock(1))))
    (contention,) = found(locked, "lock_contention")
    assert contention.count == 12
    locked.processor.analyzer.locks.reset()
    names = {"select": select, "func": func, "number": 1}
    contend(lambda connection, index: applied(contention.suggestion, connection=connection, key=index, **names))
    assert totals(locked).acquired == 13
    assert found(locked, "lock_contention") == []
