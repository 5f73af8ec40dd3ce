"""What a loop of queries costs."""

import random

import pytest

from dbsight.detect.history import History
from dbsight.detect.pace import saving
from dbsight.model import Database
from unit.detect.loops import LOADS_CUSTOMER, LOADS_LINES, SELECT_LINES, loop

FAR = Database("postgresql", "shop")
QUERY = 0.000_02
"""s; what a query takes in process."""


def saved(operations, beside=(), **options):
    """What these save, s, in a window with others beside them."""
    return saving(operations, History(sorted([*operations, *beside], key=lambda each: each.start_ns), {}), **options)


def lazy(count=200, every=0.000_4, **fields):
    """Lazy loads in process."""
    return loop(count, every=every, duration=QUERY, **{**LOADS_CUSTOMER, **fields})


def test_the_work_of_an_orm_counts():
    """It is most of what a lazy load takes in process."""
    assert saved(lazy()) == pytest.approx(0.9 * 200 * 0.000_4, rel=0.02)


def test_what_the_application_does_between_the_queries_does_not_count():
    """It may call another service for each row: then an ORM's usual work counts, and no more."""
    assert saved(lazy(every=0.05)) == pytest.approx(0.9 * 200 * (QUERY + 0.001), rel=0.02)
    assert saved(loop(200, every=0.05, duration=QUERY)) == pytest.approx(0.9 * 200 * QUERY, rel=0.02)


def test_one_long_pause_counts_little():
    """The loop sleeps once."""
    operations = [*lazy(100), *loop(100, at=5.0, first=101, every=0.000_4, duration=QUERY, **LOADS_CUSTOMER)]
    assert saved(operations) == pytest.approx(0.9 * 200 * 0.000_4, rel=0.05)


def test_two_queries_of_one_loop_share_its_time():
    """Neither is told with the time of the other; together they save what the loop takes."""
    customers = lazy(every=0.000_8)
    lines = loop(200, SELECT_LINES, at=0.010_4, every=0.000_8, duration=QUERY, **LOADS_LINES)
    both = saved(customers, lines) + saved(lines, customers)
    assert both == pytest.approx(0.9 * 200 * 0.000_8, rel=0.02)


def test_parallel_queries_save_no_more_than_they_took_together():
    """Twenty tasks that wait for their customers at once."""
    operations = loop(20, every=0.000_1, duration=0.02, thread=7, database=FAR, **LOADS_CUSTOMER)
    assert 0.9 * 0.0219 * 19 / 20 < saved(operations) <= 0.95 * 0.0219 * 19 / 20 + 1e-9


def test_queries_of_several_threads_do_not_shorten_each_others_pauses():
    """A pause is one of a thread."""
    one, other = lazy(thread=1), lazy(thread=2)
    assert saved(one, other) == pytest.approx(saved(one))


@pytest.mark.parametrize("seed", range(20))
def test_it_never_saves_more_than_passed(seed):
    """Whatever the order and the overlap."""
    chance = random.Random(seed)
    operations = [
        loop(1, at=chance.random(), first=number, duration=chance.random() / 10, thread=number % 3, **LOADS_CUSTOMER)[0]
        for number in range(2, 2 + chance.randint(2, 30))
    ]
    wall = (max(each.end_ns for each in operations) - min(each.start_ns for each in operations)) / 1e9
    for options in ({}, {"again": False}):
        assert 0 <= saved(operations, **options) <= wall
