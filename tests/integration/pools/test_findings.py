"""Every rule about pools and transactions in pairs: the fault is found with its line, its fix makes the finding go."""

import asyncio
import re
import threading
import time

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from subjects import collect, in_threads

from dbsight.config import Settings

HERE = "tests/integration/pools/test_findings.py"

LIMITS = Settings(
    connection_leak_after=0.2,
    long_transaction_threshold=0.2,
    pool_wait_threshold=0.05,
    blocked_loop_threshold=0.05,
    pool_count_threshold=20,
)


@pytest.fixture
def watched(make_telemetry):
    """Telemetry with limits that a test can reach, and ``found(rule)``, which looks at the totals now."""
    collect()  # engines of earlier tests
    telemetry = make_telemetry(settings=LIMITS)

    def found(rule):
        telemetry.processor.analyzer.finish()
        merged = telemetry.processor.analyzer.stats.snapshot().findings
        return [each.finding for each in merged if each.finding.rule == rule]

    telemetry.found = found
    return telemetry


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request):
    """An empty database on each server."""
    database = request.getfixturevalue(request.param)
    return database.url("postgresql+psycopg" if request.param == "postgresql" else "mysql+pymysql")


def line_of(function, code):
    """Number of the line of a function that has this code."""
    import inspect

    lines, first = inspect.getsourcelines(function)
    (found,) = (first + offset for offset, line in enumerate(lines) if code in line and "line_of" not in line)
    return found


def serve(telemetry, engine, threads, requests):
    """Threads that run requests of a few milliseconds one after the other."""

    def work(_):
        for _ in range(requests):
            with telemetry.root("GET /orders"), engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1").all()
                time.sleep(0.04)

    errors = [each for each in in_threads(threads, work) if isinstance(each, Exception)]
    assert errors == []


def test_the_computed_pool_size_removes_the_waiting(make_telemetry, url):
    """What is suggested for a pool that is too small is enough, and not twice what would have been."""

    def run(size):
        telemetry = make_telemetry(settings=LIMITS)
        engine = sqlalchemy.create_engine(url, pool_size=size, max_overflow=0)
        for connection in [engine.connect() for _ in range(size)]:  # or the first would wait while others connect
            connection.close()
        try:
            serve(telemetry, engine, threads=6, requests=8)
            analyzer = telemetry.processor.analyzer
            analyzer.finish()
            findings = [each.finding for each in analyzer.stats.snapshot().findings]
        finally:
            engine.dispose()
            telemetry.close()
        return [each for each in findings if each.rule == "pool_wait"]

    found = [each for each in run(1) if "runs out" in each.title]
    assert [(each.severity, each.category) for each in found] == [("warning", "pool")]
    advised = int(re.search(r"pool_size=(\d+), max_overflow=0", found[0].suggestion)[1])
    assert run(advised) == []
    least = next(size for size in range(2, 20) if run(size) == [])
    assert least <= advised <= 2 * least


def test_who_waited_in_vain_learns_who_held_the_connections(watched, url):
    """A timeout has no query span: the root says which lines hold the connections, and for how long."""
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.3)
    holding = engine.connect()
    holding.exec_driver_sql("SELECT 1").all()
    with watched.root("GET /orders"), pytest.raises(sqlalchemy.exc.TimeoutError):
        engine.connect()
    (event,) = (event for span in watched.spans("GET /orders") for event in span.events_named("dbsight.finding"))
    assert event.attributes["dbsight.finding.rule"] == "pool_wait"
    assert event.attributes["dbsight.finding.severity"] == "error"
    line = line_of(test_who_waited_in_vain_learns_who_held_the_connections, "holding = ")
    said = event.attributes["dbsight.finding.description"]
    assert re.search(rf"Held by {re.escape(HERE)}:{line} for [\d.]+ m?s\.$", said)
    watched.clear()
    holding.close()
    with watched.root("GET /orders"), engine.connect():
        pass
    assert [event for span in watched.spans("GET /orders") for event in span.events] == []
    engine.dispose()


def test_a_connection_that_is_kept_is_a_leak(watched, url):
    """Out for longer than the limit and without a query: the line that took it."""
    engine = sqlalchemy.create_engine(url)
    kept = engine.connect()
    time.sleep(0.3)
    (found,) = watched.found("connection_leak")
    line = line_of(test_a_connection_that_is_kept_is_a_leak, "kept = ")
    assert (str(found.call_site), found.severity, found.count) == (f"{HERE}:{line}", "error", 1)
    assert found.suggestion == "with engine.connect() as connection:"
    kept.close()
    engine.dispose()


def test_a_connection_that_is_given_back_or_used_is_no_leak(watched, url):
    """What the suggestion makes of it, and a connection that is out for long but works."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            connection.exec_driver_sql("SELECT 1").all()
            time.sleep(0.02)
        assert watched.found("connection_leak") == []
    time.sleep(0.3)
    assert watched.found("connection_leak") == []
    engine.dispose()


def test_a_connection_that_the_collector_finds_is_a_leak(watched, url):
    """Forgotten, not closed."""
    engine = sqlalchemy.create_engine(url)

    def forget():
        engine.connect()

    forget()
    collect()
    (found,) = watched.found("connection_leak")
    assert found.call_site.function.endswith("forget")
    assert "garbage collector" in found.description
    engine.dispose()


def test_a_session_that_is_not_closed_is_a_leak_of_its_own(watched, url):
    """The session's line; closed by the suggestion it is none."""
    engine = sqlalchemy.create_engine(url)
    session = Session(engine)
    session.execute(sqlalchemy.text("SELECT 1"))
    time.sleep(0.3)
    (found,) = watched.found("session_leak")
    assert found.call_site.function == "test_a_session_that_is_not_closed_is_a_leak_of_its_own"
    assert watched.found("connection_leak") == []
    session.close()
    engine.dispose()


def test_a_closed_session_is_no_leak(watched, url):
    """What the suggestion makes of it."""
    engine = sqlalchemy.create_engine(url)
    with Session(engine) as session:
        session.execute(sqlalchemy.text("SELECT 1"))
    time.sleep(0.3)
    assert watched.found("session_leak") == []
    engine.dispose()


def test_a_transaction_that_waits_for_something_else_is_long(watched, url):
    """Idle in a transaction: the line that began it; the statements alone are none."""
    engine = sqlalchemy.create_engine(url)
    with watched.root("POST /order"), engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE stock (id INTEGER)")
        time.sleep(0.3)
    (found,) = watched.found("long_transaction")
    line = line_of(test_a_transaction_that_waits_for_something_else_is_long, "POST /order")
    assert (found.title, found.call_site.line, found.severity) == ("Idle in a transaction", line, "warning")
    assert found.current_value > found.details["idle"] > 0.29
    engine.dispose()


def test_a_transaction_around_the_statements_alone_is_not_long(watched, url):
    """What the suggestion makes of it, and one that may take its time."""
    import dbsight

    engine = sqlalchemy.create_engine(url)
    with watched.root("POST /order"):
        time.sleep(0.3)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE stock (id INTEGER)")
        with dbsight.allow("long_transaction", reason="the nightly import"), engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
            time.sleep(0.3)
    assert watched.found("long_transaction") == []
    engine.dispose()


def test_a_transaction_that_never_ends_is_found_while_it_is_open(watched, url):
    """Nobody has to wait for its end."""
    engine = sqlalchemy.create_engine(url)
    connection = engine.connect()
    connection.exec_driver_sql("SELECT 1").all()
    time.sleep(0.3)
    (found,) = watched.found("long_transaction")
    assert re.search(r"open since [\d.]+ m?s;", found.description)
    assert found.current_value > 0.29
    connection.close()
    engine.dispose()


SLEEPS = {"postgresql": "SELECT pg_sleep(0.1)", "mysql": "SELECT SLEEP(0.1)"}


def test_a_synchronous_driver_stops_the_loop(watched, url):
    """The coroutine, the statement and the time that every other task waited."""
    engine = sqlalchemy.create_engine(url)
    sleep = SLEEPS[engine.dialect.name]

    async def checkout():
        with watched.root("GET /checkout"), engine.connect() as connection:
            connection.exec_driver_sql(sleep).all()

    asyncio.run(checkout())
    (found,) = watched.found("blocking_call")
    assert found.call_site.function.endswith("checkout")
    assert found.current_value > 0.1
    (point,) = [each for each in watched.points("dbsight.eventloop.blocked") if each.count]
    assert point.sum == pytest.approx(found.current_value)
    engine.dispose()


def test_a_thread_or_an_asynchronous_driver_does_not(watched, url, postgresql):
    """Both fixes."""
    engine = sqlalchemy.create_engine(url)
    sleep = SLEEPS[engine.dialect.name]

    def blocking():
        with engine.connect() as connection:
            connection.exec_driver_sql(sleep).all()

    async def checkout():
        asynchronous = create_async_engine(postgresql.url("postgresql+asyncpg"))
        with watched.root("GET /checkout"):
            await asyncio.to_thread(blocking)
            async with asynchronous.connect() as connection:
                await connection.exec_driver_sql(SLEEPS["postgresql"])
        await asynchronous.dispose()

    asyncio.run(checkout())
    assert watched.found("blocking_call") == []
    engine.dispose()


def test_engines_that_could_be_one_are_found(watched, url):
    """Three with the same settings; one, and one with others, are not."""
    first, other = sqlalchemy.create_engine(url), sqlalchemy.create_engine(url, pool_size=1)
    assert watched.found("duplicate_pools") == []
    more = [sqlalchemy.create_engine(url) for _ in range(2)]
    (found,) = watched.found("duplicate_pools")
    assert (found.severity, found.count) == ("warning", 3)
    assert found.call_site.function.endswith("<listcomp>") or "test_engines" in found.call_site.function
    for engine in (first, other, *more):
        engine.dispose()


def test_too_many_pools_are_found(watched, tmp_path):
    """More than ``pool_count_threshold``, to whatever databases."""
    engines = [sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{number}.db") for number in range(21)]
    (found,) = watched.found("duplicate_pools")
    assert found.severity == "error"
    assert found.current_value >= len(engines)


def test_a_pool_on_two_loops_is_found(watched, postgresql):
    """Connections of a loop that has ended; disposed of before it ends, the pool may go on."""
    engine = create_async_engine(postgresql.url("postgresql+asyncpg"))

    async def query():
        async with engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def query_and_dispose():
        await query()
        await engine.dispose()

    asyncio.run(query_and_dispose())
    asyncio.run(query())
    assert watched.found("duplicate_pools") == []
    loop = asyncio.new_event_loop()
    with pytest.raises(Exception):  # noqa: B017 - asyncpg's, of several kinds
        loop.run_until_complete(query())
    loop.close()
    (found,) = watched.found("duplicate_pools")
    assert "event loops" in found.title


def test_engines_that_are_made_over_and_over_are_found(watched, url):
    """One for each request; one for all is not."""

    def request():
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1").all()
        engine.dispose()

    for _ in range(5):
        request()
    collect()
    assert watched.found("pool_churn") == []
    for _ in range(6):
        request()
    collect()
    (found,) = watched.found("pool_churn")
    assert found.call_site.function.endswith("request")
    assert found.suggestion.startswith("engine = create_engine(url)")


def test_connections_that_are_made_over_and_over_are_found(watched, url):
    """Without a pool every use opens one; with one they are kept."""
    pooled = sqlalchemy.create_engine(url)
    unpooled = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    for _ in range(60):
        with pooled.connect():
            pass
    assert watched.found("pool_churn") == []
    pooled.dispose()
    del pooled
    collect()
    for _ in range(130):
        with unpooled.connect():
            pass
    (found,) = watched.found("pool_churn")
    assert "NullPool" in found.suggestion


def test_rollbacks_of_what_was_written_are_counted(watched, url):
    """A third of them; sessions that only read and are closed are none."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE items (id INTEGER)")

    def work(failing):
        with engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO items VALUES (1)")
            connection.rollback() if failing else connection.commit()

    for number in range(20):
        work(failing=False)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1").all()
        if number == 18:
            assert watched.found("rollback_rate") == []
    for _ in range(10):
        work(failing=True)
    (found,) = watched.found("rollback_rate")
    assert (found.severity, found.count) == ("warning", 10)
    assert found.call_site.function.endswith("work")
    engine.dispose()


def test_a_pool_for_threads_under_an_asynchronous_engine_is_explained(watched, postgresql):
    """SQLAlchemy refuses it; without the argument it makes the right one."""
    url = postgresql.url("postgresql+asyncpg")
    with pytest.raises(sqlalchemy.exc.ArgumentError):
        create_async_engine(url, poolclass=sqlalchemy.QueuePool)
    (found,) = watched.found("async_engine_sync_pool")
    line = line_of(test_a_pool_for_threads_under_an_asynchronous_engine_is_explained, "poolclass=")
    assert str(found.call_site) == f"{HERE}:{line}"
    create_async_engine(url)
    assert len(watched.found("async_engine_sync_pool")) == 1


def test_ten_thousand_engines_leave_nothing_behind(watched, tmp_path):
    """What is remembered of engines goes with them, their names are bounded."""
    from dbsight.instrument import pools

    before = threading.active_count()
    for number in range(1000):
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{number}.db")
        if number % 100 == 0:
            with engine.connect():
                pass
    del engine
    collect()
    assert pools.snapshots("sqlalchemy") == []
    assert len(pools.engines()) == 0
    assert len(pools.snapshots(gone=True)) <= 201
    assert threading.active_count() <= before + 1
