"""A rule whose limit is raised says nothing of what it found before."""

import pytest

from dbsight.config import Settings
from dbsight.detect.rules.error_burst import ErrorBurst
from dbsight.detect.rules.hot_table import HotTable
from dbsight.detect.rules.redis_chatter import RedisChatter
from dbsight.detect.rules.retry_storm import RetryStorm
from dbsight.detect.rules.serial_awaits import SerialAwaits
from dbsight.detect.rules.text_smell import TextSmell
from dbsight.detect.rules.unprepared_repeat import UnpreparedRepeat
from dbsight.detect.rules.write_heavy import WriteHeavy
from dbsight.model import Database
from unit.detect.loops import make_window, one
from unit.detect.rules.test_serial_awaits import ORDERS, REVIEWS, serial
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
