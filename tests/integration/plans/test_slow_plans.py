"""Plans of slow queries: asked for in the background, within limits, and never in the application's way."""

import gc
import logging
import sqlite3
import threading
import time
import weakref

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool, StaticPool

from builders import make_operation
from dbsight import semconv
from dbsight.config import Settings
from dbsight.instrument import replays
from dbsight.instrument.sqlalchemy_replay import Replay
from integration.conftest import shop_on

QUERY = "SELECT * FROM orders WHERE customer_id = :customer"
SLOW = {"slow_query_threshold": 0.0, "very_slow_query_threshold": 1000.0, "process_metrics": False}


@pytest.fixture
def watched(make_telemetry):
    """Telemetry to which every query is slow, with plans on; further settings by name."""

    def make(**settings):
        return make_telemetry(settings=Settings(**{**SLOW, "explain": "slow", **settings}))

    return make


def ask(engine, telemetry, sql=QUERY, **values):
    """Run a query in a request, and wait for its plan."""
    with telemetry.root("GET /orders"), engine.connect() as connection:
        rows = connection.execute(sa.text(sql), values).all()
    telemetry.processor.analyzer.plans._worker.wait(30)
    return rows


def plans(telemetry):
    """The log events of plans so far."""
    return [each for each in telemetry.logs() if each.event_name == semconv.PLAN_EVENT]


def merged(telemetry, rule):
    """The findings of a rule in the totals."""
    snapshot = telemetry.processor.analyzer.snapshot()
    return [each.finding for each in snapshot.findings if each.finding.rule == rule]


def test_a_slow_query_gets_its_plan(shop, watched):
    """As a log event in its trace, on its finding in the totals, and on the span of the next one."""
    telemetry = watched()
    ask(shop, telemetry, customer=7654321)
    (event,) = plans(telemetry)
    (span,) = [each for each in telemetry.spans() if each.kind == "CLIENT"]
    assert event.trace_id == span.trace_id
    assert event.attributes[semconv.QUERY_FINGERPRINT] == span.attributes[semconv.QUERY_FINGERPRINT]
    assert "orders" in event.body
    assert "7654321" not in str(event)
    (found,) = merged(telemetry, "slow_query")
    assert found.plan.hash == event.attributes[semconv.PLAN_HASH]
    assert "seq_scan" in found.plan.issues
    telemetry.clear()
    ask(shop, telemetry, customer=8)
    (span,) = [each for each in telemetry.spans() if each.kind == "CLIENT"]
    (finding,) = span.events_named(semconv.FINDING_EVENT)
    assert finding.attributes[semconv.PLAN_HASH] == found.plan.hash
    assert "seq_scan" in finding.attributes[semconv.PLAN_ISSUES]


def test_the_background_is_not_traced_counted_or_pooled(shop, watched):
    """Neither its statements nor its connections: only the application's own query is there."""
    telemetry = watched()
    ask(shop, telemetry, customer=1)
    snapshot = telemetry.processor.analyzer.snapshot()
    assert snapshot.calls == 1
    assert sum(pool.totals.checkouts for pool in snapshot.pools) == 1
    assert len([each for each in telemetry.spans() if each.kind == "CLIENT"]) == 1


def test_it_runs_on_a_thread_and_a_connection_of_its_own(sqlite_shop, watched):
    """Made by the creator of the engine, set up by its listeners, and closed afterwards."""
    made, closed = [], []
    engine = sa.create_engine(sqlite_shop.url, future=True, poolclass=QueuePool)

    @sa.event.listens_for(engine, "connect")
    def connect(connection, record):
        made.append(threading.current_thread().name)

    @sa.event.listens_for(engine, "close")
    def close(connection, record):
        closed.append(threading.current_thread().name)

    telemetry = watched()
    ask(engine, telemetry, customer=1)
    assert made == [threading.current_thread().name, "dbsight-plans"]
    assert closed == ["dbsight-plans"]
    engine.dispose()


def test_a_fingerprint_is_asked_about_once_per_interval(sqlite_shop, watched):
    """Whatever the values; another statement is another matter, up to the limit per minute."""
    telemetry = watched(explain_per_minute=2)
    for customer in range(5):
        ask(sqlite_shop, telemetry, customer=customer)
    assert len(plans(telemetry)) == 1
    for column in ("id", "total", "status"):
        ask(sqlite_shop, telemetry, f"SELECT {column} FROM orders WHERE customer_id = :customer", customer=1)
    assert len(plans(telemetry)) == 2


def test_only_slow_queries_are_asked_about_unless_each_is_once(sqlite_shop, watched):
    """``slow`` and ``always_once``."""
    telemetry = watched(slow_query_threshold=500.0)
    ask(sqlite_shop, telemetry, customer=1)
    assert plans(telemetry) == []
    telemetry.close()
    telemetry = watched(slow_query_threshold=500.0, explain="always_once")
    sql = "SELECT status FROM orders WHERE customer_id = :customer"
    ask(sqlite_shop, telemetry, sql, customer=1)
    ask(sqlite_shop, telemetry, sql, customer=2)
    assert len(plans(telemetry)) == 1


def test_nothing_is_kept_of_a_query_while_plans_are_off(sqlite_shop, make_telemetry, monkeypatch):
    """No replay is made at all, and none of a write or of a batch while they are on."""
    made = []
    monkeypatch.setattr(Replay, "__init__", lambda self, *arguments: made.append(arguments))
    telemetry = make_telemetry(settings=Settings(**SLOW))
    with telemetry.root(), sqlite_shop.connect() as connection:
        connection.execute(sa.text(QUERY), {"customer": 1}).all()
    assert made == []
    assert replays.policy() is None


def test_a_default_that_is_selected_for_another_statement_has_no_plan(sqlite_shop, watched):
    """SQLAlchemy gives its query the context of the INSERT or UPDATE, or one without parameters when it runs alone."""
    telemetry = watched()
    latest = sa.select(sa.func.max(sa.text("customer_id"))).select_from(sa.text("orders")).scalar_subquery()
    key = sa.Column("id", sa.Integer, default=latest, primary_key=True)
    copies = sa.Table("copies", sa.MetaData(), key, implicit_returning=False)
    with sqlite_shop.begin() as connection:
        copies.create(connection)
        connection.scalar(sa.ColumnDefault(latest))
        connection.execute(copies.insert(), {})
    telemetry.processor.analyzer.plans._worker.wait(30)
    assert plans(telemetry) == []
    texts = [span.attributes.get(semconv.DB_QUERY_TEXT, "") for span in telemetry.spans()]
    assert sum(text.lower().startswith("select (select max(customer_id)") for text in texts) == 2, texts


def test_values_are_wiped_and_the_engine_is_not_kept_alive(sqlite_shop, watched):
    """After the plan; of a query that is not asked about again yet, nothing is kept."""
    engine = sa.create_engine(sqlite_shop.url, future=True)
    telemetry = watched()
    seen = []
    worker = telemetry.processor.analyzer.plans._worker
    submit = worker.submit

    def noted(replay, *rest):
        seen.append((replay, replay.parameters))
        return submit(replay, *rest)

    worker.submit = noted
    ask(engine, telemetry, customer=424242)
    ask(engine, telemetry, customer=424243)
    ((replay, values),) = seen
    assert values == (424242,)
    assert (replay.text, replay.parameters, repr(replay)) == ("", None, "Replay()")
    engine.dispose()
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


def test_a_database_in_memory_has_no_plans_and_says_so_once(watched, caplog, monkeypatch):
    """Another connection would see another database; a shared one is the application's."""
    monkeypatch.setattr(Replay, "_told", set())
    telemetry = watched()
    for options in ({}, {"poolclass": StaticPool}):
        engine = sa.create_engine("sqlite://", future=True, **options)
        with caplog.at_level(logging.WARNING, "dbsight"), engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE orders (customer_id INTEGER)")
        with caplog.at_level(logging.WARNING, "dbsight"):
            for number in range(3):
                ask(engine, telemetry, f"SELECT {number} FROM orders", customer=1)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 0
        engine.dispose()
    assert plans(telemetry) == []
    (said,) = [record.message for record in caplog.records if "query plans" in record.message]
    assert said.startswith("dbsight: query plans are not available for engines that have one connection for everybody")


def test_a_connection_that_the_creator_shares_is_left_alone(sqlite_shop, watched):
    """It is in use by the application: closing it would break that."""
    shared = sqlite3.connect(sqlite_shop.url.database, check_same_thread=False)
    engine = sa.create_engine("sqlite://", creator=lambda: shared, poolclass=QueuePool, future=True)
    telemetry = watched()
    with telemetry.root(), engine.connect() as connection:
        connection.execute(sa.text(QUERY), {"customer": 1}).all()
        telemetry.processor.analyzer.drain()
        telemetry.processor.analyzer.plans._worker.wait(30)
        assert connection.execute(sa.text(QUERY), {"customer": 2}).all() is not None
    assert plans(telemetry) == []
    engine.dispose()


def test_a_database_that_is_away_is_left_alone_quietly(watched, caplog, tmp_path):
    """No error, no log, and no second question soon."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", future=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (customer_id INTEGER)")
    asked = []

    @sa.event.listens_for(engine, "do_connect")
    def do_connect(dialect, record, arguments, options):
        if threading.current_thread().name == "dbsight-plans":
            asked.append(1)
            raise OSError("away")

    telemetry = watched()
    ask(engine, telemetry, customer=1)
    ask(engine, telemetry, "SELECT 1 FROM orders WHERE customer_id = :customer", customer=1)
    assert asked == [1]
    assert plans(telemetry) == []
    assert [each for each in caplog.records if each.name == "dbsight"] == []
    engine.dispose()


@pytest.mark.parametrize(("system", "driver"), [("postgresql", "asyncpg"), ("postgresql", "psycopg"), ("sqlite", "")])
def test_an_asynchronous_engine_gets_plans_too(system, driver, request, tmp_path_factory, watched):
    """On an event loop of its own, on the worker's thread."""
    import asyncio

    scheme = {"asyncpg": "postgresql+asyncpg", "psycopg": "postgresql+psycopg", "": "sqlite+aiosqlite"}[driver]
    with shop_on(system, request, tmp_path_factory) as filled:
        url = filled.url.set(drivername=scheme)
        telemetry = watched()

        async def main():
            engine = create_async_engine(url)
            with telemetry.root("GET /orders"):
                async with engine.connect() as connection:
                    (await connection.execute(sa.text(QUERY), {"customer": 5})).all()
            await asyncio.to_thread(telemetry.processor.analyzer.plans._worker.wait, 30)
            await engine.dispose()

        asyncio.run(main())
        (event,) = plans(telemetry)
        assert "orders" in event.body


def test_the_end_of_the_process_stops_it(sqlite_shop, watched):
    """Nothing is kept or taken any more, and what is offered is wiped."""
    telemetry = watched()
    worker = telemetry.processor.analyzer.plans._worker
    ask(sqlite_shop, telemetry, customer=1)
    telemetry.processor.shutdown()
    assert replays.policy() is None
    replay = Replay(sqlite_shop, QUERY, (1,))
    assert not worker.submit(replay, make_operation(QUERY), "", "slow")
    assert (replay.text, replay.parameters) == ("", None)


def sessions(connection):
    """How many sessions the server has begun in this database, as it counts them itself."""
    sql = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    with suppress_instrumentation():  # every query is slow here, this one too
        return connection.exec_driver_sql(sql).scalar()


def test_the_server_counts_no_more_connections_than_allowed(postgresql_shop, watched):
    """Thirty statements are slow in a minute, and four plans are allowed: four sessions are begun, no more."""
    telemetry = watched(explain_per_minute=4)
    with postgresql_shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        sessions(connection)
        time.sleep(1)  # the server reports sessions that began before with a delay
        before = sessions(connection)
        for number in range(30):
            with telemetry.root("GET /orders"):
                connection.execute(sa.text(f"SELECT id AS named_{number} FROM orders WHERE id = 1")).all()
            telemetry.processor.analyzer.plans.wait(30)
        deadline = time.monotonic() + 20
        while sessions(connection) - before < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert sessions(connection) - before == 4
    assert len(plans(telemetry)) == 4
