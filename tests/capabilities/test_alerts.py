"""Alerts of the process, at both sides of each threshold, and the thresholds of slow queries."""

import pytest

import dbsight
from dbsight import DatabasePerformanceMonitor, PerformanceThresholds, analyzer, config

SECOND = 1_000_000_000


@pytest.fixture
def monitor(process):
    """A monitor with the default thresholds."""
    return DatabasePerformanceMonitor(PerformanceThresholds())


@pytest.fixture
def clock(monitor, monkeypatch):
    """The clock of the alerts, which stands still until a test adds s to it."""
    alerts = analyzer.engine().alerts
    now = [alerts._clock()]
    monkeypatch.setattr(alerts, "_clock", lambda: now[0])
    alerts.reset()

    def add(seconds):
        now[0] += int(seconds * SECOND)

    return add


def told(monitor):
    """Metric and severity of each alert that was raised, newest first."""
    return [(each.metric_name, each.severity.value) for each in monitor.get_alerts()]


def record(monitor, number, duration=0.001, failed=0):
    """Report queries, of which the first ones failed."""
    for each in range(number):
        monitor.record_query("SELECT a FROM t", duration, ValueError() if each < failed else None)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0.999, (0, 0)), (1.0, (1, 0)), (4.999, (1, 0)), (5.0, (1, 1))],
)
def test_a_query_is_slow_from_one_second_and_very_slow_from_five(monitor, duration, expected):
    """The limits belong to what they limit."""
    monitor.record_query("SELECT a FROM t", duration)
    stats = monitor.get_stats()
    assert (stats.slow_queries, stats.very_slow_queries) == expected
    assert told(monitor) == [("query_duration", "error" if expected[1] else "warning")] * expected[0]


def test_an_error_rate_over_five_percent_is_an_error(monitor, clock):
    """4.9 % are none, and of nineteen queries nothing is said."""
    record(monitor, 19, failed=19)
    assert told(monitor) == []
    monitor.reset_stats()
    clock(1)
    record(monitor, 1000, failed=49)
    assert told(monitor) == []
    record(monitor, 40, failed=4)
    assert told(monitor) == [("error_rate", "error")]


def test_a_mean_query_time_over_half_a_second_is_a_warning(monitor, clock):
    """0.49 s is none."""
    record(monitor, 100, 0.49)
    assert told(monitor) == []
    record(monitor, 100, 0.53)
    assert told(monitor) == [("avg_query_time", "warning")]


def test_more_than_a_hundred_queries_a_second_are_a_warning(monitor, clock):
    """99 are none."""
    record(monitor, 990)
    clock(10)
    assert told(monitor) == []
    record(monitor, 30)
    assert told(monitor) == [("queries_per_second", "warning")]


def test_a_pool_of_which_more_than_eighty_percent_are_in_use_is_a_warning(monitor, clock):
    """Eight of ten are none; it is raised once, cleared well below, and raised again."""
    for used, expected in ((8, 0), (9, 1), (10, 1), (8, 1), (9, 1), (7, 1), (9, 2)):
        monitor.update_pool_metrics(pool_size=10, checked_out=used, checked_in=10 - used)
        assert told(monitor) == [("connection_pool_usage", "warning")] * expected
        clock(1)


def test_more_than_ten_connections_that_cannot_be_made_are_an_error(monitor, clock):
    """Ten are none."""
    for number in range(11):
        assert told(monitor) == []
        monitor.record_connection_event("error", f"conn_{number}", error=ConnectionRefusedError())
    assert told(monitor) == [("connection_failures", "error")]


def test_the_latest_thousand_alerts_are_kept(monitor):
    """Newest first."""
    for number in range(1050):
        monitor.record_query("SELECT a FROM t", 1 + number / 1000)
        if number % 50 == 49:  # fewer than the slow queries that are remembered
            monitor.get_alerts(limit=1)
    values = [each.current_value for each in monitor.get_alerts(limit=2000)]
    assert len(values) == 1000
    assert values[0] == pytest.approx(2.049)
    assert values == sorted(values, reverse=True)


def test_thresholds_of_the_program_beat_the_environment_and_that_beats_the_preset(process, monkeypatch):
    """Each is told with its source."""
    monkeypatch.setenv("OTEL_DBSIGHT_PRESET", "production")
    monkeypatch.setenv("OTEL_DBSIGHT_ERROR_RATE_THRESHOLD", "0.2")
    config.reset()
    found = config.current()
    assert (found.slow_query_threshold, found.error_rate_threshold, found.avg_query_time_threshold) == (0.5, 0.2, 0.5)
    dbsight.create_performance_monitor(slow_query_threshold=0.1)
    found = config.current()
    assert (found.slow_query_threshold, found.error_rate_threshold) == (0.1, 0.2)
    sources = {row.setting.name: row.source for row in found.describe()}
    assert (sources["slow_query_threshold"], sources["error_rate_threshold"]) == ("argument", "environment")


def test_a_receiver_that_asks_for_it_hears_that_an_alert_is_over(monitor, clock):
    """Once, in order; others hear of what was raised alone."""
    heard, raised = [], []
    dbsight.on_alert(lambda alert: heard.append((alert.metric_name, alert.state)), cleared=True)
    dbsight.on_alert(lambda alert: raised.append((alert.metric_name, alert.state)))
    record(monitor, 100, failed=10)
    assert told(monitor) == [("error_rate", "error")]
    for _ in range(3):  # the window has to leave it behind
        clock(200)
        monitor.get_alerts()
    assert analyzer.on_alert.wait(10)
    assert heard == [("error_rate", "raised"), ("error_rate", "cleared")]
    assert raised == heard[:1]
