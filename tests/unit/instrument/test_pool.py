"""When a request at a pool has waited, never because the machine was busy; and pools that were there before."""

import gc

import pytest

from dbsight.instrument.pools import registry
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.pool import Pool
from dbsight.model import PoolEvent
from hearing import hearing


class Library:
    """The object of a pool library."""

    limit = 1


class Bounded(Pool):
    """A pool that may open as many connections as its library says."""

    library = "test"

    def max(self):
        return self.pool.limit


@pytest.fixture
def told():
    """The kinds of events of pools, and how long each took, in whole seconds."""

    def kind_and_seconds(observation):
        return (observation.kind, round(observation.seconds)) if isinstance(observation, PoolEvent) else None

    with hearing(kind_and_seconds) as events:
        yield events
    registry.forget("test")


@pytest.fixture
def library():
    """What owns the pool."""
    return Library()


@pytest.fixture
def pool(library):
    """A pool of one connection."""
    return Bounded(library, "shop", system="postgresql")


def asked(pool, seconds):
    """A request that was made so long ago."""
    held = pool.ask()
    held.asked -= seconds
    return held


def test_the_last_connection_is_not_waited_for_when_nobody_gave_one_back(pool, told):
    """A second passes on a busy machine, and the pool of one is exhausted as soon as it has served."""
    pool.touched -= 2.0
    held = asked(pool, 1.0)
    pool.got(held, object())
    assert (held.served > 1.0, held.wait, told) == (True, 0.0, [])


def test_who_is_served_by_what_another_gives_back_has_waited(pool, told):
    """The same second, behind somebody who held the connection meanwhile."""
    connection = object()
    pool.got(pool.ask(), connection)
    waiting = asked(pool, 1.0)
    pool.gave_back(connection)
    pool.got(waiting, connection)
    assert (waiting.wait > 1.0, told) == (True, [("checkout", 1)])


def test_with_a_connection_left_nobody_has_waited(library, pool, told):
    """One was given back meanwhile, and another was there all the time."""
    library.limit = 3
    connection = object()
    pool.got(pool.ask(), connection)
    served = asked(pool, 1.0)
    pool.gave_back(connection)
    pool.got(served, object())
    assert (served.wait, told) == (0.0, [])


def test_nothing_is_looked_for_of_a_library_that_is_not_imported(monkeypatch):
    """A process may have a million objects, and a start takes no time over them."""
    found = Library()
    assert found in existing(Library)
    monkeypatch.setattr(gc, "get_objects", lambda: pytest.fail("looked at every object"))
    assert existing() == []
