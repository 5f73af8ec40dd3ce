"""The limits of the rules about pools, locks, memory and transactions are settings."""

import pytest

from builders import NOW_NS
from dbsight.config import Settings
from dbsight.detect.rules.blocking_call import BlockingCall
from dbsight.detect.rules.connection_growth import ConnectionGrowth
from dbsight.detect.rules.duplicate_pools import DuplicatePools
from dbsight.detect.rules.hot_table import HotTable
from dbsight.detect.rules.lock_contention import LockContention
from dbsight.detect.rules.lock_fixed_retry import LockFixedRetry
from dbsight.detect.rules.memory_growth import MemoryGrowth
from dbsight.detect.rules.pool_churn import PoolChurn
from dbsight.detect.rules.pool_wait import PoolWait
from dbsight.detect.rules.redis_chatter import RedisChatter
from dbsight.detect.rules.redundant_query import RedundantQuery
from dbsight.detect.rules.retry_storm import RetryStorm
from dbsight.detect.rules.rollback_rate import RollbackRate
from dbsight.detect.rules.serial_awaits import SerialAwaits
from dbsight.detect.rules.serial_writes import SerialWrites
from dbsight.model import (
    Database,
    LockTotals,
    MemorySample,
    PoolSample,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    Snapshot,
    TransactionTotals,
)
from unit.detect.loops import make_window, one
from unit.detect.rules.test_more_work_than_needed import ORDER, writes
from unit.detect.rules.test_redis_chatter import loop
from unit.detect.rules.test_serial_awaits import ORDERS, REVIEWS, serial
from unit.detect.rules.test_workload import snapshot

MINUTE = 60_000_000_000
SHOP = Database("postgresql", "shop")


def pools(totals, used=0, idle=0, series=(), **state):
    """One pool of PostgreSQL."""
    about = PoolState("shop", "sqlalchemy", "QueuePool", "postgresql", used=used, idle=idle, **state)
    return Snapshot(pools=[PoolSnapshot(about, PoolTotals(**totals), series)])


def samples(numbers):
    """A pool's connections, every ten seconds."""
    return [PoolSample(NOW_NS + at * 10**10, 0, number, 0, 0) for at, number in enumerate(numbers)]


def locks(**totals):
    """One lock."""
    return Snapshot(locks=[LockTotals("redis", "stock", **totals)])


def again(number):
    """The same query with the same parameters."""
    return [one("SELECT id FROM tags WHERE id = ?", at=at * 0.01, duration=0.001, parameters=1) for at in range(number)]


def blocked(seconds):
    """A synchronous query on an event loop."""
    operation = one("SELECT id FROM tags", duration=seconds)
    operation.blocked_loop = True
    return [operation]


def failing(number, every):
    """A statement that fails again and again, with pauses."""
    return [
        one("UPDATE stock SET pieces = 1", at=at * every, duration=0.001, parameters=1, error_type="OperationalError")
        for at in range(number)
    ]


SAWTOOTH = Snapshot(
    memory=[MemorySample(at * MINUTE, 300_000_000 + at * 8_000_000 - at % 2 * 9_000_000, 0) for at in range(21)]
)
GROWING = Snapshot(memory=[MemorySample(at * MINUTE, 300_000_000 + at * 8_000_000, 0) for at in range(20)])
WAITED = {"checkouts": 1000, "waits": 100, "wait_total": 5.0, "needed": 9}
SPARE = {"checkouts": 600, "needed": 2}
FIXED = {"attempts": 20, "paced": 4, "fixed": 4, "wait_total": 0.5}
CONTENDED = {"acquired": 20, "contended": 15, "wait_total": 1.0}
SCANS = loop(50, lambda number: ("SCAN", number, "MATCH", "list:*"), rows=4)
LARGE = loop(1, lambda _: ("HGETALL", "cart"), rows=2000)
ROLLED_BACK = Snapshot(transaction_totals=[TransactionTotals(SHOP, commits=21, rollbacks=9)])

CASES = [
    ("memory_growth_samples_threshold", 21, MemoryGrowth, GROWING, ["warning"], []),
    ("memory_growth_rising_threshold", 0.5, MemoryGrowth, SAWTOOTH, [], ["warning"]),
    ("lock_contention_tries_threshold", 21, LockContention, locks(**CONTENDED), ["warning"], []),
    ("lock_contention_wait_threshold", 0.1, LockContention, locks(**CONTENDED), ["warning"], []),
    ("lock_fixed_retry_threshold", 5, LockFixedRetry, locks(**FIXED), ["info"], []),
    ("lock_fixed_retry_warning_threshold", 0.5, LockFixedRetry, locks(**FIXED), ["info"], ["warning"]),
    ("pool_churn_uses_threshold", 1, PoolChurn, pools({"checkouts": 30}, made=10), ["warning"], []),
    ("pool_churn_connections_threshold", 61, PoolChurn, pools({"checkouts": 100}, created=60), ["warning"], []),
    ("pool_churn_share_threshold", 0.7, PoolChurn, pools({"checkouts": 100}, created=60), ["warning"], []),
    (
        "connection_growth_samples_threshold",
        15,
        ConnectionGrowth,
        pools({}, series=samples(range(10, 80, 5))),
        ["warning"],
        [],
    ),
    ("rollback_rate_error_threshold", 0.3, RollbackRate, ROLLED_BACK, ["warning"], ["error"]),
    ("rollback_rate_transactions_threshold", 31, RollbackRate, ROLLED_BACK, ["warning"], []),
    ("blocked_loop_error_threshold", 0.2, BlockingCall, blocked(0.2), ["warning"], ["error"]),
    ("duplicate_pools_warning_threshold", 4, DuplicatePools, pools({}, pools=3, same=3), ["warning"], ["info"]),
    ("pool_wait_count_threshold", 101, PoolWait, pools(WAITED, max=5), ["warning"], []),
    ("pool_wait_checkouts_threshold", 0.2, PoolWait, pools(WAITED, max=5), ["warning"], []),
    ("pool_spare_threshold", 21, PoolWait, pools(SPARE, idle=20, series=samples([0] * 9)), ["info"], []),
    ("pool_spare_factor", 11.0, PoolWait, pools(SPARE, idle=20, series=samples([0] * 9)), ["info"], []),
    ("pool_spare_checkouts_threshold", 601, PoolWait, pools(SPARE, idle=20, series=samples([0] * 9)), ["info"], []),
    ("serial_awaits_share_threshold", 0.6, SerialAwaits, serial(ORDERS, REVIEWS), ["warning"], []),
    ("serial_writes_share_threshold", 0.6, SerialWrites, writes(*ORDER), ["info"], []),
    ("retry_storm_pause_threshold", 0.2, RetryStorm, failing(8, 0.3), ["warning"], []),
    ("redundant_query_threshold", 5, RedundantQuery, again(4), ["info"], []),
    ("redundant_query_warning_threshold", 4, RedundantQuery, again(4), ["info"], ["warning"]),
    ("redis_scan_few_threshold", 4, RedisChatter, SCANS, ["info"], []),
    ("redis_reply_warning_factor", 2.0, RedisChatter, LARGE, ["info"], ["warning"]),
    ("workload_time_threshold", 10.0, HotTable, snapshot({}, seconds={"a": 6.0, "b": 2.0, "c": 1.0}), ["info"], []),
]


@pytest.mark.parametrize(
    ("name", "value", "rule", "what", "by_default", "otherwise"), CASES, ids=[case[0] for case in CASES]
)
def test_each_limit_can_be_set(name, value, rule, what, by_default, otherwise):
    """The severity of what is found by default, and with another value."""

    def found(settings):
        made = rule(settings)
        findings = made.examine(what) if isinstance(what, Snapshot) else made.complete(make_window(what, 0.3))
        return [finding.severity for finding in findings]

    assert (found(Settings()), found(Settings(**{name: value}))) == (by_default, otherwise)
