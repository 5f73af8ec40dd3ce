"""The background worker of plans where things go wrong: silent servers, forks, the end, tokens, literals."""

import json
import socket
import threading
import time

import psycopg
import pytest
import sqlalchemy as sa

import forking
from dbsight import semconv
from dbsight.plans import worker as workers
from dbsight.report.json import document
from integration.plans.test_slow_plans import QUERY, ask, plans, watched  # noqa: F401 - a fixture

WORKER = "dbsight-plans"


def on_worker():
    """Whether this is the thread that asks for plans."""
    return threading.current_thread().name == WORKER


@pytest.fixture
def held_engine(sqlite_shop):
    """An engine whose connections for plans wait until they are let go, with the two events for that."""
    engine = sa.create_engine(sqlite_shop.url, future=True)
    arrived, go = threading.Event(), threading.Event()

    @sa.event.listens_for(engine, "do_connect")
    def do_connect(dialect, record, arguments, options):
        if on_worker():
            arrived.set()
            go.wait(60)

    yield engine, arrived, go
    go.set()
    engine.dispose()


def submit(engine, telemetry, sql=QUERY):
    """Run a query in a request, and do not wait for its plan."""
    with telemetry.root("GET /orders"), engine.connect() as connection:
        connection.execute(sa.text(sql), {"customer": 1}).all()
    telemetry.processor.analyzer.drain()
    return telemetry.processor.analyzer.plans._worker


def test_a_server_that_never_answers_costs_one_thread_and_no_plan_of_others(
    postgresql_shop,
    sqlite_shop,
    watched,  # noqa: F811
):
    """It takes the connection and is silent: the thread is given up after a minute, and the server is left alone."""
    silent = socket.create_server(("127.0.0.1", 0))
    host, port = silent.getsockname()
    real = postgresql_shop.url

    def connect():
        if on_worker():
            return psycopg.connect(f"host={host} port={port}")
        return psycopg.connect(real.set(drivername="postgresql").render_as_string(hide_password=False))

    engine = sa.create_engine("postgresql+psycopg://", creator=connect, future=True)
    telemetry = watched()
    now = [1000.0]
    telemetry.processor.analyzer.plans._worker._clock = lambda: now[0]
    worker = submit(engine, telemetry)
    accepted, _ = silent.accept()
    stuck = worker._thread
    job = worker._job
    submit(sqlite_shop, telemetry)
    worker.wait(0.2)
    assert plans(telemetry) == []
    now[0] += workers.STUCK + 1
    submit(sqlite_shop, telemetry, "SELECT status FROM orders WHERE customer_id = :customer")
    worker.wait(30)
    assert len(plans(telemetry)) == 2
    assert job.replay.parameters is None
    asked = len(worker._recent)
    submit(engine, telemetry, "SELECT id FROM orders WHERE customer_id = :customer")
    assert len(worker._recent) == asked
    accepted.close()
    silent.close()
    stuck.join(30)
    assert not stuck.is_alive()
    assert len(plans(telemetry)) == 2
    engine.dispose()


def test_too_many_silent_servers_end_the_questions(sqlite_shop, watched):  # noqa: F811
    """Three threads may wait; nothing is kept for a fourth, until one of them ends."""
    telemetry = watched()
    worker = telemetry.processor.analyzer.plans._worker
    go = threading.Event()
    worker._stuck = [threading.Thread(target=go.wait, args=(60,)) for _ in range(3)]
    for thread in worker._stuck:
        thread.start()
    ask(sqlite_shop, telemetry, customer=1)
    assert plans(telemetry) == []
    assert not worker._recent
    go.set()
    for thread in worker._stuck:
        thread.join()
    ask(sqlite_shop, telemetry, customer=1)
    assert len(plans(telemetry)) == 1


def test_the_end_does_not_wait_for_a_plan(held_engine, watched):  # noqa: F811
    """What was asked for is given up, quietly, and what comes of it later is not reported."""
    engine, arrived, go = held_engine
    telemetry = watched()
    worker = submit(engine, telemetry)
    assert arrived.wait(30)
    thread, job = worker._thread, worker._job
    began = time.monotonic()
    telemetry.processor.shutdown()
    assert time.monotonic() - began < 20
    go.set()
    thread.join(30)
    assert not thread.is_alive()
    assert plans(telemetry) == []
    assert job.replay.parameters is None


def test_a_forked_child_has_no_plans_of_its_parent_and_gets_its_own(held_engine, watched):  # noqa: F811
    """One is being asked about and another one waits when the process forks."""
    engine, arrived, go = held_engine
    telemetry = watched()
    worker = submit(engine, telemetry)
    assert arrived.wait(30)
    submit(engine, telemetry, "SELECT status FROM orders WHERE customer_id = :customer")
    jobs = [worker._job, *worker._waiting]
    assert len(jobs) == 2

    def child():
        left = [job.replay.parameters for job in jobs], worker._job, list(worker._waiting), worker._thread
        engine.dispose()
        go.set()
        telemetry.clear()
        own = submit(engine, telemetry, "SELECT total FROM orders WHERE customer_id = :customer")
        own.wait(30)
        return left, [event.body.splitlines()[0] for event in plans(telemetry)]

    left, trees = forking.in_child(child)
    assert left == ([None, None], None, [], None)
    assert trees == ["SCAN on orders"]
    assert [job.replay.parameters for job in jobs] == [(1,), (1,)]
    go.set()
    worker.wait(30)
    assert len(plans(telemetry)) == 2


def test_connections_are_made_by_the_listeners_that_know_the_token(postgresql_shop, watched):  # noqa: F811
    """As on cloud databases, whose passwords live for minutes: here the name of the database is the token."""
    engine = sa.create_engine(postgresql_shop.url.set(database="nothing"), future=True)
    asked = []

    @sa.event.listens_for(engine, "do_connect")
    def do_connect(dialect, record, arguments, options):
        asked.append(threading.current_thread().name)
        options["dbname"] = postgresql_shop.url.database

    telemetry = watched()
    ask(engine, telemetry, customer=1)
    assert asked == [threading.current_thread().name, WORKER]
    assert len(plans(telemetry)) == 1
    engine.dispose()


def test_a_server_that_refuses_is_left_alone_for_a_minute(postgresql_shop, watched, caplog):  # noqa: F811
    """A real refusal: nothing listens there. Nothing is logged, and the queries go on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    engine = sa.create_engine(postgresql_shop.url, future=True)
    asked = []

    @sa.event.listens_for(engine, "do_connect")
    def do_connect(dialect, record, arguments, options):
        if on_worker():
            asked.append(1)
            options.update(host="127.0.0.1", port=port)

    telemetry = watched()
    for column in ("id", "status"):
        assert ask(engine, telemetry, f"SELECT {column} FROM orders WHERE customer_id = :customer", customer=1)
    assert asked == [1]
    assert plans(telemetry) == []
    assert [each for each in caplog.records if each.name == "dbsight"] == []
    engine.dispose()


def test_no_literal_of_a_plan_leaves_the_process(shop, watched):  # noqa: F811
    """Neither of conditions, filters and sort keys, nor of values that were bound."""
    telemetry = watched()
    ask(
        shop,
        telemetry,
        "SELECT id, total FROM orders WHERE customer_id = 7654321 AND status <> 'o''secret-o815' AND id > :customer"
        " ORDER BY total + 918273",
        customer=5647382,
    )
    (event,) = plans(telemetry)
    everything = json.dumps(document(telemetry.processor.analyzer.snapshot())) + str(event) + str(telemetry.logs())
    everything += str([(span.name, span.attributes, span.events) for span in telemetry.spans()])
    assert event.attributes[semconv.PLAN_HASH]
    for value in ("7654321", "secret", "o815", "918273", "5647382"):
        assert value not in everything
