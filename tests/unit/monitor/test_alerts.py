"""Alerts: thresholds over a sliding window, with a minimum sample and hysteresis."""

import pytest

from dbsight.config import Settings
from dbsight.model import Database, PoolSnapshot, PoolState, PoolTotals, SlowQuery, Snapshot, Statement
from dbsight.monitor.alerts import MINIMUM_QUERIES, Alerts

SECOND = 1_000_000_000


class Clock:
    """Stands still until a test moves it; s."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now * SECOND


@pytest.fixture
def clock():
    """At zero."""
    return Clock()


@pytest.fixture
def alerts(clock):
    """With the default thresholds: a window of 300 s."""
    return Alerts(Settings(), clock)


def pool(used=0, most=10, failures=0, leaks=0):
    """One pool."""
    state = PoolState("db:5432/shop", "sqlalchemy", "QueuePool", "postgresql", used=used, max=most)
    return PoolSnapshot(state, PoolTotals(failures=failures, leaks=leaks))


def changes(alerts, **totals):
    """Metric and state of each alert that changed with these totals."""
    return [(each.metric_name, each.state) for each in alerts.examine(Snapshot(**totals))]


@pytest.mark.parametrize(
    ("below", "above", "metric", "severity"),
    [
        ({"calls": 1000, "failed": 49}, {"calls": 1000, "failed": 51}, "error_rate", "error"),
        ({"calls": 100, "db_time": 49.0}, {"calls": 100, "db_time": 51.0}, "avg_query_time", "warning"),
        ({"calls": 9900}, {"calls": 10_100}, "queries_per_second", "warning"),
        ({"pools": [pool(8)]}, {"pools": [pool(9)]}, "connection_pool_usage", "warning"),
        ({"pools": [pool(failures=10)]}, {"pools": [pool(failures=11)]}, "connection_failures", "error"),
        ({"pools": [pool(leaks=4)]}, {"pools": [pool(leaks=5)]}, "connection_leaks", "error"),
    ],
)
def test_an_alert_is_raised_once_when_its_threshold_is_crossed(alerts, clock, below, above, metric, severity):
    """Silent just below it."""
    clock.now = 100
    assert changes(alerts, **below) == []
    assert changes(alerts, **above) == [(metric, "raised")]
    assert changes(alerts, **above) == []
    (alert,) = alerts.raised()
    assert alert.severity == severity
    assert alert.current_value >= alert.threshold_value
    assert alerts.active() == (alert,)


def test_few_queries_raise_no_alert_about_a_share(alerts):
    """One more or less would decide."""
    assert changes(alerts, calls=MINIMUM_QUERIES - 1, failed=10, db_time=100.0) == []


def test_a_rate_is_not_compared_in_the_first_seconds(alerts, clock):
    """A burst at the start is no load."""
    clock.now = 5
    assert changes(alerts, calls=5000) == []


def test_what_happened_before_the_window_no_longer_counts(alerts, clock):
    """Cleared when enough time without errors has gone by."""
    clock.now = 10
    assert changes(alerts, calls=100, failed=10) == [("error_rate", "raised")]
    clock.now = 200
    assert changes(alerts, calls=150, failed=10) == []
    clock.now = 320
    assert changes(alerts, calls=200, failed=10) == [("error_rate", "cleared")]
    assert alerts.active() == ()
    clock.now = 600
    assert changes(alerts, calls=300, failed=20) == [("error_rate", "raised")]


def test_a_value_that_hovers_at_its_threshold_does_not_flap(alerts):
    """It is cleared at nine tenths of the threshold."""
    states = [changes(alerts, pools=[pool(used, 100)]) for used in (81, 79, 81, 73, 71, 81)]
    metric = "connection_pool_usage"
    assert states == [[(metric, "raised")], [], [], [], [(metric, "cleared")], [(metric, "raised")]]


def test_a_pool_that_is_gone_has_no_alert_any_more(alerts):
    """Each pool has its own."""
    assert changes(alerts, pools=[pool(9)]) == [("connection_pool_usage", "raised")]
    assert changes(alerts, pools=[]) == [("connection_pool_usage", "cleared")]


def test_each_slow_query_is_an_alert_of_its_own(alerts):
    """Those that were seen before are not raised again."""
    statement = Statement("sqlite", "SELECT a FROM t", "SELECT t", "0" * 16)
    queries = [SlowQuery(statement, Database("sqlite"), 0, 1.5, "slow", 1.0) for _ in range(3)]
    assert changes(alerts, slow=2, slow_queries=queries[:2]) == [("query_duration", "raised")] * 2
    assert changes(alerts, slow=2, slow_queries=queries[:2]) == []
    assert changes(alerts, slow=3, slow_queries=queries) == [("query_duration", "raised")]


def test_totals_that_were_reset_begin_a_new_window(alerts, clock):
    """Nothing is negative."""
    clock.now = 10
    assert changes(alerts, calls=1000, failed=100) == [("error_rate", "raised")]
    clock.now = 20
    assert changes(alerts, calls=30, failed=0) == [("error_rate", "cleared")]
    clock.now = 30
    assert changes(alerts, calls=60, failed=30) == [("error_rate", "raised")]


def test_only_the_latest_alerts_are_remembered(clock):
    """As many as the setting says; the newest first."""
    alerts = Alerts(Settings(max_alerts=3), clock)
    for number in range(5):
        clock.now = number
        changes(alerts, pools=[pool(9)])
        changes(alerts, pools=[])
    assert [each.at_ns // SECOND for each in alerts.raised()] == [4, 3, 2]


def test_memory_is_bounded_however_often_alerts_are_read(alerts, clock):
    """Points closer together than the window needs are not kept."""
    for number in range(100_000):
        clock.now = number / 100
        if number % 50 == 0:
            alerts.examine(Snapshot(calls=number))
    assert len(alerts._points) <= 402
