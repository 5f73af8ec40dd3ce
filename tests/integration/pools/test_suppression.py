"""Pools inside ``suppress_instrumentation()``: nothing is reported, and their state stays true."""

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from subjects import OVERFLOW, SIZE
from test_contract import conserved, count_of, pools_that, value

from dbsight import semconv
from waiting import until

HISTOGRAMS = (
    semconv.METRIC_CONNECTION_WAIT_TIME,
    semconv.METRIC_CONNECTION_USE_TIME,
    semconv.METRIC_CONNECTION_CREATE_TIME,
)


def recorded(telemetry, subject, database):
    """How often each histogram was recorded, and the timeouts."""
    counts = [count_of(telemetry, metric, subject, database) for metric in HISTOGRAMS]
    return [*counts, value(telemetry, semconv.METRIC_CONNECTION_TIMEOUTS, subject, database)]


def test_a_suppressed_checkout_is_used_but_not_reported(telemetry, opened, subject, database, state_of):
    """Wait, use and creation are not recorded; the connection counts as used while it is out."""
    pool = opened()
    before = recorded(telemetry, subject, database)
    with suppress_instrumentation():
        with subject.taken(pool):
            assert state_of(database).used == 1
            assert recorded(telemetry, subject, database)[:2] == before[:2]
        state = state_of(database)
    # A pool that connects in threads of its own does that outside.
    made = before[2] if subject.library != "psycopg_pool" else recorded(telemetry, subject, database)[2]
    assert recorded(telemetry, subject, database) == [*before[:2], made, before[3]]
    assert state.used == 0
    assert until(lambda: conserved(state_of(database)))


def test_a_checkout_that_began_outside_is_reported_when_it_ends_inside(telemetry, opened, subject, database, state_of):
    """And one that began inside is not, wherever it ends: the number of used connections returns to 0."""
    pool = opened()
    first = subject.take(pool)
    with suppress_instrumentation():
        subject.give(pool, first)
        second = subject.take(pool)
    assert state_of(database).used == 1
    subject.give(pool, second)
    assert (state_of(database).used, state_of(database).pending) == (0, 0)
    assert recorded(telemetry, subject, database)[1] == 1
    assert until(lambda: conserved(state_of(database)))


@pools_that(lambda subject: subject.limit is not None and not subject.shares and not subject.refuses)
def test_a_suppressed_timeout_is_not_reported(telemetry, opened, subject, database, state_of):
    """Nobody is pending afterwards."""
    pool = opened(timeout=1)  # a server may take long for a new connection
    taken = [subject.take(pool) for _ in range(SIZE + OVERFLOW)]
    with suppress_instrumentation(), pytest.raises(subject.timeout_error()):
        subject.take(pool)
    assert state_of(database).pending == 0
    assert value(telemetry, semconv.METRIC_CONNECTION_TIMEOUTS, subject, database) in {None, 0}
    for connection in taken:
        subject.give(pool, connection)
    assert state_of(database).used == 0
