"""Cases of public reports about pools, sessions, transactions and the memory of a process."""

from builders import NOW_NS
from dbsight.model import (
    Database,
    MemorySample,
    OpenTransaction,
    PoolEvent,
    PoolSample,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    Snapshot,
    TransactionEvent,
)
from dbsight.monitor.pools import Pools
from unit.detect.loops import HERE, make_window, one

POSTGRESQL, SQLITE = Database("postgresql", "shop", "db", 5432), Database("sqlite", "shop.db")
MINUTE = 60_000_000_000
MB = 1_000_000


def state(limit=15, **fields):
    """A pool of SQLAlchemy's."""
    names = {"name": "shop", "library": "sqlalchemy", "kind": "QueuePool", "system": "postgresql", "call_site": HERE}
    return PoolState(**{**names, "max": limit, "idle_max": limit, **fields})


def pool(made, **totals):
    """What the monitor tells of one pool."""
    return Snapshot(pools=[PoolSnapshot(made, PoolTotals(**totals))])


def timed_out(times=1, seconds=30.0):
    """A request that got no connection."""
    window = make_window([], seconds * times + 0.1)
    window.events = [PoolEvent("timeout", "shop", NOW_NS, seconds, call_site=HERE) for _ in range(times)]
    return window


def leaked(*kinds, session=False, seconds=45.0, reason=None):
    """What the monitor tells after connections were reported, and came back or not."""
    pools, made = Pools(), state()
    for kind in kinds:
        pools.take(PoolEvent(kind, "shop", NOW_NS, seconds, reason=reason, session=session, call_site=HERE))
    return Snapshot(pools=pools.snapshots([made]))


def ended(seconds, *, idle=0.0, queries=3, writes=1, database=POSTGRESQL, operations=(), **fields):
    """A request whose transaction took so long."""
    window = make_window(operations, seconds + 0.1)
    options = {"idle": idle, "queries": queries, "writes": writes, "call_site": HERE, **fields}
    window.events = [TransactionEvent(database, "commit", NOW_NS, seconds, **options)]
    return window


def still_open(age, **fields):
    """A transaction that is not over."""
    return Snapshot(transactions=[OpenTransaction(POSTGRESQL, HERE, age, **{"idle": age, "queries": 2, **fields})])


def finished(commits, rollbacks, writes=1):
    """So many transactions."""
    pools = Pools()
    for result, number in (("commit", commits), ("rollback", rollbacks)):
        for _ in range(number):
            pools.transaction(TransactionEvent(POSTGRESQL, result, NOW_NS, 0.01, queries=2, writes=writes))
    return Snapshot(transaction_totals=pools.transactions())


def memory(*megabytes):
    """The process's memory, a point a minute."""
    return Snapshot(memory=[MemorySample(NOW_NS + at * MINUTE, int(size * MB), 0) for at, size in enumerate(megabytes)])


def rising(first, by, minutes=60):
    """Memory that grows by as many MB a minute."""
    return memory(*[first + by * at for at in range(minutes)])


def connections(*numbers, **fields):
    """The number of connections of a Redis pool, every ten seconds."""
    made = state(None, **{"library": "redis", "kind": "ConnectionPool", "system": "redis", **fields})
    series = [PoolSample(NOW_NS + at * 10**10, 1, number - 1, 0, 0) for at, number in enumerate(numbers)]
    return Snapshot(pools=[PoolSnapshot(made, PoolTotals(), series)])


def role(limit, *, pools=1, name="master", **sizes):
    """A Redis pool that was asked for by its role, and the sizes of roles."""
    made = state(limit, library="redis", kind="ConnectionPool", system="redis", role=name, pools=pools)
    return pool(made), sizes


CASES = {
    "pool_wait": {
        "one and one": timed_out,
        "one and one, in all": lambda: pool(state(2), checkouts=90, waits=40, wait_total=300.0, timeouts=3, needed=6),
        "one and one mended": lambda: pool(state(20), checkouts=90, needed=6),
        "notifications": lambda: timed_out(2),
        "candidates of a telescope": lambda: pool(
            state(15), checkouts=500, waits=70, wait_total=900.0, timeouts=30, needed=40
        ),
        "workers at once": lambda: pool(state(15), checkouts=300, waits=60, wait_total=40.0, needed=30),
        "a slow search": lambda: timed_out(1, 30.0),
        "idle connections": lambda: pool(state(15, idle=5), checkouts=100, needed=4),
        "no timeout yet": lambda: pool(state(15, used=15), checkouts=400, waits=3, wait_total=0.05, needed=15),
        "a pool of its own": lambda: pool(state(150), checkouts=4000, needed=60),
        "a connection is made": lambda: make_window([one("SELECT 1", connect_time=0.3)], 0.4),
    },
    "connection_leak": {
        "cancelled": lambda: leaked("leak", reason="collected", seconds=0.2),
        "at shutdown": lambda: leaked("leak", reason="collected", seconds=3.0),
        "a dependency": lambda: leaked(*["leak"] * 3, reason="collected", seconds=1.0),
        "a stream of events": lambda: leaked(*["leak"] * 12, reason="collected", seconds=9.0),
        "pages by a cursor": lambda: leaked("leak", reason="collected", seconds=0.5),
        "24 of 29": lambda: leaked(*["leak"] * 24, seconds=60.0),
        "returned to the pool": lambda: leaked(*["leak"] * 6, *["returned"] * 6, seconds=40.0),
        "closed with a context": lambda: leaked("checkout", "close"),
    },
    "session_leak": {
        "never closed": lambda: leaked(*["leak"] * 5, session=True),
        "of a cookbook": lambda: leaked("leak", session=True),
        "one per instance": lambda: leaked(*["leak"] * 15, session=True),
        "with open transactions": lambda: leaked(*["leak"] * 15, session=True, seconds=600.0),
        "a repository": lambda: leaked("leak", session=True, reason="collected"),
        "never closed mended": lambda: leaked("checkout", session=True),
        "of a cookbook mended": lambda: leaked("leak", "returned", session=True),
        "one per instance mended": lambda: leaked(*["checkout"] * 15, session=True),
        "a connection": lambda: leaked("leak", session=False),
        "invalidated": lambda: leaked("close", session=True, reason="invalid"),
    },
    "long_transaction": {
        "a calendar over HTTP": lambda: ended(12.0, idle=11.8, queries=2),
        "a calendar over HTTP mended": lambda: ended(0.05, queries=2),
        "a page that is rendered": lambda: still_open(40.0, queries=9),
        "documents": lambda: still_open(300.0),
        "for five minutes": lambda: still_open(301.0, writes=1),
        "a task with requests": lambda: ended(
            20.0, idle=19.5, queries=2, writes=0, database=SQLITE, opened_by="atomic"
        ),
        "a delete of eight hours": lambda: ended(
            28_800.0,
            queries=1,
            operations=[one("DELETE FROM projects WHERE id = ?", duration=28_799.0, database=POSTGRESQL)],
        ),
        "one minute is the limit": lambda: still_open(3.0),
        "nothing was asked": lambda: still_open(90.0, queries=0),
        "reads of SQLite": lambda: ended(20.0, idle=19.0, writes=0, database=SQLITE),
    },
    "duplicate_pools": {
        "of sessions and of the application": lambda: pool(state(same=2, pools=2, clients=2)),
        "one per handler": lambda: pool(state(same=9, pools=9)),
        "one per handler mended": lambda: pool(state(clients=9)),
        "two stores": lambda: pool(state(same=2, pools=2)),
        "in many places": lambda: pool(state(same=7, pools=7)),
        "whenever": lambda: pool(state(same=30, pools=30)),
        "a task on a new loop": lambda: pool(state(asynchronous=True, wrong_loop=3)),
        "a cached engine": lambda: pool(state(asynchronous=True, wrong_loop=1)),
        "a cached engine mended": lambda: pool(state(kind="NullPool", same=4, pools=4, asynchronous=True)),
        "in memory": lambda: pool(state(kind="StaticPool", same=3, pools=3, system="sqlite")),
        "a registry": lambda: pool(state(clients=3)),
        "other settings": lambda: pool(state(same=1, pools=2)),
    },
    "pool_churn": {
        "one per request": lambda: pool(state(made=40, same=1), checkouts=40),
        "one per object": lambda: pool(state(made=60), checkouts=120),
        "one per slice": lambda: pool(state(made=20), checkouts=40),
        "one per statement": lambda: pool(state(made=30), checkouts=30),
        "without CONN_MAX_AGE": lambda: pool(state(idle_max=0, created=200, kind="Django"), checkouts=200),
        "one connection per query": lambda: pool(state(None, idle_max=0, kind="NullPool", created=900), checkouts=900),
        "one per request mended": lambda: pool(state(made=1, created=5), checkouts=40),
        "CONN_MAX_AGE": lambda: pool(state(created=4, kind="Django"), checkouts=200),
        "connections that wait": lambda: pool(state(idle=5, created=5), checkouts=900),
        "a query now and then": lambda: pool(state(None, idle_max=0, kind="NullPool", created=20), checkouts=20),
        "a registry of engines": lambda: pool(state(made=3, created=9), checkouts=600),
    },
    "rollback_rate": {
        "optimistic rows": lambda: finished(40, 160),
        "messages that are there": lambda: finished(60, 40),
        "a boost again": lambda: finished(85, 15),
        "a chain for each request": lambda: finished(50, 50),
        "mappings of a flush": lambda: finished(20, 9),
        "optimistic rows mended": lambda: finished(200, 0),
        "sessions that only read": lambda: finished(0, 400, writes=0),
        "3 to 10 %": lambda: finished(91, 9),
        "4 %": lambda: finished(96, 4),
        "an empty queue": lambda: finished(0, 300, writes=0),
    },
    "async_engine_sync_pool": {
        "accepted": lambda: pool(state(asynchronous=True, blocks_loop=True)),
        "of a dialect": lambda: pool(state(0, system="cubrid"), refused=HERE),
        "stuck": lambda: pool(state(asynchronous=True, blocks_loop=True, used=15)),
        "of a wallet": lambda: pool(state(30, asynchronous=True, blocks_loop=True)),
        "named in a guide": lambda: pool(state(), refused=HERE),
        "accepted mended": lambda: pool(state(asynchronous=True, kind="AsyncAdaptedQueuePool")),
        "of a wallet mended": lambda: pool(state(30, asynchronous=True, kind="AsyncAdaptedQueuePool")),
        "NullPool": lambda: pool(state(None, asynchronous=True, kind="NullPool")),
        "of threads": lambda: pool(state(kind="QueuePool")),
        "of a dialect mended": lambda: pool(state(asynchronous=True, system="cubrid", kind="AsyncAdaptedQueuePool")),
    },
    "memory_growth": {
        "to 2 GB in a day": lambda: rising(200, 1.4),
        "a job after the other": lambda: memory(*[231 + 180 * at for at in range(16)]),
        "many writes": lambda: rising(300, 6.0, 30),
        "832 MB": lambda: rising(70, 2.0, 45),
        "a million calls": lambda: rising(60, 3.5, 30),
        "updates of a cache": lambda: memory(*[410 + at % 3 for at in range(60)]),
        "up and down": lambda: memory(
            *(32.7, 65.9, 76.7, 68.0, 122.1, 88.0, 55.8, 57.9, 61.9, 65.1, 66.8, 64.0, 66.1, 65.0, 66.2, 65.9)
        ),
        "a cache fills": lambda: memory(*(200, 230, 250, 262, 268), *[270] * 40),
        "a logarithm": lambda: memory(*(60, 75, 84, 88, 90, 91, 91.5), *[92] * 20),
        "350 MB": lambda: memory(*[349.5 + at * 0.3 for at in range(22)]),
    },
    "connection_growth": {
        "thousands": lambda: connections(*range(20, 800, 60)),
        "a sentinel": lambda: connections(*[3 + at * 40 for at in range(13)]),
        "without a pool": lambda: connections(*range(600, 2000, 110)),
        "a waiting request": lambda: connections(*[10 + at * 3 for at in range(13)]),
        "each run of a benchmark": lambda: connections(*[50, 50, 50, 90, 90, 90, 140, 140, 140, 200, 200, 200, 260]),
        "the loop was closed": lambda: connections(3, cleanup_failures=4, asynchronous=True),
        "without a pool mended": lambda: connections(*[10, 13, 8] * 5),
        "a pool of threads": lambda: connections(*[4, 8, 12, 16, 20, 24, 26, 27, 12, 12, 12, 12, 12]),
        "two clients": lambda: connections(*[2] * 20),
        "up to its minimum": lambda: connections(*range(2, 62, 5), idle_min=60),
        "at start": lambda: connections(*range(1, 9)),
    },
    "pool_role_size": {
        "no limit": lambda: role(2**31),
        "no limit in two pools": lambda: role(2 * 2**31, pools=2, redis_master_pool_size=20),
        "no limit in two pools mended": lambda: role(40, pools=2, redis_master_pool_size=20),
        "200 for each service": lambda: role(200, redis_master_pool_size=50),
        "200 for each service mended": lambda: role(50, redis_master_pool_size=50),
        "500 of 50": lambda: role(500, name="async", redis_async_pool_max=50),
        "500 of 50 mended": lambda: role(50, name="async", redis_async_pool_max=50),
        "8 of 20": lambda: role(8, name="slave"),
        "no role": lambda: role(100, name=""),
        "closed": lambda: role(2**31, pools=0),
    },
}
