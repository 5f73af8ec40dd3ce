"""The session that blocks a slow query is asked for while the query runs, where a setting allows it."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import forking
from dbsight import semconv
from dbsight.config import Settings
from dbsight.instrument import blocking
from dbsight.instrument.blocking import watch
from dbsight.model import Database
from dbsight.report.terminal import render

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LOCKED = "UPDATE orders SET total = 1 WHERE id = 4711"
BLOCKED = "UPDATE orders SET total = :total WHERE id = 4711"
SETTINGS = {"slow_query_threshold": 0.05, "very_slow_query_threshold": 1000.0, "process_metrics": False}


@pytest.fixture
def watched(make_telemetry):
    """Telemetry of a process that may ask for blocking sessions; further settings by name."""

    def make(**settings):
        return make_telemetry(settings=Settings(**{**SETTINGS, "blocking_sessions": True, **settings}))

    return make


class Holder:
    """A session that holds the lock of a row until it is known who waits for it."""

    def __init__(self, url, comment="", **connect_args):
        self._engine = sa.create_engine(url, future=True, poolclass=sa.pool.NullPool, connect_args=connect_args)
        self._comment = comment

    def __enter__(self):
        self._connection = self._engine.connect()
        self._connection.exec_driver_sql(LOCKED + self._comment)
        self._thread = threading.Thread(target=self._release)
        self._thread.start()
        return self

    def _release(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(call.blocker for call in list(watch.running.values())):
            time.sleep(0.01)
        self._connection.rollback()

    def __exit__(self, *_):
        self._thread.join()
        self._connection.close()
        self._engine.dispose()


def span_of(telemetry):
    """The span of the query that was blocked."""
    return next(each for each in telemetry.spans() if (each.attributes or {}).get(semconv.BLOCKER_SESSION))


@pytest.mark.parametrize("explain", ["off", "slow"])
def test_the_session_that_holds_a_lock_is_on_the_span_and_in_the_report(postgresql_shop, watched, explain):
    """What it is, what it ran last, its trace, and how long the query waited for it."""
    telemetry = watched(explain=explain)
    comment = f" /*traceparent='00-{TRACE}-00f067aa0ba902b7-01'*/"
    holder = Holder(postgresql_shop.url, comment, application_name="nightly-batch")
    with holder, telemetry.root("POST /orders"), postgresql_shop.begin() as connection:
        connection.execute(sa.text(BLOCKED), {"total": 5})
    span = span_of(telemetry)
    told = span.attributes
    assert told[semconv.BLOCKER_APPLICATION] == "nightly-batch"
    assert told[semconv.BLOCKER_STATE] == "idle in transaction"
    assert told[semconv.BLOCKER_QUERY_SUMMARY] == "UPDATE orders"
    assert told[semconv.BLOCKER_TRACE] == TRACE
    assert 0 < told[semconv.QUERY_LOCK_TIME] <= (span.end_ns - span.start_ns) / 1e9
    assert told[semconv.BLOCKER_TRANSACTION_TIME] > 0  # two clocks: no comparison with the time of the wait
    (event,) = span.events_named(semconv.FINDING_EVENT)
    said = event.attributes[semconv.FINDING_DESCRIPTION]
    assert f"for a lock of session {told[semconv.BLOCKER_SESSION]} (nightly-batch), idle in transaction" in said
    assert "4711" not in said
    page = render(telemetry.processor.analyzer.snapshot(), width=120)
    assert "▓ lock " in page
    assert f"trace {TRACE}" in " ".join(page.split())


@pytest.mark.parametrize("system", ["mariadb", "mysql"])
def test_mariadb_and_mysql_are_asked_as_well(system, request, watched):
    """Of InnoDB's locks; their users need the privilege PROCESS, which those of the tests may lack."""
    shop = request.getfixturevalue(f"{system}_shop")
    with shop.connect() as connection:
        grants = " ".join(row[0] for row in connection.exec_driver_sql("SHOW GRANTS"))
    if "ALL PRIVILEGES ON *.*" not in grants and "PROCESS" not in grants:
        pytest.skip("the user of this server may not see other sessions")
    telemetry = watched()
    with Holder(shop.url), telemetry.root("POST /orders"), shop.begin() as connection:
        connection.execute(sa.text(BLOCKED), {"total": 5})
    told = span_of(telemetry).attributes
    assert told[semconv.BLOCKER_SESSION] > 0
    assert told[semconv.BLOCKER_STATE] == "Sleep"
    assert told[semconv.QUERY_LOCK_TIME] > 0


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg"])
def test_asynchronous_engines_are_asked_about_as_well(postgresql_shop, watched, scheme):
    """On a loop of its own: the application's waits."""
    telemetry = watched()

    async def main():
        engine = create_async_engine(postgresql_shop.url.set(drivername=scheme))
        with telemetry.root("POST /orders"):
            async with engine.begin() as connection:
                await connection.execute(sa.text(BLOCKED), {"total": 5})
        await engine.dispose()

    with Holder(postgresql_shop.url):
        asyncio.run(main())
    assert span_of(telemetry).attributes[semconv.BLOCKER_STATE] == "idle in transaction"


def test_a_slow_query_that_waits_for_nobody_has_no_blocker(postgresql_shop, watched):
    """It was asked about, and nobody was named."""
    telemetry = watched()
    with telemetry.root("GET /orders"), postgresql_shop.connect() as connection:
        connection.execute(sa.text("SELECT count(*), pg_sleep(0.4) FROM orders")).all()
    assert not any(semconv.BLOCKER_SESSION in (each.attributes or {}) for each in telemetry.spans())
    assert watch.running == {}


def test_nothing_is_listed_or_asked_by_default(postgresql_shop, make_telemetry, monkeypatch):
    """Nor on SQLite, whose locks have no owner that could be asked for."""
    listed = []
    monkeypatch.setattr(watch, "add", listed.append)
    telemetry = make_telemetry(settings=Settings(**SETTINGS))
    with telemetry.root("GET /"), postgresql_shop.connect() as connection:
        connection.execute(sa.text("SELECT 1 + 1")).all()
    telemetry.close()
    telemetry = make_telemetry(settings=Settings(**SETTINGS, blocking_sessions=True))
    engine = sa.create_engine("sqlite://", future=True)
    with telemetry.root("GET /"), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1 + 1")).all()
    engine.dispose()
    assert listed == []


def test_a_server_that_does_not_answer_is_left_alone(postgresql_shop, watched, monkeypatch):
    """The query is reported all the same, and the server is not asked again soon."""
    asked = []

    def refuse(engine, work):
        asked.append(engine)
        raise OSError("away")

    monkeypatch.setattr(blocking.private, "run", refuse)
    monkeypatch.setattr(watch, "_away", {})
    telemetry = watched()
    with telemetry.root("GET /orders"), postgresql_shop.connect() as connection:
        for _ in range(2):
            connection.execute(sa.text("SELECT count(*), pg_sleep(0.4) FROM orders")).all()
    assert len(asked) == 1
    assert len([each for each in telemetry.spans() if each.kind == "CLIENT"]) == 2


def test_the_thread_ends_with_the_setting_and_is_none_in_a_forked_child(postgresql_shop, watched):
    """A statement that runs during a fork is the parent's."""
    telemetry = watched()
    with telemetry.root("GET /orders"), postgresql_shop.connect() as connection:
        connection.execute(sa.text("SELECT 1 + 1")).all()
        thread = watch._thread
        assert thread.is_alive()
        assert forking.in_child(lambda: (watch.running, watch._thread)) == ({}, None)
    telemetry.close()
    thread.join(30)
    assert not thread.is_alive()
    assert watch._thread is None


def test_a_server_that_never_answers_keeps_no_question_from_others(postgresql_shop, watched, monkeypatch):
    """Its thread is left behind, and it is not asked again for an hour."""
    asked, go = [], threading.Event()

    def wait(engine, work):
        asked.append(engine)
        go.wait(60)

    monkeypatch.setattr(blocking, "_PATIENCE", 0.05)
    monkeypatch.setattr(blocking.private, "run", wait)
    monkeypatch.setattr(watch, "_away", {})
    telemetry = watched()
    with telemetry.root("GET /orders"), postgresql_shop.connect() as connection:
        for _ in range(2):
            connection.execute(sa.text("SELECT count(*), pg_sleep(0.4) FROM orders")).all()
    assert len(asked) == 1
    assert min(watch._away.values()) > time.perf_counter() + 1800
    go.set()


def test_a_connection_that_was_lost_is_not_made_again(watched):
    """SQLAlchemy's public attribute would connect, on our thread, what belongs to the application."""
    watched()
    connected = []

    class Lost:
        _dbapi_connection = None

        @property
        def connection(self):
            connected.append(self)

    class Call:
        began = asked = 0.0
        database = Database("postgresql", "shop")
        _context = SimpleNamespace(engine=None, root_connection=Lost())

    call = Call()
    watch.running[id(call)] = call
    try:
        watch._look(time.perf_counter() + 10)
    finally:
        watch.running.clear()
    assert (connected, call.asked) == ([], 0.0)
