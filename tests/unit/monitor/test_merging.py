"""Totals of several processes as one."""

from dbsight.model import CallSite, Leak, PoolSnapshot, PoolState, PoolTotals, Snapshot
from dbsight.monitor.merging import merged


def worker(used, closed_by, leak, limit=5):
    """Totals of a worker with one pool."""
    state = PoolState("shop", "sqlalchemy", "QueuePool", "postgresql", used=used, idle=1, max=limit)
    state.closed_by = closed_by
    totals = PoolTotals(checkouts=3, wait_max=0.1 * used, leaked=[Leak(CallSite("app.py", leak, "f"), count=1)])
    return Snapshot(calls=1, pools=[PoolSnapshot(state, totals)])


def test_pools_of_the_same_database_are_added():
    """Connections and limits are added, reasons of closed connections too; of waits, the longest is kept."""
    (pool,) = merged([worker(1, {"recycle": 2}, 10), worker(2, {"recycle": 1, "idle": 4}, 20)]).pools
    assert (pool.state.used, pool.state.idle, pool.state.max, pool.state.closed) == (3, 2, 10, 7)
    assert pool.state.closed_by == {"recycle": 3, "idle": 4}
    assert (pool.totals.checkouts, pool.totals.wait_max) == (6, 0.2)
    assert [leak.call_site.line for leak in pool.totals.leaked] == [10, 20]


def test_a_pool_without_limit_makes_the_sum_unlimited():
    """No limit is not zero."""
    (pool,) = merged([worker(1, {}, 10), worker(2, {}, 20, limit=None)]).pools
    assert pool.state.max is None
