"""What every connection pool shows, whatever library it belongs to: one contract, asserted once."""

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest
from subjects import OVERFLOW, SIZE, SUBJECTS, collect, in_threads, named

from dbsight import semconv
from dbsight.instrument import pools
from forking import in_child
from waiting import until

TABLE = Path(__file__).parents[3] / "docs" / "pool_metrics.json"
NINE = [name for name in semconv.METRIC_ATTRIBUTES if name.startswith("db.client.connection.")]


def pools_that(applies):
    """Pools to which a test applies; each of the others has no such thing."""
    pairs = [pair for pair in SUBJECTS if applies(pair[1])]
    return pytest.mark.parametrize("subject_and_server", pairs, indirect=True, ids=named)


def value(telemetry, metric, subject, database, **attributes):
    """The latest value of a metric of the subject's pool; None when there is no such point."""
    name = subject.name(database)
    dotted = {key.replace("_", "."): each for key, each in attributes.items()}
    points = [
        point
        for point in telemetry.points(metric)
        if point.attributes.get(semconv.POOL_NAME) == name and dotted.items() <= point.attributes.items()
    ]
    return points[-1].value if points else None


def count_of(telemetry, metric, subject, database):
    """How often a histogram of the subject's pool was recorded."""
    name = subject.name(database)
    points = [point for point in telemetry.points(metric) if point.attributes.get(semconv.POOL_NAME) == name]
    return points[-1].count if points else 0


def conserved(state):
    """Connections that were made are used, idle or closed."""
    return state.created - state.closed == state.used + state.idle


def test_a_pool_shows_its_limits_and_its_states(telemetry, opened, subject, database, state_of):
    """Maximum, idle maximum and minimum; one connection used while it is out, idle or gone when it is back."""
    pool = opened()
    with subject.taken(pool):
        state = state_of(database)
        kept = max(0, subject.keeps_at_least - 1)
        assert (state.library, state.used, state.idle, state.pending) == (subject.library, 1, kept, 0)
        assert (state.max, state.idle_max, state.idle_min) == (subject.limit, subject.keeps, subject.keeps_at_least)
        assert conserved(state)
        holder = state.holders[0]
        assert holder.call_site.file.endswith("subjects.py")
        assert (
            value(telemetry, semconv.METRIC_CONNECTION_COUNT, subject, database, db_client_connection_state="used") == 1
        )
        assert value(telemetry, semconv.METRIC_CONNECTION_MAX, subject, database) == subject.limit
        assert value(telemetry, semconv.METRIC_CONNECTION_IDLE_MAX, subject, database) == subject.keeps
        assert value(telemetry, semconv.METRIC_CONNECTION_IDLE_MIN, subject, database) == subject.keeps_at_least
        assert value(telemetry, semconv.METRIC_CONNECTION_PENDING, subject, database) == 0
    state = state_of(database)
    assert state.used == 0
    assert state.holders == ()
    assert conserved(state)


def test_every_request_is_in_the_histograms_once(telemetry, opened, subject, database, state_of):
    """Wait and use as often as a connection was taken; creation as often as one was made."""
    pool = opened()
    for _ in range(5):
        with subject.taken(pool):
            pass
    assert count_of(telemetry, semconv.METRIC_CONNECTION_WAIT_TIME, subject, database) == 5
    assert count_of(telemetry, semconv.METRIC_CONNECTION_USE_TIME, subject, database) == 5
    created = state_of(database).created
    assert count_of(telemetry, semconv.METRIC_CONNECTION_CREATE_TIME, subject, database) == created
    assert value(telemetry, semconv.METRIC_POOL_CREATED, subject, database) == created


@pools_that(lambda subject: subject.limit is not None and not subject.shares and not subject.refuses)
def test_who_finds_the_pool_exhausted_is_pending_and_then_times_out(telemetry, opened, subject, database, state_of):
    """Of four threads at a pool of 2 + 1 one is pending; then it has timed out, and nobody is."""
    pool = opened(timeout=0.5)
    taken = [subject.take(pool) for _ in range(SIZE + OVERFLOW)]
    errors = []

    def ask():
        try:
            subject.take(pool)
        except subject.timeout_error() as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    pending = until(lambda: state_of(database).pending)
    metric = value(telemetry, semconv.METRIC_CONNECTION_PENDING, subject, database)
    thread.join()
    assert (pending, metric, len(errors)) == (1, 1, 1)
    assert state_of(database).pending == 0
    assert value(telemetry, semconv.METRIC_CONNECTION_TIMEOUTS, subject, database) == 1
    for connection in taken:
        subject.give(pool, connection)
    assert until(lambda: conserved(state_of(database)))
    assert state_of(database).used == 0


@pools_that(lambda subject: not subject.refuses or subject.limit >= 64)
def test_sixty_four_threads_conserve_connections(opened, subject, database, state_of):
    """After any churn what was made is used, idle or closed, and nothing is negative meanwhile."""
    pool = opened(timeout=30)
    if subject.shares:
        with subject.taken(pool):  # threads that are the first make one each, and forget all but one
            pass
    seen = []

    def work(index):
        for _ in range(3 if subject.keeps else 1):  # without a pool, each is a connection that the server makes
            with subject.taken(pool):
                if index == 0:
                    seen.append(state_of(database))

    results = in_threads(64, work)
    assert [each for each in results if isinstance(each, Exception)] == []
    assert all(min(each.used, each.idle, each.pending, each.created - each.closed) >= 0 for each in seen)
    state = until(lambda: (each := state_of(database)).used == 0 and each)
    assert (state.used, state.pending) == (0, 0)
    assert conserved(state)


@pools_that(lambda subject: subject.asynchronous)
def test_cancelled_requests_leave_nothing_behind(opened, subject, database, state_of):
    """Tasks that are cancelled or time out while they wait or connect are neither pending nor used afterwards."""
    pool = opened(timeout=0.05)

    async def one(index):
        connection = await subject.take_async(pool)
        try:
            await asyncio.sleep(0.001 * (index % 7))
        finally:
            await subject.give_async(pool, connection)

    async def churn():
        tasks = [asyncio.ensure_future(one(index)) for index in range(60)]
        for index, task in enumerate(tasks):
            if index % 3 == 0:
                await asyncio.sleep(0.002)
                task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = subject.loop(pool).run(churn())
    assert any(isinstance(each, asyncio.CancelledError) for each in results)
    collect()
    state = until(lambda: (each := state_of(database)).used == 0 and conserved(each) and each)
    assert state, state_of(database)
    assert state.pending == 0


@pools_that(lambda subject: not subject.asynchronous)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork_nothing_is_negative(opened, subject, database, state_of):
    """A child counts what it inherited as made, and nobody as waiting."""
    pool = opened()
    connection = subject.take(pool)

    def work():
        state = state_of(database)
        return state.created, state.closed, state.used, state.idle, state.pending

    created, closed, used, idle, pending = numbers = in_child(work)
    assert created - closed == used + idle
    assert min(numbers) >= 0
    assert pending == 0
    subject.give(pool, connection)
    assert conserved(state_of(database))


def test_a_pool_that_is_closed_leaves_no_connection(telemetry, subject, database, state_of):
    """What was made is closed when the pool is, and a pool that is collected is gone from the metrics."""
    pool = subject.open(database)
    with subject.taken(pool):
        pass
    made = state_of(database).created
    subject.close(pool)
    state = until(lambda: (each := state_of(database)) is None or each.idle == 0)
    assert state
    del pool
    collect()
    assert state_of(database) is None
    assert value(telemetry, semconv.METRIC_POOL_CREATED, subject, database) in {None, made}


def test_a_pool_that_was_made_before_is_watched_too(make_telemetry, subject, database, state_of):
    """Its connections are known by asking it, its next events like any other's."""
    pool = subject.open(database)
    with subject.taken(pool):
        pass
    telemetry = make_telemetry()
    try:
        assert conserved(state_of(database))
        with subject.taken(pool):
            state = state_of(database)
            assert state.used == 1
            assert conserved(state)
        assert count_of(telemetry, semconv.METRIC_CONNECTION_USE_TIME, subject, database) == 1
    finally:
        subject.close(pool)


@pools_that(lambda subject: True)
def test_a_connection_that_was_out_before_is_counted_until_it_is_back(make_telemetry, subject, database, state_of):
    """Also where the library keeps no number of those that are out."""
    pool = subject.open(database)
    with subject.taken(pool):
        make_telemetry()
        state = state_of(database)
        assert (state.used, conserved(state)) == (1, True)
    state = state_of(database)
    assert (state.used, conserved(state)) == (0, True)
    subject.close(pool)


@pools_that(lambda subject: subject.collects)
def test_what_the_collector_gives_back_is_a_leak(telemetry, opened, subject, database, state_of, caplog):
    """A connection that nobody has any more is counted once, with the line that took it."""
    pool = opened()
    connection = subject.take(pool)
    del connection
    collect()
    assert value(telemetry, semconv.METRIC_CONNECTION_LEAKS, subject, database) == 1
    assert state_of(database).used == 0
    assert conserved(state_of(database))


def test_the_documented_table_is_what_a_pool_shows(telemetry, opened, subject, database, state_of):
    """Which of the nine metrics there are for each kind of pool; the page of metrics is made from the same file."""
    pool = opened(timeout=1)  # a server may take long for a new connection
    taken = [subject.take(pool) for _ in range(1 if subject.shares or subject.refuses else SIZE + OVERFLOW)]
    if subject.limit and not subject.shares and not subject.refuses:
        with pytest.raises(subject.timeout_error()):
            subject.take(pool)
    for connection in taken:
        subject.give(pool, connection)
    name = subject.name(database)
    shown = []
    for metric in NINE:
        points = [point for point in telemetry.points(metric) if point.attributes.get(semconv.POOL_NAME) == name]
        assert all(set(point.attributes) <= set(semconv.METRIC_ATTRIBUTES[metric]) for point in points)
        if points:
            shown.append(metric)
    if os.environ.get("DBSIGHT_WRITE_DOCS"):
        known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
        TABLE.write_text(json.dumps({**known, subject.label: shown}, indent=1) + "\n")
    assert json.loads(TABLE.read_text())[subject.label] == shown


def test_nothing_is_left_when_it_is_no_longer_watched(make_telemetry, subject, database):
    """After uninstrument the pool works, and is in no snapshot."""
    telemetry = make_telemetry()
    pool = subject.open(database)
    telemetry.close()
    with subject.taken(pool):
        assert [each for each in pools.snapshots() if each.name == subject.name(database)] == []
    subject.close(pool)
