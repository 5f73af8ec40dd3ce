"""What requests wait for connections: as long, and as many, as they measure themselves; for every pool library."""

import asyncio
import time

import pytest
from subjects import OVERFLOW, SIZE, SUBJECTS, in_threads, named

import dbsight
from dbsight import semconv
from waiting import until

ROUNDS, REQUESTS, HOLD = 3, 2 * (SIZE + OVERFLOW), 0.3

waiting = pytest.mark.parametrize(
    "subject_and_server",
    [pair for pair in SUBJECTS if pair[1].limit is not None and not pair[1].shares and not pair[1].refuses],
    indirect=True,
    ids=named,
)


def borrowed(subject, pool):
    """Have all requests of a round hold a connection at once; what each measured between asking and having it, s."""
    if not subject.asynchronous:

        def one(_):
            asked = time.perf_counter()
            connection = subject.take(pool)
            waited = time.perf_counter() - asked
            time.sleep(HOLD)
            subject.give(pool, connection)
            return waited

        return in_threads(REQUESTS, one)

    async def one_async():
        asked = time.perf_counter()
        connection = await subject.take_async(pool)
        waited = time.perf_counter() - asked
        await asyncio.sleep(HOLD)
        await subject.give_async(pool, connection)
        return waited

    async def all_at_once():
        return await asyncio.gather(*(one_async() for _ in range(REQUESTS)))

    return subject.loop(pool).run(all_at_once())


def needed(analyzer):
    """The size that is suggested."""
    (size,) = [
        each.finding.details["needed"] for each in analyzer.snapshot().findings if "needed" in each.finding.details
    ]
    return size


@waiting
def test_waits_are_what_the_requests_measured(telemetry, opened, subject, database):
    """Twice as many requests as connections, in three rounds: half of them wait, as long as one keeps it."""
    pool = opened(size=SIZE + OVERFLOW, overflow=0, timeout=30)
    borrowed(subject, pool)  # all its connections are made
    analyzer = telemetry.processor.analyzer
    rounds, waits = 1, []
    # A busy machine may keep a request from asking at all until others have given back what it would wait for.
    while len(waits) != ROUNDS * (REQUESTS - SIZE - OVERFLOW) and rounds < 6 * ROUNDS:
        analyzer.drain()
        analyzer.pools.reset()
        waits = [waited for _ in range(ROUNDS) for waited in borrowed(subject, pool) if waited > HOLD / 2]
        rounds += ROUNDS
    assert len(waits) == ROUNDS * (REQUESTS - SIZE - OVERFLOW)
    analyzer.finish()
    (found,) = [each for each in analyzer.snapshot().pools if each.state.name == subject.name(database)]
    assert found.totals.waits == len(waits)
    assert found.totals.wait_total == pytest.approx(sum(waits), rel=0.15)
    assert found.totals.needed == REQUESTS
    points = telemetry.points(semconv.METRIC_CONNECTION_WAIT_TIME)
    (point,) = [each for each in points if each.attributes[semconv.POOL_NAME] == subject.name(database)]
    assert point.count == rounds * REQUESTS
    assert needed(analyzer) == REQUESTS


@waiting
def test_a_request_that_finds_a_connection_has_not_waited(telemetry, opened, subject, database):
    """As many as there are connections, on a machine that is busy with them."""
    pool = opened(size=SIZE + OVERFLOW, overflow=0, timeout=30)
    for _ in range(4):
        if subject.asynchronous:

            async def one():
                connection = await subject.take_async(pool)
                await asyncio.sleep(0)
                await subject.give_async(pool, connection)

            async def several():
                await asyncio.gather(*(one() for _ in range(SIZE)))

            subject.loop(pool).run(several())
        else:
            in_threads(SIZE, lambda _: subject.give(pool, subject.take(pool)))
    telemetry.processor.analyzer.drain()
    (found,) = [
        each for each in telemetry.processor.analyzer.snapshot().pools if each.state.name == subject.name(database)
    ]
    assert found.totals.waits == 0


@waiting
def test_a_query_shows_the_wait_for_its_connection(telemetry, opened, subject, database):
    """Where its span is ours: the first query after the wait, and no other."""
    if subject.library != "sqlalchemy":
        pytest.skip("queries of this library have no spans of ours")
    pool = opened(size=SIZE + OVERFLOW, overflow=0, timeout=30)
    borrowed(subject, pool)
    telemetry.clear()
    waits = [waited for waited in borrowed(subject, pool) if waited > HOLD / 2]
    shown = until(
        lambda: [
            span.attributes[semconv.POOL_WAIT]
            for span in telemetry.spans()
            if span.attributes.get(semconv.POOL_WAIT, 0) > HOLD / 2
        ]
    )
    assert len(shown) == len(waits)
    assert sum(shown) == pytest.approx(sum(waits), rel=0.15)


@waiting
def test_who_holds_and_who_waits_now_count_for_the_size(telemetry, opened, subject, database, state_of):
    """All connections are held for long and one request waits: it takes one more, though nothing was given back yet."""
    pool = opened(timeout=0.5)
    taken = [subject.take(pool) for _ in range(SIZE + OVERFLOW)]
    with pytest.raises(subject.timeout_error()):
        subject.take(pool)
    analyzer = telemetry.processor.analyzer
    analyzer.finish()
    assert needed(analyzer) == SIZE + OVERFLOW + 1
    for connection in taken:
        subject.give(pool, connection)


def test_a_closed_pool_has_no_entry(telemetry, subject, database):
    """``pool_stats()`` tells of the pools that are in use."""
    pool = subject.open(database)
    with subject.taken(pool):
        assert len(dbsight.pool_stats()[subject.name(database)]["pool_info"]) == 1
    closed = subject.library in {"psycopg_pool", "asyncpg"}  # the others can be used again
    subject.close(pool)
    left = dbsight.pool_stats().get(subject.name(database), {"pool_info": []})
    assert len(left["pool_info"]) == (0 if closed else 1)
