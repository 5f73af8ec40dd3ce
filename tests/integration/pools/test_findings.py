"""Every rule about pools and transactions in pairs: the fault is found with its line, its fix makes the finding go."""

import asyncio
import inspect
import re
import threading
import time

import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from subjects import collect, in_threads

import dbsight
from dbsight.config import Settings
from dbsight.instrument.pools import registry
from suggested import applied
from waiting import until

HERE = "tests/integration/pools/test_findings.py"

LIMITS = Settings(
    slow_query_threshold=0.4,
    connection_leak_after=0.2,
    long_transaction_threshold=0.5,
    pool_wait_threshold=0.05,
    blocked_loop_threshold=0.05,
    pool_count_threshold=20,
)


ENGINES = {"create_engine": sqlalchemy.create_engine, "create_async_engine": create_async_engine}


class Base(DeclarativeBase):
    """Models of this file."""


class Item(Base):
    """A row."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def limits():
    """That a test can reach."""
    return LIMITS


@pytest.fixture
def watched(make_telemetry, limits):
    """Telemetry with those limits, and ``found(rule)``, which looks at the totals now."""
    telemetry = make_telemetry(settings=limits)

    def found(rule):
        telemetry.processor.analyzer.finish()
        merged = telemetry.processor.analyzer.snapshot().findings
        return [each.finding for each in merged if each.finding.rule == rule]

    def forget(*, pools=False):
        """As in a new process; with ``pools`` those that there were, too."""
        telemetry.processor.analyzer.stats.reset()
        telemetry.processor.analyzer.pools.reset()
        if pools:
            collect()
            registry.clear()

    telemetry.found, telemetry.forget = found, forget
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


def serve(telemetry, engine, threads, requests, hold):
    """Threads that take a connection and keep it for a while, one request after the other."""

    def work(_):
        for _ in range(requests):
            with telemetry.root("GET /orders"), engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1").all()
                time.sleep(hold)

    errors = [each for each in in_threads(threads, work) if isinstance(each, Exception)]
    assert errors == []


def waiting(make_telemetry, engine, threads=8, requests=2, hold=0.1):
    """What is found of waiting when so many threads use an engine."""
    telemetry = make_telemetry(settings=Settings(pool_wait_threshold=LIMITS.pool_wait_threshold))
    for connection in [engine.connect() for _ in range(engine.pool.size())]:  # or the first waits while others connect
        connection.close()
    try:
        serve(telemetry, engine, threads, requests, hold)
        analyzer = telemetry.processor.analyzer
        analyzer.finish()
        findings = [each.finding for each in analyzer.snapshot().findings]
    finally:
        engine.dispose()
        telemetry.close()
    return [each for each in findings if each.rule == "pool_wait"]


def test_the_computed_pool_size_removes_the_waiting(make_telemetry, url):
    """What is suggested for a pool that is too small is enough; with less than half of it there is waiting still."""
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    (found,) = [each for each in waiting(make_telemetry, engine) if "exhausted" in each.title]
    assert (found.severity, found.category) == ("warning", "pool")
    assert waiting(make_telemetry, applied(found.suggestion, url=url, **ENGINES)) == []
    advised = int(re.search(r"pool_size=(\d+), max_overflow=0", found.suggestion)[1])
    smaller = sqlalchemy.create_engine(url, pool_size=(advised - 1) // 2, max_overflow=0)
    assert waiting(make_telemetry, smaller) != []


def test_a_pool_that_is_closed_by_now_is_not_said_to_have_no_connections(watched, url):
    """As at the end of a program: what waited is known, the size is gone."""
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    serve(watched, engine, threads=8, requests=2, hold=0.1)
    engine.dispose()
    engine.pool = None
    del engine
    collect()
    (found,) = [each for each in watched.found("pool_wait") if "exhausted" in each.title]
    assert "0 connections" not in found.description
    assert found.current_value is None


def test_connections_that_are_kept_for_long_are_told_from_too_few(make_telemetry, postgresql):
    """One line keeps them most of the time, which is said; with the size that is suggested besides nobody waits."""
    url = postgresql.url("postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0)
    (found,) = [each for each in waiting(make_telemetry, engine, 8, 1, 0.3) if "exhausted" in each.title]
    assert re.search(rf"(9\d|100)% of the checkout time is spent at {HERE}:\d+: return", found.description)
    assert waiting(make_telemetry, applied(found.suggestion, url=url, **ENGINES), 8, 1, 0.3) == []


def test_a_pool_that_runs_out_because_of_a_leak_says_so(watched, url):
    """The line that took what is missing, and the block that gives it back; with it the pool is large enough."""
    engine = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    kept = engine.connect()
    time.sleep(1.5 * LIMITS.connection_leak_after)
    with pytest.raises(sqlalchemy.exc.TimeoutError):
        engine.connect()
    (found,) = [each for each in watched.found("pool_wait") if "exhausted" in each.title]
    line = line_of(test_a_pool_that_runs_out_because_of_a_leak_says_so, "kept = ")
    assert found.description.endswith(f"Connections are not returned ({HERE}:{line}).")
    kept.close()
    for _ in range(2):
        applied(found.suggestion, "connection.exec_driver_sql('SELECT 1').all()", engine=engine)
    engine.dispose()


def test_a_pool_that_is_far_too_large_is_found(watched, postgresql):
    """It keeps ten times as many connections open as are ever out; with the size that is suggested it is not."""

    def use(pool):
        pool.open(wait=True, timeout=30)
        for number in range(600):
            with pool.connection():
                pass
            if number % 100 == 0:
                watched.processor.analyzer.examine()
        found = [each for each in watched.found("pool_wait") if "larger" in each.title]
        pool.close()
        return found

    names = {"ConnectionPool": psycopg_pool.ConnectionPool, "conninfo": postgresql.url()}
    (found,) = use(psycopg_pool.ConnectionPool(postgresql.url(), min_size=12, open=False))
    assert (found.severity, found.suggestion) == ("info", "ConnectionPool(conninfo, min_size=2, max_size=2)")
    pool = applied(found.suggestion, **names)
    watched.forget()
    assert use(pool) == []


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
    assert re.search(rf"Held by {re.escape(HERE)}:{line} for [\d.]+ [mµ]?s\.$", said)
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


@pytest.mark.parametrize("limits", [Settings(connection_leak_after=1.0)], ids=["patient"])
def test_a_connection_that_is_used_is_no_leak(watched, url):
    """It is out for long, but it works."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        end = time.monotonic() + 1.3
        while time.monotonic() < end:
            connection.exec_driver_sql("SELECT 1").all()
            time.sleep(0.02)
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
    """The session's line; once it is closed, and where the suggestion closes it, there is none."""
    engine = sqlalchemy.create_engine(url)
    session = Session(engine)
    session.execute(sqlalchemy.text("SELECT 1"))
    time.sleep(0.3)
    (found,) = watched.found("session_leak")
    assert found.call_site.function == "test_a_session_that_is_not_closed_is_a_leak_of_its_own"
    assert watched.found("connection_leak") == []
    session.close()
    applied(
        found.suggestion, "session.execute(query)", Session=Session, engine=engine, query=sqlalchemy.text("SELECT 1")
    )
    time.sleep(0.3)
    assert watched.found("session_leak") == []
    engine.dispose()


def test_an_asynchronous_session_is_given_back_as_such(watched, postgresql):
    """Its suggestion has ``async`` in it, and works."""
    query = sqlalchemy.text("SELECT 1")

    async def work():
        engine = create_async_engine(postgresql.url("postgresql+asyncpg"))
        session = AsyncSession(engine)
        await session.execute(query)
        await asyncio.sleep(0.3)
        (found,) = watched.found("session_leak")
        await session.close()
        names = {"AsyncSession": AsyncSession, "engine": engine, "query": query}
        await applied(found.suggestion, "await session.execute(query)", **names)
        await asyncio.sleep(0.3)
        await engine.dispose()
        return found

    assert asyncio.run(work()).suggestion == "async with AsyncSession(engine) as session:"
    assert watched.found("session_leak") == []


def test_a_transaction_that_waits_for_something_else_is_long(watched, url):
    """Idle in a transaction: the line that began it; the statements alone are none."""
    engine = sqlalchemy.create_engine(url)
    with watched.root("POST /order"), engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE stock (id INTEGER)")
        time.sleep(0.6)
    (found,) = watched.found("long_transaction")
    line = line_of(test_a_transaction_that_waits_for_something_else_is_long, "engine.begin() as connection")
    assert (found.title, found.call_site.line, found.severity) == ("A transaction is idle while open", line, "warning")
    assert found.current_value > found.details["idle"] > 0.59
    watched.forget()
    with watched.root("POST /order"), Session(engine) as session:
        time.sleep(0.6)
        applied(found.suggestion, "session.execute(query)", session=session, query=sqlalchemy.text("SELECT 1"))
    assert watched.found("long_transaction") == []
    engine.dispose()


def test_a_transaction_that_writes_too_much_at_once_is_long(watched, url):
    """Busy most of the time: parts of it, each with a transaction of its own, are not."""
    engine = sqlalchemy.create_engine(url)
    Base.metadata.create_all(engine)
    sleep = sqlalchemy.text(SLEEPS[engine.dialect.name].replace("0.1", "0.3"))
    with watched.root("POST /import"), Session(engine) as session, session.begin():
        for number in range(1, 3):
            session.add(Item(id=number))
            session.flush()
            session.execute(sleep)
    (found,) = watched.found("long_transaction")
    assert found.title == "A transaction stays open for too long"
    watched.forget()
    with watched.root("POST /import"), Session(engine) as session:
        session.execute(sleep)
        session.rollback()
        applied(found.suggestion, session=session, rows=[Item(id=number) for number in range(10, 50)])
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.count(Item.id))) == 42
    assert watched.found("long_transaction") == []
    engine.dispose()


@pytest.mark.parametrize(("shares", "told"), [((0.6,), []), ((0.3, 0.3), ["long_transaction"])])
def test_a_transaction_that_is_one_slow_query_is_told_as_that_query(watched, shares, told):
    """One cause, one finding; two queries that share the time make the transaction long."""
    engine = sqlalchemy.create_engine("sqlite://")
    with watched.root("POST /import"), engine.begin() as connection:
        connection.connection.dbapi_connection.create_function("dawdle", 1, time.sleep)
        connection.exec_driver_sql("CREATE TABLE stock (id INTEGER)")
        for share in shares:
            connection.exec_driver_sql("INSERT INTO stock SELECT dawdle(?)", (share,))
    assert [found.rule for found in watched.found("long_transaction")] == told
    assert len(watched.found("slow_query")) == 1 - len(told)
    engine.dispose()


def test_a_transaction_that_may_take_its_time_is_not_told(watched, url):
    """What was allowed, with its reason."""
    engine = sqlalchemy.create_engine(url)
    with (
        watched.root("POST /order"),
        dbsight.allow("long_transaction", reason="the nightly import"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql("SELECT 1")
        time.sleep(0.6)
    assert watched.found("long_transaction") == []
    engine.dispose()


def test_a_transaction_that_never_ends_is_found_while_it_is_open(watched, url):
    """Nobody has to wait for its end."""
    engine = sqlalchemy.create_engine(url)
    connection = engine.connect()
    connection.exec_driver_sql("SELECT 1").all()
    (found,) = until(lambda: watched.found("long_transaction"))
    assert re.search(r"open since [\d.]+ [mµ]?s;", found.description)
    assert found.current_value > 0.49
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


def test_a_thread_or_an_asynchronous_driver_does_not(watched, postgresql):
    """Both of what is suggested, one after the other, in the same coroutine."""
    url = postgresql.url("postgresql+psycopg")
    engine = sqlalchemy.create_engine(url)
    sleep = SLEEPS["postgresql"]

    def work():
        with engine.connect() as connection:
            connection.exec_driver_sql(sleep).all()

    async def checkout(ask):
        with watched.root("GET /checkout"):
            answer = ask()
            if inspect.isawaitable(answer):
                await answer

    async def ask_asynchronously():
        asynchronous = applied(first, make_url=sqlalchemy.make_url, url=url, **ENGINES)
        async with asynchronous.connect() as connection:
            await connection.exec_driver_sql(sleep)
        await asynchronous.dispose()

    asyncio.run(checkout(work))
    (found,) = watched.found("blocking_call")
    first, _, second = found.suggestion.partition("  # or\n")
    watched.forget()
    asyncio.run(checkout(ask_asynchronously))
    asyncio.run(checkout(lambda: applied(second, asyncio=asyncio, work=work)))
    assert watched.found("blocking_call") == []
    engine.dispose()


def test_engines_that_could_be_one_are_found(watched, url):
    """Three with the same settings; one, made as is suggested, and one with others, are not."""
    first, other = sqlalchemy.create_engine(url), sqlalchemy.create_engine(url, pool_size=1)
    assert watched.found("duplicate_pools") == []
    more = [sqlalchemy.create_engine(url) for _ in range(2)]
    (found,) = watched.found("duplicate_pools")
    assert (found.severity, found.count) == ("warning", 3)
    assert found.call_site.function.endswith("<listcomp>") or "test_engines" in found.call_site.function
    for engine in (first, *more):
        engine.dispose()
    del engine, first, more
    collect()
    watched.forget()
    made = applied(found.suggestion, url=url, **ENGINES)["engine"]
    assert watched.found("duplicate_pools") == []
    for engine in (made, other):
        engine.dispose()


def test_the_line_that_makes_most_of_them_is_named(watched, url):
    """Whatever pools other lines make for the same target, with these settings or others."""
    single = [sqlalchemy.create_engine(url), sqlalchemy.create_engine(url, pool_size=1)]
    line = inspect.currentframe().f_lineno + 1
    many = [sqlalchemy.create_engine(url) for _ in range(8)]
    (found,) = watched.found("duplicate_pools")
    assert (found.call_site.line, found.count) == (line, 9)
    for engine in (*single, *many):
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

    async def query_and_do_as_suggested():
        await query()
        await applied(found.suggestion, engine=engine)

    asyncio.run(engine.dispose(close=False))
    for _ in range(2):
        asyncio.run(query_and_do_as_suggested())
    assert [each.count for each in watched.found("duplicate_pools")] == [found.count]


def test_engines_that_are_made_over_and_over_are_found(watched, url):
    """One for each request; one for all, made as is suggested, is not."""

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
    watched.forget(pools=True)
    engine = applied(found.suggestion, url=url, **ENGINES)["engine"]
    for _ in range(11):
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1").all()
    assert watched.found("pool_churn") == []
    engine.dispose()


def test_connections_that_are_made_over_and_over_are_found(watched, url):
    """Without a pool every use opens one; without the argument they are kept."""

    def use(engine):
        for _ in range(60):
            with engine.connect():
                pass
        engine.dispose()

    use(sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool))
    (found,) = watched.found("pool_churn")
    assert found.severity == "info"
    watched.forget(pools=True)
    use(applied(found.suggestion, url=url, **ENGINES))
    assert watched.found("pool_churn") == []


def test_a_pool_that_keeps_nothing_is_replaced_by_one_that_does(watched, postgresql):
    """psycopg_pool's null pools have other names for it."""
    names = {"ConnectionPool": psycopg_pool.ConnectionPool, "conninfo": postgresql.url()}

    def use(pool):
        with pool:
            for _ in range(60):
                with pool.connection():
                    pass

    use(psycopg_pool.NullConnectionPool(postgresql.url(), open=False))
    (found,) = watched.found("pool_churn")
    assert found.suggestion == "ConnectionPool(conninfo)"
    watched.forget(pools=True)
    use(applied(found.suggestion, **names))
    assert watched.found("pool_churn") == []


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
    watched.forget()
    insert = sqlalchemy.text("INSERT INTO items VALUES (1)")
    for number in range(30):
        valid = number % 3  # what may fail is checked before
        with Session(engine) as session:
            if valid:
                applied(found.suggestion, "session.execute(insert)", session=session, insert=insert)
    assert watched.found("rollback_rate") == []
    engine.dispose()


def test_a_pool_for_threads_under_an_asynchronous_engine_is_explained(watched, postgresql):
    """SQLAlchemy refuses it; without the argument it makes the right one."""
    url = postgresql.url("postgresql+asyncpg")
    with pytest.raises(sqlalchemy.exc.ArgumentError):
        create_async_engine(url, poolclass=sqlalchemy.QueuePool)
    (found,) = watched.found("async_engine_sync_pool")
    line = line_of(test_a_pool_for_threads_under_an_asynchronous_engine_is_explained, "poolclass=")
    assert str(found.call_site) == f"{HERE}:{line}"
    watched.forget()
    applied(found.suggestion, url=url, **ENGINES)
    assert watched.found("async_engine_sync_pool") == []


def test_a_thousand_engines_leave_nothing_behind(watched, tmp_path):
    """What is remembered of engines goes with them, their names are bounded."""
    from dbsight.instrument import pools

    collect()
    before = threading.active_count()
    pools_before, engines_before = len(pools.snapshots("sqlalchemy")), len(pools.engines())  # of other tests
    for number in range(1000):
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{number}.db")
        if number % 100 == 0:
            with engine.connect():
                pass
    del engine
    collect()
    assert len(pools.snapshots("sqlalchemy")) <= pools_before
    assert len(pools.engines()) <= engines_before
    assert len(pools.snapshots(gone=True)) <= 201
    assert threading.active_count() <= before + 1
