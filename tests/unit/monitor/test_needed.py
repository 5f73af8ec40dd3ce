"""The size that is suggested for a pool, against trying every size: random clients, cut off while they work."""

import heapq
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from builders import NOW_NS
from dbsight.config import Settings
from dbsight.detect.rules.pool_churn import PoolChurn
from dbsight.detect.rules.pool_wait import PoolWait
from dbsight.model import PoolEvent, PoolSample, PoolSnapshot, PoolState, PoolTotals, PoolUse, PoolUses, Snapshot
from dbsight.monitor.pools import Borrowing, Pools, needed

USE_OF_TIMED_OUT = 7.0

clients_ = st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), min_size=1, max_size=6), min_size=1)


def simulate(size, clients, until):
    """What a pool of ``size`` sees until then, first come first served.

    Args:
        size: Connections.
        clients: Of each the requests, one after the other: how long after the one before, and how long it is used.
        until: When it is looked at.

    Returns:
        ``(client, asked, began, ended)`` of each request that was made; None for what has not happened yet.
    """
    requests = []
    free, queue = size, []
    events = [(chain[0][0], 1, client, 0) for client, chain in enumerate(clients)]
    heapq.heapify(events)
    running = {}

    def begin(at, client, number, request):
        request[2] = at
        running[client] = request
        heapq.heappush(events, (at + clients[client][number][1], 0, client, number))

    while events and events[0][0] < until:
        at, asks, client, number = heapq.heappop(events)
        if asks:
            request = [client, at, None, None]
            requests.append(request)
            if free:
                free -= 1
                begin(at, client, number, request)
            else:
                queue.append((client, number, request))
            continue
        running.pop(client)[3] = at
        if number + 1 < len(clients[client]):
            heapq.heappush(events, (at + clients[client][number + 1][0], 1, client, number + 1))
        if queue:
            begin(at, *queue.pop(0))
        else:
            free += 1
    return requests


def seen(requests, until):
    """The same as the pool's record has it: open uses and requests that wait as they are so far."""
    return [
        Borrowing(
            asked,
            (until if began is None else began) - asked,
            0.0 if began is None else (until if ended is None else ended) - began,
            client + 1,
            None,
        )
        for client, asked, began, ended in requests
    ]


def smallest(requests, clients, until):
    """The smallest pool in which none of these requests waits: every size is tried."""
    chains = [[] for _ in clients]
    for client, _, began, ended in requests:
        chain = chains[client]
        think = clients[client][len(chain)][0]
        used = USE_OF_TIMED_OUT if began is None else (until if ended is None else ended) - began
        chain.append((think, used))
    chains = [chain for chain in chains if chain]
    for size in count(1):
        tried = simulate(size, chains, float("inf"))
        if all(began == asked for _, asked, began, _ in tried):
            return size
    raise AssertionError


@given(clients_, st.integers(1, 5), st.integers(1, 150))
def test_the_size_is_the_smallest_in_which_nobody_waits(clients, size, until):
    """Whatever size the pool had, and whenever it is asked."""
    requests = simulate(size, clients, until + 0.5)
    if not requests:
        return
    assert needed(seen(requests, until + 0.5), USE_OF_TIMED_OUT) == smallest(requests, clients, until + 0.5)


def snapshot_of(requests, until, size, **state):
    """What the pool's record makes of the same, told as its library tells it."""
    pools = Pools()
    ended = [each for each in requests if each[3] is not None]
    uses = [PoolUse(over, over - began, began - asked, began - asked, 1 + c, None) for c, asked, began, over in ended]
    if uses:
        pools.uses(PoolUses("shop", NOW_NS, uses, 0.0))
    for _, asked, began, _ in requests:
        if began is not None and began > asked:
            pools.take(PoolEvent("checkout", "shop", NOW_NS, began - asked))
    still_open = [
        PoolUse(until, until - began, began - asked, 0.0, 1 + client, None)
        if began is not None
        else PoolUse(until, 0.0, until - asked, 0.0, 1 + client, None)
        for client, asked, began, over in requests
        if over is None
    ]
    about = PoolState(
        "shop", "sqlalchemy", "QueuePool", "postgresql", max=size, idle_max=size, open=still_open, **state
    )
    (found,) = pools.snapshots([about])
    return found


@given(clients_, st.integers(1, 5), st.integers(1, 150))
def test_totals_include_what_is_still_out(clients, size, until):
    """Uses, the longest use and the size, of those that are over and of those that are not."""
    requests = simulate(size, clients, until + 0.5)
    totals = snapshot_of(requests, until + 0.5, size).totals
    begun = [each for each in requests if each[2] is not None]
    assert totals.checkouts == len(begun)
    assert totals.use_max == max([(each[3] or until + 0.5) - each[2] for each in begun], default=0.0)
    assert totals.needed >= min(len(begun), 1)
    if all(each[2] is not None for each in requests) and requests:
        assert totals.needed == smallest(requests, clients, until + 0.5)


@given(clients_, st.integers(1, 4), st.integers(20, 150))
def test_what_is_said_of_a_pool_that_is_too_small_is_true(clients, size, until):
    """The size that it names serves everybody, and it is larger than the pool where code is suggested."""
    requests = simulate(size, clients, until + 0.5)
    if any(each[2] is None for each in requests):
        return
    pool = snapshot_of(requests, until + 0.5, size)
    rule = PoolWait(Settings(pool_wait_threshold=0.001))
    for finding in rule.examine(snapshot_with(pool)):
        need = finding.details["needed"]
        assert need == smallest(requests, clients, until + 0.5)
        if finding.suggestion:
            assert need > size
            assert f"pool_size={need}" in finding.suggestion


def snapshot_with(pool):
    """A snapshot of this pool alone."""
    found = Snapshot.__new__(Snapshot)
    found.pools = [pool]
    return found


def test_two_connections_that_are_held_for_long_are_two():
    """In a pool of two: nothing was given back yet, and one connection would not have served them."""
    requests = [[0, 0.0, 0.0, None], [1, 1.0, 1.0, None]]
    assert snapshot_of(requests, 60.0, 2).totals.needed == 2


def test_a_pool_that_was_once_needed_is_not_too_large():
    """Twenty at the start; the thousands of uses after it, one after the other, are all that is remembered."""
    state = PoolState("shop", "sqlalchemy", "QueuePool", "postgresql", idle=20, max=20, idle_max=20, most=20)
    totals = PoolTotals(checkouts=5000, needed=1)
    series = [PoolSample(NOW_NS, 0, 20, 0, 0)] * 10
    rule = PoolWait(Settings())
    assert list(rule.examine(snapshot_with(PoolSnapshot(state, totals, series)))) == []
    state.most = 1
    (finding,) = rule.examine(snapshot_with(PoolSnapshot(state, totals, series)))
    assert "at most 1 were checked out at once" in finding.description


def test_connections_that_are_replaced_for_their_age_need_no_larger_pool():
    """Two of a pool that keeps five, closed after each use: another size would change nothing."""
    state = PoolState("shop", "sqlalchemy", "QueuePool", "postgresql", max=15, idle_max=5, created=200)
    totals = PoolTotals(checkouts=200, needed=2)
    (finding,) = PoolChurn(Settings()).examine(snapshot_with(PoolSnapshot(state, totals)))
    assert finding.suggestion == ""
    totals.needed = 8
    (finding,) = PoolChurn(Settings()).examine(snapshot_with(PoolSnapshot(state, totals)))
    assert "pool_size=8" in finding.suggestion
