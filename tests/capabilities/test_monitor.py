"""The performance monitor: statistics, slow queries, alerts, recommendations, from Python and without a backend."""

import dataclasses
import inspect
import threading
import time
from functools import lru_cache

import pytest
from sqlalchemy import create_engine, text

import dbsight
from dbsight import AlertSeverity, DatabasePerformanceMonitor, PerformanceThresholds, analyzer, config


@pytest.fixture
def monitor(process):
    """A monitor with the default thresholds."""
    return dbsight.create_performance_monitor()


def test_the_factory_and_the_thresholds_have_the_promised_defaults():
    """Names, order and values."""
    factory = inspect.signature(dbsight.create_performance_monitor).parameters
    assert {name: each.default for name, each in factory.items()} == {
        "slow_query_threshold": 1.0,
        "enable_recommendations": True,
    }
    assert PerformanceThresholds() == PerformanceThresholds(
        slow_query_threshold=1.0,
        very_slow_query_threshold=5.0,
        error_rate_threshold=0.05,
        connection_pool_usage_threshold=0.8,
        avg_query_time_threshold=0.5,
        queries_per_second_threshold=100.0,
        connection_leak_threshold=5,
        failed_connection_threshold=10,
    )


def test_thresholds_take_effect_in_the_process(process):
    """Not in the monitor alone: what is instrumented is compared with them too."""
    monitor = DatabasePerformanceMonitor(PerformanceThresholds(slow_query_threshold=0.1, very_slow_query_threshold=0.2))
    dbsight.record_query("SELECT a FROM t", 0.15)
    monitor.record_query("SELECT b FROM t", 0.25)
    stats = monitor.get_stats()
    assert (stats.slow_queries, stats.very_slow_queries) == (2, 1)
    with pytest.raises(ValueError, match="error_rate_threshold"):
        DatabasePerformanceMonitor(PerformanceThresholds(error_rate_threshold=7))


def test_a_recorded_query_is_a_span_that_carries_what_was_reported(exported):
    """Dated back by its duration, below the current span or a synthetic root; the message of the error stays here."""
    before = time.time_ns()
    dbsight.record_query("SELECT * FROM users WHERE id = 7", 0.25, None, 3, "conn_123", "user_456")
    dbsight.record_query("UPDATE t SET a = 'SECRET'", 0.1, ValueError("SECRET"), 2)
    engine = analyzer.engine()
    engine.drain()
    select, update = exported()
    assert select.name == "SELECT users"
    assert select.attributes["db.query.text"] == "SELECT * FROM users WHERE id = ?"
    assert select.attributes["dbsight.connection.id"] == "conn_123"
    assert select.attributes["enduser.id"] == "user_456"
    assert select.attributes["db.response.returned_rows"] == 3
    assert select.attributes["code.file.path"].endswith("test_monitor.py")
    assert select.end_time - select.start_time == 250_000_000
    assert before <= select.end_time <= time.time_ns()
    assert update.attributes["dbsight.query.rows_affected"] == 2
    assert update.attributes["error.type"] == "ValueError"
    assert update.status.status_code.name == "ERROR"
    assert "SECRET" not in update.to_json()


def test_every_number_of_the_statistics_agrees_with_the_exported_spans(exported):
    """Recomputed from the spans, after 64 threads ran a mix of queries."""
    monitor = DatabasePerformanceMonitor()
    mix = [
        ("SELECT a FROM t WHERE id = {}", 0.01, None),
        ("INSERT INTO t VALUES ({})", 1.5, None),
        ("UPDATE t SET a = {}", 6.0, ValueError()),
        ("DELETE FROM t WHERE id = {}", 0.02, None),
        ("CREATE TABLE t{} (a int)", 0.03, None),
    ]

    def work(number):
        for query, duration, error in mix[: 1 + number % 5]:
            monitor.record_query(query.format(number), duration, error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monitor.update_pool_metrics(pool_size=8, checked_out=6, checked_in=1, overflow=0)
    stats = monitor.get_stats()
    spans = [span for span in exported() if span.kind.name == "CLIENT"]
    durations = [(span.end_time - span.start_time) / 1e9 for span in spans]
    failed = sum(span.status.status_code.name == "ERROR" for span in spans)
    assert stats.total_queries == len(spans) == sum(1 + number % 5 for number in range(64))
    assert stats.slow_queries == sum(duration >= 1 for duration in durations)
    assert stats.very_slow_queries == sum(duration >= 5 for duration in durations)
    assert stats.failed_queries == failed
    assert stats.error_rate == failed / len(spans)
    assert stats.avg_query_time == pytest.approx(sum(durations) / len(spans))
    assert (stats.active_connections, stats.connection_pool_usage) == (6, 0.75)
    assert len(dataclasses.fields(stats)) == 12
    for kind in ("select", "insert", "update", "delete"):
        assert getattr(stats, f"{kind}_queries") == sum(span.name.startswith(kind.upper()) for span in spans)


def test_slow_queries_are_the_latest_hundred_newest_first(monitor):
    """Their text is cut at 100 characters."""
    for number in range(150):
        monitor.record_query(f"SELECT column_{number} FROM {'t' * 120}", 1.0 + number)
    slow = monitor.get_slow_queries(limit=1000)
    assert [round(each.duration) for each in slow] == list(range(150, 50, -1))
    assert slow[0].query == f"SELECT column_149 FROM {'t' * 120}"[:100]
    assert slow[0].query_type.value == "select"
    assert slow[0].timestamp.tzinfo is not None
    assert len(monitor.get_slow_queries()) == 10
    assert [round(each.duration) for each in monitor.get_very_slow_queries()] == [150, 149, 148, 147, 146]


def test_queries_are_told_apart_by_type_and_by_table(monitor):
    """A join counts for both of its tables, a CTE for the table that it reads."""
    monitor.record_query("SELECT * FROM a JOIN b ON a.id = b.a", 0.1)
    monitor.record_query("SELECT * FROM a", 0.3)
    monitor.record_query("WITH x AS (SELECT * FROM c) INSERT INTO d SELECT * FROM x", 0.5)
    assert monitor.get_query_stats_by_type() == {
        "select": {"count": 2, "avg_duration": pytest.approx(0.2), "max_duration": 0.3},
        "insert": {"count": 1, "avg_duration": 0.5, "max_duration": 0.5},
    }
    tables = monitor.get_query_stats_by_table()
    assert tables["a"] == 2
    assert tables["b"] == tables["c"] == tables["d"] == 1
    assert list(monitor.get_query_stats_by_table(limit=1)) == ["a"]


def test_connections_that_the_application_reports_are_conserved(monitor):
    """Created less closed is idle plus used."""
    for number in range(4):
        monitor.record_connection_event("create", f"conn_{number}")
    monitor.record_connection_event("checkout", "conn_0")
    monitor.record_connection_event("checkout", "conn_1")
    monitor.record_connection_event("checkin", "conn_1")
    monitor.record_connection_event("close", "conn_3")
    monitor.record_connection_event("error", "conn_9", error=ConnectionRefusedError())
    assert monitor.get_stats().active_connections == 1
    pool = dbsight.pool_stats()["application"]
    assert (pool["total"], pool["active"], pool["idle"]) == (3, 1, 2)
    with pytest.raises(ValueError, match="checkout"):
        monitor.record_connection_event("lost", "conn_0")


def test_pool_metrics_that_the_application_reports_are_those_of_the_pool(monitor):
    """The share in use is of all connections that it may open."""
    monitor.update_pool_metrics(pool_size=10, checked_out=7, checked_in=3, overflow=0)
    stats = monitor.get_stats()
    assert (stats.active_connections, stats.connection_pool_usage) == (7, 0.7)
    assert monitor.get_alerts() == []
    monitor.update_pool_metrics(pool_size=10, checked_out=9, checked_in=1, overflow=0)
    (alert,) = monitor.get_alerts()
    assert (alert.severity, alert.metric_name) == (AlertSeverity.WARNING, "connection_pool_usage")
    assert (alert.current_value, alert.threshold_value) == (0.9, 0.8)


def test_alerts_are_chosen_by_severity_and_number(monitor):
    """Newest first; a query over the slow limit warns, one over the very slow limit is an error."""
    for number in range(30):
        monitor.record_query(f"SELECT {number} FROM t", 0.001, ValueError() if number < 3 else None)
    monitor.record_query("SELECT a FROM t", 1.2)
    monitor.record_query("SELECT a FROM t", 5.2)
    by_metric = {(each.metric_name, each.severity.value) for each in monitor.get_alerts()}
    assert by_metric == {("query_duration", "warning"), ("query_duration", "error"), ("error_rate", "error")}
    assert all(each.severity == "error" for each in monitor.get_alerts(severity=AlertSeverity.ERROR))
    assert len(monitor.get_alerts(limit=1)) == 1
    assert monitor.get_alerts(severity="info") == []


@pytest.mark.swallows_errors
def test_a_callback_that_raises_sleeps_or_queries_delays_no_query(monitor):
    """It runs in a thread of its own, after the others all the same."""
    seen = []
    release = threading.Event()

    def slow(alert):
        release.wait(10)
        monitor.record_query("INSERT INTO alerts VALUES (1)", 0.001)
        seen.append(alert.message)

    def broken(alert):
        seen.append("raised")
        raise RuntimeError(alert.message)

    monitor.register_alert_callback(broken)
    monitor.register_alert_callback(slow)
    began = time.perf_counter()
    monitor.record_query("SELECT a FROM t", 2.0)
    assert len(monitor.get_alerts()) == 1
    assert time.perf_counter() - began < 5  # the callback would hold it for ten
    release.set()
    assert analyzer.on_alert.wait(10)
    assert seen == ["raised", "SELECT t took 2.000 s (threshold 1 s)"]


def test_recommendations_have_the_seven_promised_fields(monitor):
    """Ranked; with the same id in every run; none where they are disabled."""
    monitor.record_query("SELECT a FROM t WHERE b = 1", 2.0)
    monitor.record_query("SELECT c FROM t WHERE b = 1", 7.0)
    first, second = monitor.get_recommendations(force_refresh=True)
    assert first.priority == "high"
    assert first.impact >= second.impact
    assert first.title
    assert first.category == "query"
    assert first.description
    assert first.effort in {"low", "medium", "high"}
    assert first.details["rule"] == "slow_query"
    assert first.details["call_site"].startswith(("tests/", "/"))
    assert [each.id for each in monitor.get_recommendations()] == [first.id, second.id]
    assert DatabasePerformanceMonitor(enable_recommendations=False).get_recommendations() == []


def test_statistics_are_reset_and_everything_begins_from_zero(monitor):
    """Also for the API of the process, which shows the same numbers."""
    monitor.record_query("SELECT a FROM t", 2.0)
    assert dbsight.stats().total == dbsight.QueryStats.get().total == 1
    monitor.reset_stats()
    assert monitor.get_stats().total_queries == dbsight.stats().total == 0
    monitor.record_query("SELECT a FROM t", 0.5)
    assert dbsight.stats().average_duration_ms == 500
    dbsight.QueryStats.reset()
    assert monitor.get_query_stats_by_type() == {}


def test_pools_caches_and_locks_begin_from_zero_as_well(monitor):
    """What they hold stays; what was counted is forgotten."""
    double = dbsight.watch_cache("double", lru_cache(lambda number: 2 * number))
    double(1), double(1)
    monitor.record_connection_event("create", "first")
    monitor.record_connection_event("checkout", "first")
    assert dbsight.cache_stats()["double"]["hits"] == 1
    monitor.reset_stats()
    assert dbsight.cache_stats().get("double", {"hits": 0})["hits"] == 0
    assert monitor.get_stats().active_connections == 1


def test_instrumented_queries_are_in_the_statistics_without_being_reported(sqlalchemy, monitor):
    """By kind; pings and connection setup are left out."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a int)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
        connection.execute(text("UPDATE t SET a = 2"))
        connection.execute(text("SELECT a FROM t")).all()
        connection.execute(text("DELETE FROM t"))
        connection.execute(text("SELECT 1")).all()
    stats = dbsight.stats()
    assert (stats.total, stats.select, stats.insert, stats.update, stats.delete, stats.other) == (5, 1, 1, 1, 1, 1)
    assert stats.average_duration_ms > 0
    assert dbsight.metrics()["avg_time"] == pytest.approx(stats.average_duration_ms / 1e3)
    assert dbsight.metrics().keys() >= {"avg_time", "cache_hit_rate"}


def test_statistics_can_be_reset_while_other_threads_record(monitor):
    """What is recorded is in one period or the next: nothing is counted twice, and nothing is lost after the last."""
    seen = []

    def work():
        for _ in range(200):
            monitor.record_query("SELECT a FROM t", 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(monitor.get_stats().total_queries)
        monitor.reset_stats()
    assert max(seen, default=0) <= 8 * 200
    monitor.reset_stats()
    work()
    assert monitor.get_stats().total_queries == 200


def test_a_limit_that_the_program_does_not_choose_leaves_the_environments(process, monkeypatch):
    """And one that it chooses moves the very slow limit with it."""
    monkeypatch.setenv("OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD", "0.2")
    config.reset()
    dbsight.create_performance_monitor()
    assert config.current().slow_query_threshold == 0.2
    dbsight.create_performance_monitor(slow_query_threshold=6)
    assert (config.current().slow_query_threshold, config.current().very_slow_query_threshold) == (6, 6)
    with pytest.raises(ValueError, match="very_slow_query_threshold \\(5 s\\) is below slow_query_threshold \\(9 s\\)"):
        DatabasePerformanceMonitor(PerformanceThresholds(slow_query_threshold=9))


def test_what_makes_no_sense_is_an_error_or_counts_as_nothing(monitor):
    """A callback that cannot be called, a severity that there is not, a negative limit or duration."""
    with pytest.raises(TypeError, match="a callback is a function"):
        monitor.register_alert_callback("print")
    with pytest.raises(ValueError, match="'bad' is not one of info, warning, error"):
        monitor.get_alerts(severity="bad")
    monitor.record_query("SELECT a FROM t", 2.0)
    monitor.record_query("SELECT a FROM t", -2.0)
    assert monitor.get_stats().avg_query_time == 1.0
    assert len(monitor.get_alerts(severity="WARNING")) == 1
    assert monitor.get_alerts(limit=-1) == monitor.get_slow_queries(limit=-1) == []
    assert repr(monitor) == "<DatabasePerformanceMonitor 2 queries, 1 slow>"
