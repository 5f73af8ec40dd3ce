"""What is no leak: an invalidated connection, a running query, what was allowed; and what comes back after all."""

import asyncio
import contextlib
import gc
import threading
import time

import aiosqlite  # noqa: F401 - SQLAlchemy's driver
import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from subjects import SUBJECTS, named

import dbsight
from dbsight import semconv
from dbsight.config import Settings
from waiting import until

LIMIT = 0.5


@pytest.fixture
def telemetry(make_telemetry):
    """With a limit that a test can reach."""
    return make_telemetry(settings=Settings(connection_leak_after=LIMIT, pool_wait_threshold=0.05))


@pytest.fixture
def leaks(telemetry):
    """Gives the findings of leaks now."""

    def find():
        gc.collect()
        telemetry.processor.analyzer.finish()
        found = telemetry.processor.analyzer.snapshot().findings
        return [each.finding for each in found if each.finding.rule in {"connection_leak", "session_leak"}]

    return find


def pools_that(applies):
    """Pools to which a test applies."""
    return pytest.mark.parametrize(
        "subject_and_server", [pair for pair in SUBJECTS if applies(pair[1])], indirect=True, ids=named
    )


unshared = pools_that(lambda subject: subject.block and not subject.shares)


@pytest.fixture
def engine(postgresql):
    """An engine on psycopg."""
    engine = sqlalchemy.create_engine(postgresql.url("postgresql+psycopg"))
    yield engine
    engine.dispose()


def invalidated(engine):
    """The application gives it up."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.invalidate()


def invalidated_and_used_again(engine):
    """Another one takes its place."""
    with engine.connect() as connection:
        connection.invalidate()
        connection.exec_driver_sql("SELECT 1")


def invalidated_softly(engine):
    """It is replaced when it is next taken."""
    raw = engine.raw_connection()
    raw.invalidate(soft=True)
    raw.close()
    with engine.connect():
        pass


def invalidated_in_a_session(engine):
    """With the session's transaction."""
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        session.invalidate()


def detached(engine):
    """It leaves the pool, and is closed with its block."""
    with engine.connect() as connection:
        connection.detach()


def disposed_meanwhile(engine):
    """Its pool was replaced by another."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        engine.dispose()


def disconnected_by_the_server(engine):
    """The server ends it."""
    with engine.connect() as connection, engine.connect() as other:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.exec_driver_sql("SELECT 1")


@pytest.mark.parametrize(
    "end",
    [
        invalidated,
        invalidated_and_used_again,
        invalidated_softly,
        invalidated_in_a_session,
        detached,
        disposed_meanwhile,
        disconnected_by_the_server,
    ],
    ids=lambda each: each.__name__,
)
def test_a_connection_that_ends_otherwise_is_no_leak(telemetry, leaks, engine, end):
    """Neither a finding nor a count, however it ended."""
    end(engine)
    assert leaks() == []
    assert [point.value for point in telemetry.points(semconv.METRIC_CONNECTION_LEAKS)] == []
    time.sleep(1.2 * LIMIT)
    assert leaks() == []


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg", "sqlite+aiosqlite"])
@pytest.mark.parametrize("orm", [False, True], ids=["connection", "session"])
def test_a_cancelled_query_is_no_leak(leaks, postgresql, tmp_path, driver, orm):
    """The driver gives the connection up; so does SQLAlchemy."""
    url = postgresql.url(driver) if driver.startswith("postgresql") else f"{driver}:///{tmp_path / 'shop.db'}"
    query = (
        "SELECT pg_sleep(5)"
        if driver.startswith("postgresql")
        else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n"
    )

    async def work():
        engine = create_async_engine(url)

        async def run():
            async with AsyncSession(engine) if orm else engine.connect() as connection:
                await connection.execute(text(query))

        task = asyncio.ensure_future(run())
        await asyncio.sleep(0.2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        found = leaks()
        await engine.dispose()
        return found

    assert asyncio.run(work()) == []


def sleep(subject, seconds):
    """A query that takes so long."""
    return f"SELECT sleep({seconds})" if "pymysql" in getattr(subject, "driver", "") else f"SELECT pg_sleep({seconds})"


@pools_that(lambda subject: subject.block and not subject.shares and subject.library != "redis")
def test_a_connection_whose_query_runs_is_no_leak(leaks, opened, subject):
    """For several times the limit; it is none afterwards either."""
    pool = opened()
    connection = subject.take(pool)
    query = sleep(subject, 3 * LIMIT)
    over = threading.Event()

    def work():
        if subject.library == "sqlalchemy":
            if subject.asynchronous:
                subject.loop(pool).run(connection.exec_driver_sql(query))
            else:
                connection.exec_driver_sql(query)
        elif subject.asynchronous:
            subject.loop(pool).run(connection.execute(query))
        else:
            connection.execute(query)
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    found = []
    while not over.wait(LIMIT / 3):
        seen = leaks()
        if not over.is_set():
            found += seen
    thread.join()
    subject.give(pool, connection)
    assert found == []
    assert leaks() == []


def test_a_query_through_a_raw_cursor_is_no_leak(leaks, engine):
    """SQLAlchemy does not know of it, the driver does."""
    raw = engine.raw_connection()
    thread = threading.Thread(target=lambda: raw.cursor().execute(f"SELECT pg_sleep({4 * LIMIT})"))
    thread.start()
    time.sleep(2.5 * LIMIT)
    found = leaks()
    thread.join()
    raw.close()
    assert found == []


@unshared
def test_what_was_allowed_is_no_leak(telemetry, leaks, opened, subject):
    """A connection that listens, or that holds an advisory lock, is marked where it is taken."""
    pool = opened()
    if subject.asynchronous:

        async def take():
            with dbsight.allow("connection_leak", reason="it listens"):
                return await subject.take_async(pool)

        kept = subject.loop(pool).run(take())
    else:
        with dbsight.allow("connection_leak", reason="it listens"):
            kept = subject.take(pool)
    time.sleep(1.2 * LIMIT)
    found = leaks()
    subject.give(pool, kept)
    assert found == []


@unshared
def test_what_comes_back_after_all_is_withdrawn(telemetry, leaks, opened, subject, database):
    """The finding and the totals; the counter says how many were reported."""
    pool = opened()
    connection = subject.take(pool)
    (found,) = until(leaks)
    assert found.count == 1
    assert dbsight.pool_stats()[subject.name(database)]["leaked"] == 1
    subject.give(pool, connection)
    assert leaks() == []
    assert dbsight.pool_stats()[subject.name(database)]["leaked"] == 0
    (point,) = telemetry.points(semconv.METRIC_CONNECTION_LEAKS)
    assert point.value == 1


def test_what_is_still_out_stays_a_leak(leaks, engine):
    """Of two that one line took one comes back."""
    first, second = [engine.connect() for _ in range(2)]
    time.sleep(1.2 * LIMIT)
    assert [each.count for each in leaks()] == [2]
    first.close()
    assert [each.count for each in leaks()] == [1]
    second.close()
    assert until(lambda: leaks() == [])


def test_what_the_collector_finds_later_stays_a_leak(leaks, engine):
    """It was reported as overdue, and then nobody gave it back."""
    connection = engine.connect()
    time.sleep(1.2 * LIMIT)
    assert len(leaks()) == 1
    del connection
    gc.collect()
    assert [each.count for each in leaks()] == [1]
