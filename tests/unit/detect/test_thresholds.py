"""A rule whose limit is raised says nothing of what it found before."""

import pytest

from dbsight.config import Settings
from dbsight.detect.rules.cacheable_query import CacheableQuery
from dbsight.detect.rules.concurrency_over_pool import ConcurrencyOverPool
from dbsight.detect.rules.error_burst import ErrorBurst
from dbsight.detect.rules.hot_table import HotTable
from dbsight.detect.rules.memory_growth import MemoryGrowth
from dbsight.detect.rules.memory_spike import MemorySpike
from dbsight.detect.rules.redis_chatter import RedisChatter
from dbsight.detect.rules.regression import Regression
from dbsight.detect.rules.retry_storm import RetryStorm
from dbsight.detect.rules.serial_awaits import SerialAwaits
from dbsight.detect.rules.serial_writes import SerialWrites
from dbsight.detect.rules.slow_consumer import SlowConsumer
from dbsight.detect.rules.text_smell import TextSmell
from dbsight.detect.rules.unbounded_fetch import UnboundedFetch
from dbsight.detect.rules.unprepared_repeat import UnpreparedRepeat
from dbsight.detect.rules.write_heavy import WriteHeavy
from dbsight.detect.suppressions import write_baseline
from dbsight.model import Database, MemorySample, Snapshot
from dbsight.monitor.reads import Reads
from unit.detect.loops import make_window, one
from unit.detect.rules.test_more_work_than_needed import ORDER, Grown, borrowed, pool, read, rows, write, writes
from unit.detect.rules.test_redis_chatter import loop
from unit.detect.rules.test_regression import totals
from unit.detect.rules.test_serial_awaits import ORDERS, REVIEWS, serial
from unit.detect.rules.test_slow_consumer import stream
from unit.detect.rules.test_workload import snapshot, written

REDIS = Database("redis", "0", "cache", 6379)
FAILED = {"error_type": "OperationalError", "error_code": "40P01"}


def failing(number):
    """A statement that fails again and again."""
    return [one("UPDATE stock SET pieces = 1", at=at * 0.01, parameters=1, **FAILED) for at in range(number)]


@pytest.mark.parametrize(
    ("rule", "operations", "name", "higher"),
    [
        (SerialAwaits, serial(ORDERS, REVIEWS), "serial_awaits_threshold", 0.2),
        (TextSmell, [one("SELECT * FROM orders", rows=1500)], "text_smell_threshold", 2000),
        (TextSmell, [one(f"SELECT id FROM t WHERE id IN ({'?, ' * 600}?)")], "in_list_threshold", 700),
        (UnpreparedRepeat, written(12), "unprepared_repeat_threshold", 13),
        (ErrorBurst, failing(4), "error_burst_threshold", 5),
        (RetryStorm, failing(8), "retry_storm_threshold", 9),
        (
            RedisChatter,
            [one(f"GET price:{at}", at=at * 0.001, duration=0.004, database=REDIS, parameters=at) for at in range(30)],
            "redis_chatter_threshold",
            31,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_a_higher_limit_silences_a_rule(rule, operations, name, higher):
    """With the default it is found."""
    window = make_window(operations)
    assert list(rule(Settings()).complete(window))
    assert list(rule(Settings(**{name: higher})).complete(make_window(operations))) == []


@pytest.mark.parametrize(
    ("rule", "totals", "settings"),
    [
        (WriteHeavy, snapshot({"insert": 600, "select": 400}), {"write_share_threshold": 0.7}),
        (WriteHeavy, snapshot({"insert": 600, "select": 400}), {"workload_calls_threshold": 2000}),
        (HotTable, snapshot({}, seconds={"a": 6.0, "b": 2.0, "c": 1.0}), {"table_share_threshold": 0.8}),
    ],
)
def test_a_higher_share_silences_a_rule_about_the_process(rule, totals, settings):
    """With the default it is found."""
    assert list(rule(Settings()).examine(totals))
    assert list(rule(Settings(**settings)).examine(totals)) == []


def spike(settings):
    """A result of 300 000 rows, with which the memory grew by 60 MB."""
    rule = MemorySpike(settings)
    rule._peak = Grown(60_000_000)
    return rule.complete(make_window([rows(300_000)]))


def repeated(*groups):
    """What is read again and again."""
    reads = Reads()
    for group in groups:
        reads.took(group)
    return Snapshot(repeated_reads=reads.totals())


MINUTE = 60_000_000_000
GROWING = Snapshot(memory=[MemorySample(at * MINUTE, 300_000_000 + at * 8_000_000, 0) for at in range(20)])
SCANS = loop(120, lambda number: ("SCAN", number, "MATCH", "list:*"), rows=8)


@pytest.mark.parametrize(
    ("name", "value", "judge", "severities"),
    [
        ("serial_awaits_error_threshold", 0.1, SerialAwaits, (serial(ORDERS, REVIEWS), "warning", "error")),
        ("error_burst_error_threshold", 4, ErrorBurst, (failing(4), "warning", "error")),
        ("retry_storm_error_threshold", 8, RetryStorm, (failing(8), "warning", "error")),
        ("long_transaction_error_factor", 1.0, SlowConsumer, ([stream(6)], "warning", "error")),
        ("max_rows_error_factor", 2.0, UnboundedFetch, ([rows(20_000)], "warning", "error")),
        ("memory_spike_error_factor", 1.1, spike, (None, "warning", "error")),
        ("memory_spike_rows_threshold", 300_001, spike, (None, "warning")),
        ("serial_writes_warning_threshold", 0.03, SerialWrites, (writes(*ORDER), "info", "warning")),
        ("serial_writes_time_threshold", 0.05, SerialWrites, (writes(*ORDER), "info")),
        ("redis_scan_threshold", 121, RedisChatter, (SCANS, "info")),
        ("redis_scan_keys_threshold", 8, RedisChatter, (SCANS, "info")),
        ("memory_growth_share_threshold", 0.9, MemoryGrowth, (GROWING, "warning")),
        ("concurrency_warning_factor", 1.2, ConcurrencyOverPool, (pool(borrowed(20, waited=0.2)), "info", "warning")),
        ("cacheable_query_time_threshold", 0.5, CacheableQuery, (repeated(read(60)), "info")),
        ("cacheable_query_mean_threshold", 0.003, CacheableQuery, (repeated(read(60)), "info")),
        (
            "cacheable_query_reads_per_write",
            50,
            CacheableQuery,
            (repeated(read(200, duration=0.001), write(5)), "info"),
        ),
    ],
)
def test_a_second_limit_of_a_rule_can_be_set(name, value, judge, severities):
    """The severity with the default, and with another value; without one there, nothing is found."""
    what, *expected = severities
    found = []
    for settings in (Settings(), Settings(**{name: value})):
        rule = judge(settings)
        if isinstance(what, Snapshot):
            rule = rule.examine(what)
        elif what is not None:
            rule = rule.complete(make_window(what, 0.3))
        found += [finding.severity for finding in rule]
    assert found == expected


@pytest.mark.parametrize("settings", [{"regression_factor": 3.0}, {"regression_threshold": 0.05}])
def test_how_much_slower_is_a_regression_can_be_set(settings, tmp_path):
    """With the defaults it is found."""
    path = str(tmp_path / "baseline.json")
    write_baseline((), path, [totals(0.02, 0.05)])
    now = Snapshot(statements=[totals(0.05, 0.2)])
    assert list(Regression(Settings(baseline=path)).examine(now))
    assert list(Regression(Settings(baseline=path, **settings)).examine(now)) == []


def test_the_waits_for_a_connection_that_count_can_be_set():
    """Those of 1 ms and more, by default; where nobody waited that long, nothing is said."""
    crowd = pool(borrowed(20, waited=0.2))
    (found,) = ConcurrencyOverPool(Settings()).examine(crowd)
    assert found.count == 20
    assert list(ConcurrencyOverPool(Settings(concurrency_wait_threshold=0.5)).examine(crowd)) == []
