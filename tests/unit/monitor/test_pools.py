"""How many connections were needed, and the totals that it is computed from."""

import heapq
import random

import pytest

from builders import NOW_NS
from dbsight.model import Database, PoolEvent, PoolState, PoolUses, TransactionEvent
from dbsight.monitor.pools import Borrowing, Pools, needed


def simulate(size, arrivals, use, think=None, rounds=50):
    """What a pool of ``size`` sees: an open system of arrivals, or a closed one of clients that think in between.

    Args:
        size: Connections.
        arrivals: Times of arrival, s; in a closed system of the first request of each client.
        use: Gives how long a connection is kept, s.
        think: Gives the time until the same client asks again, s; None for an open system.
        rounds: Requests of each client of a closed system.
    """
    free = [0.0] * size
    heapq.heapify(free)
    waiting = [(at, client, 0) for client, at in enumerate(arrivals, 1)]
    heapq.heapify(waiting)
    seen = []
    while waiting:
        asked, client, number = heapq.heappop(waiting)
        begin = max(asked, heapq.heappop(free))
        kept = use()
        heapq.heappush(free, begin + kept)
        seen.append(Borrowing(asked, begin - asked, kept, client, None))
        if think is not None and number + 1 < rounds:
            heapq.heappush(waiting, (begin + kept + think(), client, number + 1))
    return seen


def waits(seen):
    """The requests that waited for a millisecond or longer."""
    return sum(each.waited >= 0.001 for each in seen)


def smallest(run):
    """The smallest size with which fewer than one request in fifty waits."""
    return next(size for size in range(1, 500) if waits(run(size)) < 0.02 * len(run(size)))


def closed(clients, use, think, seed=1):
    """Runs of a closed system by size, each with the same random numbers."""

    def run(size):
        numbers = random.Random(seed)
        return simulate(
            size,
            [numbers.random() * 0.1 for _ in range(clients)],
            lambda: use * (0.5 + numbers.random()),
            lambda: think * (0.5 + numbers.random()),
        )

    return run


def opened(rate, use, seed=1, count=1500):
    """Runs of an open system by size: arrivals that do not mind the waiting."""

    def run(size):
        numbers = random.Random(seed)
        at, arrivals = 0.0, []
        for _ in range(count):
            at += numbers.expovariate(rate)
            arrivals.append(at)
        return simulate(size, arrivals, lambda: use * (0.5 + numbers.random()))

    return run


SYSTEMS = {
    "twenty threads that ask again at once": (closed(20, 0.02, 0.0), 4),
    "twenty threads that work in between": (closed(20, 0.02, 0.06), 4),
    "two threads too many": (closed(6, 0.01, 0.0), 4),
    "forty threads that mostly think": (closed(40, 0.01, 0.2), 1),
    "a steady stream at a pool that is a little too small": (opened(100, 0.05), 5),
    "a steady stream at a pool that falls ever further behind": (opened(200, 0.05), 5),
}


@pytest.mark.parametrize(("run", "size"), SYSTEMS.values(), ids=SYSTEMS.keys())
def test_the_size_removes_the_waiting_and_is_not_twice_too_large(run, size):
    """Computed from a pool in which many wait, it is between the smallest that serves at once and twice that."""
    seen = run(size)
    assert waits(seen) > 0.2 * len(seen)
    advised = needed(seen, 0.0)
    least = smallest(run)
    assert waits(run(advised)) < 0.02 * len(seen)
    assert least <= advised <= 2 * least


def test_nothing_is_needed_where_nothing_was_asked():
    """Zero, for unknown."""
    assert needed([], 0.1) == 0


def test_a_request_that_timed_out_would_have_kept_its_connection_as_long_as_others():
    """Two at once and one that got none make three."""
    seen = [Borrowing(0.0, 0.0, 1.0, 1, None), Borrowing(0.1, 0.0, 1.0, 2, None), Borrowing(0.2, 0.3, 0.0, 3, None)]
    assert needed(seen, 1.0) == 3


def event(kind, seconds, at=0.0, **more):
    """One event of the pool ``shop``."""
    return PoolEvent(kind, "shop", NOW_NS + int(at * 1e9), seconds, **more)


def test_totals_are_what_the_events_say():
    """Uses, waits told at the checkout, timeouts, failures and leaks, each once."""
    pools = Pools()
    pools.take(event("checkout", 0.2, at=2.0, requester=2))
    pools.uses(PoolUses("shop", NOW_NS, [(1.0, 0.5, 0.00001, 0.0, 1, None), (2.1, 0.1, 0.2, 0.2, 2, None)], 0.0))
    pools.take(event("timeout", 3.0, at=5.0, requester=3))
    pools.take(event("failure", 0.1))
    pools.take(event("leak", 31.0, reason="overdue"))
    pools.take(event("leak", 4.0, reason="collected"))
    (pool,) = pools.snapshots([PoolState("shop", "sqlalchemy", "QueuePool", "sqlite")])
    totals = pool.totals
    assert (totals.checkouts, totals.waits, totals.timeouts, totals.failures, totals.leaks) == (2, 2, 1, 1, 2)
    assert totals.wait_total == pytest.approx(3.2)
    assert totals.wait_max == 3.0
    assert totals.use_max == 0.5
    assert [(leak.count, leak.collected, leak.age) for leak in totals.leaked] == [(2, 1, 4.0)]


def test_the_time_series_counts_timeouts_between_its_points():
    """Each point has those since the point before."""
    pools = Pools()
    state = PoolState("shop", "sqlalchemy", "QueuePool", "sqlite", used=3, idle=1, pending=2)
    pools.take(event("timeout", 0.1))
    pools.sample([state], NOW_NS)
    pools.sample([state], NOW_NS + 10)
    (pool,) = pools.snapshots([state])
    assert [(point.at_ns, point.used, point.pending, point.timeouts) for point in pool.series] == [
        (NOW_NS, 3, 2, 1),
        (NOW_NS + 10, 3, 2, 0),
    ]


def test_names_are_bounded():
    """Beyond the bound, pools are counted together."""
    pools = Pools()
    for number in range(1000):
        pools.uses(PoolUses(f"pool-{number}", NOW_NS, [(1.0, 0.1, 0.0, 0.0, 1, None)], 0.0))
    states = [PoolState(f"pool-{number}", "", "", "") for number in range(1000)] + [PoolState("other", "", "", "")]
    assert sum(each.totals.checkouts for each in pools.snapshots(states)) == 1000
    assert sum(each.totals.checkouts > 0 for each in pools.snapshots(states)) <= 202


def test_transactions_that_only_read_are_not_counted():
    """A session that is closed rolls them back, and nothing is lost."""
    pools = Pools()
    shop = Database("sqlite", "shop.db")
    for result, writes in (("commit", 1), ("rollback", 2), ("rollback", 0), ("commit", 0)):
        pools.transaction(TransactionEvent(shop, result, NOW_NS, 0.1, queries=2, writes=writes))
    assert [(each.commits, each.rollbacks) for each in pools.transactions()] == [(1, 1)]
