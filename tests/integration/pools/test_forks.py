"""What a forked child has of the pools of its parent, for every pool library with threads."""

import os
import threading
import time

import pytest
import sqlalchemy
from subjects import OVERFLOW, SIZE, SUBJECTS, named

from dbsight.instrument import pools
from dbsight.instrument.pools import held_by_connection
from forking import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

synchronous = pytest.mark.parametrize(
    "subject_and_server", [pair for pair in SUBJECTS if not pair[1].asynchronous], indirect=True, ids=named
)


def numbers(state):
    """What a child can pickle."""
    return state.used, state.pending, len(state.holders), state.created - state.closed - state.used - state.idle


@synchronous
def test_a_child_has_nothing_of_what_threads_of_its_parent_do(opened, subject, database, state_of):
    """Forked again and again while threads take and give back: nothing is used, nobody waits, nothing is missing."""
    if subject.refuses and subject.limit < SIZE:
        pytest.skip("it refuses the second thread")
    pool = opened(timeout=30)
    over = threading.Event()

    def work():
        while not over.is_set():
            with subject.taken(pool):
                pass

    with subject.taken(pool):
        pass
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        children = [in_child(lambda: numbers(state_of(database))) for _ in range(12)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert children == [(0, 0, 0, 0)] * 12


@synchronous
def test_what_the_parent_holds_is_not_used_in_the_child(opened, subject, database, state_of):
    """Whatever is out when it forks stays the parent's, and what the thread that forked gives back is the child's."""
    pool = opened(timeout=30)
    count = 1 if subject.shares or subject.refuses or subject.label.endswith("SingletonThreadPool") else SIZE
    taken = [subject.take(pool) for _ in range(count)]
    assert state_of(database).used == count

    def look():
        before = numbers(state_of(database))
        # redis-py's pools begin anew in the child; one that keeps nothing would end the parent's connections.
        if subject.library != "redis" and subject.keeps:
            for connection in taken:
                subject.give(pool, connection)
        return before, numbers(state_of(database))

    before, after = in_child(look)
    assert before == (0, 0, 0, 0)
    assert after == (0, 0, 0, 0)
    assert state_of(database).used == count
    for connection in taken:
        subject.give(pool, connection)
    assert numbers(state_of(database)) == (0, 0, 0, 0)


@synchronous
def test_a_child_counts_what_it_does_itself(opened, subject, database, state_of):
    """After it has left its parent's connections alone, as every library says one must, it counts like any process."""
    pool = opened(timeout=30)
    connection = subject.take(pool)

    def work():
        if subject.library == "sqlalchemy":
            pool.dispose(close=False)
            own = pool
        else:
            own = subject.open(database)
        with subject.taken(own):
            used = state_of(database).used
        state = state_of(database)
        return used, state.used, state.pending, state.created - state.closed - state.idle

    assert in_child(work) == (1, 0, 0, 0)
    subject.give(pool, connection)


def test_queries_that_run_in_the_parent_do_not_run_in_the_child(telemetry, postgresql):
    """Neither a statement nor a connection of another thread is known there."""
    engine = sqlalchemy.create_engine(postgresql.url("postgresql+psycopg"), pool_size=SIZE + OVERFLOW)
    started = threading.Event()

    def work():
        with engine.connect() as connection:
            started.set()
            connection.exec_driver_sql("SELECT pg_sleep(1)")

    thread = threading.Thread(target=work)
    thread.start()
    started.wait(10)
    time.sleep(0.2)
    assert held_by_connection
    assert in_child(lambda: (len(held_by_connection), len(list(pools.open_connections())))) == (0, 0)
    thread.join()
    engine.dispose()
