"""The blocks of a guide to a database performance monitor; README.md has the table."""

import time
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text

import dbsight
from capabilities.guided import run
from dbsight import AlertSeverity, DatabasePerformanceMonitor, PerformanceThresholds, analyzer, config

BASIC = """
from dbsight import create_performance_monitor

# Create monitor with default settings
monitor = create_performance_monitor(
    slow_query_threshold=1.0,
    enable_recommendations=True
)

# Record query execution
monitor.record_query(
    query="SELECT * FROM users WHERE id = 1",
    duration=0.15,
    rows_affected=1,
    connection_id="conn_123",
    user_id="user_456"
)

# Get performance statistics
stats = monitor.get_stats()
print(f"Total Queries: {stats.total_queries}")
print(f"Slow Queries: {stats.slow_queries}")
print(f"Average Query Time: {stats.avg_query_time:.3f}s")
print(f"Error Rate: {stats.error_rate:.1%}")
"""

CUSTOM_THRESHOLDS = """
from dbsight import DatabasePerformanceMonitor, PerformanceThresholds

# Define custom thresholds
thresholds = PerformanceThresholds(
    slow_query_threshold=0.5,  # 500ms
    very_slow_query_threshold=2.0,  # 2 seconds
    error_rate_threshold=0.1,  # 10%
    connection_pool_usage_threshold=0.8,  # 80%
    avg_query_time_threshold=0.3  # 300ms
)

monitor = DatabasePerformanceMonitor(
    thresholds=thresholds,
    max_slow_queries=100,
    enable_recommendations=True
)
"""

CALLBACKS = '''
def alert_handler(alert):
    """Handle performance alerts"""
    print(f"ALERT [{alert.severity.value}]: {alert.message}")
    print(f"Metric: {alert.metric_name}")
    print(f"Current: {alert.current_value}, Threshold: {alert.threshold_value}")

    # Send to monitoring system
    send_to_slack(alert)
    send_to_pagerduty(alert)

monitor = create_performance_monitor()
monitor.register_alert_callback(alert_handler)
'''

MONITOR = """
monitor = DatabasePerformanceMonitor(
    thresholds=PerformanceThresholds(),
    max_slow_queries=100,
    max_alerts=1000,
    enable_recommendations=True
)
"""

QUERY_TRACKING = """
# Record successful query
monitor.record_query(
    query="SELECT * FROM users WHERE email = ?",
    duration=0.25,
    rows_affected=1,
    connection_id="conn_123",
    user_id="user_456"
)

# Record failed query
monitor.record_query(
    query="SELECT * FROM invalid_table",
    duration=0.1,
    error=Exception("Table does not exist")
)
"""

POOL = """
# Record connection events
monitor.record_connection_event("create", "conn_1")
monitor.record_connection_event("checkout", "conn_1")
monitor.record_connection_event("checkin", "conn_1")
monitor.record_connection_event("error", "conn_2", error=Exception("Connection failed"))

# Update pool metrics
monitor.update_pool_metrics(
    pool_size=10,
    checked_out=7,
    checked_in=3,
    overflow=0
)
"""

STATISTICS = """
stats = monitor.get_stats()

# Query metrics
print(f"Total Queries: {stats.total_queries}")
print(f"Slow Queries: {stats.slow_queries}")
print(f"Failed Queries: {stats.failed_queries}")
print(f"Average Query Time: {stats.avg_query_time:.3f}s")
print(f"Error Rate: {stats.error_rate:.1%}")

# Connection metrics
print(f"Active Connections: {stats.active_connections}")
print(f"Pool Usage: {stats.connection_pool_usage:.1%}")

# Query type breakdown
print(f"SELECT: {stats.select_queries}")
print(f"INSERT: {stats.insert_queries}")
print(f"UPDATE: {stats.update_queries}")
print(f"DELETE: {stats.delete_queries}")
"""

SLOW_QUERIES = """
# Get recent slow queries
slow_queries = monitor.get_slow_queries(limit=10)
for query in slow_queries:
    print(f"Query: {query.query[:100]}")
    print(f"Duration: {query.duration:.2f}s")
    print(f"Type: {query.query_type.value}")
    print(f"Timestamp: {query.timestamp}")

# Get very slow queries
very_slow = monitor.get_very_slow_queries(limit=5)
"""

QUERY_ANALYSIS = """
# Statistics by query type
stats_by_type = monitor.get_query_stats_by_type()
for query_type, stats in stats_by_type.items():
    print(f"{query_type}:")
    print(f"  Count: {stats['count']}")
    print(f"  Avg Duration: {stats['avg_duration']:.3f}s")
    print(f"  Max Duration: {stats['max_duration']:.3f}s")

# Statistics by table
stats_by_table = monitor.get_query_stats_by_table(limit=10)
for table, count in stats_by_table.items():
    print(f"{table}: {count} queries")
"""

ALERTS = """
# Get all alerts
alerts = monitor.get_alerts(limit=100)

# Filter by severity
warning_alerts = monitor.get_alerts(severity=AlertSeverity.WARNING)
error_alerts = monitor.get_alerts(severity=AlertSeverity.ERROR)

# Process alerts
for alert in alerts:
    print(f"[{alert.severity.value}] {alert.message}")
    print(f"Metric: {alert.metric_name}")
    print(f"Value: {alert.current_value} (threshold: {alert.threshold_value})")
"""

RECOMMENDATIONS = """
# Get recommendations
recommendations = monitor.get_recommendations(force_refresh=True)

for rec in recommendations:
    print(f"[{rec.priority.upper()}] {rec.title}")
    print(f"Category: {rec.category}")
    print(f"Description: {rec.description}")
    print(f"Impact: {rec.impact} | Effort: {rec.effort}")

    if rec.details:
        print(f"Details: {rec.details}")
"""

INTEGRATION = """
from dbsight import create_performance_monitor

# Create monitor
monitor = create_performance_monitor()

# Create database manager
db_manager = DatabaseManager()

# Hook into database events
from sqlalchemy import event

@event.listens_for(db_manager.engine, "before_cursor_execute")
def before_query(conn, cursor, statement, parameters, context, executemany):
    context._query_start_time = time.time()
    context._query_statement = statement

@event.listens_for(db_manager.engine, "after_cursor_execute")
def after_query(conn, cursor, statement, parameters, context, executemany):
    if hasattr(context, '_query_start_time'):
        duration = time.time() - context._query_start_time
        monitor.record_query(
            query=statement,
            duration=duration,
            connection_id=str(id(conn))
        )

@event.listens_for(db_manager.engine, "connect")
def on_connect(dbapi_conn, connection_record):
    monitor.record_connection_event("create", str(id(dbapi_conn)))

@event.listens_for(db_manager.engine, "checkout")
def on_checkout(dbapi_conn, connection_record, connection_proxy):
    monitor.record_connection_event("checkout", str(id(dbapi_conn)))

@event.listens_for(db_manager.engine, "checkin")
def on_checkin(dbapi_conn, connection_record):
    monitor.record_connection_event("checkin", str(id(dbapi_conn)))
"""

THRESHOLDS = """
thresholds = PerformanceThresholds(
    slow_query_threshold=1.0,  # Slow query threshold (seconds)
    very_slow_query_threshold=5.0,  # Very slow query threshold
    error_rate_threshold=0.05,  # Maximum acceptable error rate (5%)
    connection_pool_usage_threshold=0.8,  # Pool usage warning (80%)
    avg_query_time_threshold=0.5,  # Average query time warning
    queries_per_second_threshold=100.0,  # QPS warning threshold
    connection_leak_threshold=5,  # Number of leaked connections
    failed_connection_threshold=10  # Failed connection count
)
"""

CONFIGURATION = """
monitor = DatabasePerformanceMonitor(
    thresholds=thresholds,
    max_slow_queries=100,  # Maximum slow queries to track
    max_alerts=1000,  # Maximum alerts to retain
    enable_recommendations=True  # Enable optimization recommendations
)
"""

APPROPRIATE = """
# Development
thresholds = PerformanceThresholds(slow_query_threshold=2.0)

# Production
thresholds = PerformanceThresholds(slow_query_threshold=0.5)
"""

CONTINUOUSLY = """
# Start monitoring at application startup
monitor = create_performance_monitor()

# Register alert handlers
monitor.register_alert_callback(send_to_monitoring_system)

# Periodic health checks
def check_database_health():
    stats = monitor.get_stats()
    if stats.error_rate > 0.05:
        alert_ops_team()
"""

REVIEW = """
# Daily recommendation review
recommendations = monitor.get_recommendations(force_refresh=True)
for rec in recommendations:
    if rec.priority == "high":
        create_jira_ticket(rec)
"""

TRENDS = """
# Export metrics for trending
stats = monitor.get_stats()
metrics_db.store({
    'timestamp': datetime.utcnow(),
    'total_queries': stats.total_queries,
    'avg_query_time': stats.avg_query_time,
    'error_rate': stats.error_rate,
    'pool_usage': stats.connection_pool_usage
})
"""

RESET = """
# Reset daily stats
if datetime.utcnow().hour == 0:
    monitor.reset_stats()
"""


@pytest.fixture
def monitor(process):
    """A monitor with the default thresholds."""
    return dbsight.create_performance_monitor()


class Now(SimpleNamespace):
    """A clock that stands still at midnight."""

    @staticmethod
    def utcnow():
        return SimpleNamespace(hour=0)


def test_basic_usage(process, capsys):
    """One query, seen at once."""
    run(BASIC)
    assert capsys.readouterr().out == (
        "Total Queries: 1\nSlow Queries: 0\nAverage Query Time: 0.150s\nError Rate: 0.0%\n"
    )


def test_custom_thresholds_and_configurations_take_effect(process):
    """In the process; those that are not given keep their defaults."""
    names = run(CUSTOM_THRESHOLDS)
    assert isinstance(names["monitor"], DatabasePerformanceMonitor)
    assert (config.current().slow_query_threshold, config.current().pool_usage_threshold) == (0.5, 0.8)
    assert (config.current().avg_query_time_threshold, config.current().failed_connection_threshold) == (0.3, 10)
    names = run(THRESHOLDS, PerformanceThresholds=PerformanceThresholds)
    assert names["thresholds"] == PerformanceThresholds()
    run(CONFIGURATION, DatabasePerformanceMonitor=DatabasePerformanceMonitor, thresholds=names["thresholds"])
    assert (config.current().slow_query_threshold, config.current().max_alerts) == (1.0, 1000)
    names = run(APPROPRIATE, PerformanceThresholds=PerformanceThresholds)
    assert names["thresholds"].slow_query_threshold == 0.5


def test_alert_callbacks(process, capsys):
    """Called in a thread of their own, with what the alert says."""
    sent = []
    names = run(
        CALLBACKS,
        create_performance_monitor=dbsight.create_performance_monitor,
        send_to_slack=sent.append,
        send_to_pagerduty=sent.append,
    )
    names["monitor"].record_query("SELECT a FROM t", 2.0)
    names["monitor"].get_alerts()
    assert analyzer.on_alert.wait(10)
    assert [each.metric_name for each in sent] == ["query_duration"] * 2
    assert capsys.readouterr().out == (
        "ALERT [warning]: SELECT t took 2.000 s (threshold 1 s)\nMetric: query_duration\nCurrent: 2.0, Threshold: 1.0\n"
    )


def test_monitor_queries_pool_and_statistics(process, capsys):
    """The components, one after the other on one monitor."""
    names = run(
        MONITOR, DatabasePerformanceMonitor=DatabasePerformanceMonitor, PerformanceThresholds=PerformanceThresholds
    )
    monitor = names["monitor"]
    run(QUERY_TRACKING, monitor=monitor)
    run(STATISTICS, monitor=monitor)
    assert capsys.readouterr().out == (
        "Total Queries: 2\nSlow Queries: 0\nFailed Queries: 1\nAverage Query Time: 0.175s\nError Rate: 50.0%\n"
        "Active Connections: 0\nPool Usage: 0.0%\nSELECT: 2\nINSERT: 0\nUPDATE: 0\nDELETE: 0\n"
    )
    run(POOL, monitor=monitor)
    stats = monitor.get_stats()
    assert (stats.active_connections, stats.connection_pool_usage) == (7, 0.7)


def test_slow_query_analysis_and_query_analysis(monitor, capsys):
    """Newest first, by type and by table."""
    monitor.record_query("SELECT a FROM t WHERE b = 1", 2.0)
    monitor.record_query("UPDATE t SET a = 1", 6.0)
    names = run(SLOW_QUERIES, monitor=monitor)
    assert [each.duration for each in names["very_slow"]] == [6.0]
    printed = capsys.readouterr().out
    assert printed.startswith("Query: UPDATE t SET a = ?\nDuration: 6.00s\nType: update\nTimestamp: ")
    assert "Query: SELECT a FROM t WHERE b = ?\nDuration: 2.00s\nType: select\n" in printed
    run(QUERY_ANALYSIS, monitor=monitor)
    printed = capsys.readouterr().out
    assert "select:\n  Count: 1\n  Avg Duration: 2.000s\n  Max Duration: 2.000s\n" in printed
    assert printed.endswith("t: 2 queries\n")


def test_performance_alerts(monitor, capsys):
    """By severity."""
    monitor.record_query("SELECT a FROM t", 2.0)
    monitor.record_query("SELECT a FROM t", 6.0)
    names = run(ALERTS, monitor=monitor, AlertSeverity=AlertSeverity)
    assert [each.current_value for each in names["warning_alerts"]] == [2.0]
    assert [each.current_value for each in names["error_alerts"]] == [6.0]
    printed = capsys.readouterr().out
    assert (
        "[error] SELECT t took 6.000 s (threshold 5 s)\nMetric: query_duration\nValue: 6.0 (threshold: 5.0)\n"
        in printed
    )


def test_optimization_recommendations_and_their_review(monitor, capsys):
    """All with their fields; tickets for what is urgent."""
    monitor.record_query("SELECT a FROM t WHERE b = 1", 7.0)
    run(RECOMMENDATIONS, monitor=monitor)
    printed = capsys.readouterr().out
    assert printed.startswith("[HIGH] ")
    assert "Category: query\nDescription: " in printed
    assert "Details: {" in printed
    tickets = []
    run(REVIEW, monitor=monitor, create_jira_ticket=tickets.append)
    assert [each.priority for each in tickets] == ["high"]


def test_integration_with_events_of_sqlalchemy(process):
    """Without any instrumentation: what the hooks report is counted, connections too."""
    engine = create_engine("sqlite://")
    names = run(INTEGRATION, DatabaseManager=lambda: SimpleNamespace(engine=engine), time=time)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS one FROM sqlite_master"))
        stats = names["monitor"].get_stats()
    assert (stats.total_queries, stats.select_queries, stats.active_connections) == (1, 1, 1)
    assert names["monitor"].get_stats().active_connections == 0
    engine.dispose()


def test_monitor_continuously(process):
    """A check of the error rate."""
    alerted = []
    names = run(
        CONTINUOUSLY,
        create_performance_monitor=dbsight.create_performance_monitor,
        send_to_monitoring_system=alerted.append,
        alert_ops_team=lambda: alerted.append("team"),
    )
    names["check_database_health"]()
    assert alerted == []
    names["monitor"].record_query("SELECT a FROM t", 0.1, error=ValueError())
    names["check_database_health"]()
    assert alerted == ["team"]


def test_trends_and_the_daily_reset(monitor):
    """Four numbers to store; at midnight they are zero again."""
    monitor.record_query("SELECT a FROM t", 0.5)
    stored = []
    run(TRENDS, monitor=monitor, metrics_db=SimpleNamespace(store=stored.append), datetime=Now)
    (row,) = stored
    del row["timestamp"]
    assert row == {"total_queries": 1, "avg_query_time": 0.5, "error_rate": 0.0, "pool_usage": 0.0}
    run(RESET, monitor=monitor, datetime=Now)
    assert monitor.get_stats().total_queries == 0
