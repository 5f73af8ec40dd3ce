"""Alerts: a function of the application's own is called when a threshold is crossed.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python monitor_alerts.py

The function runs in a thread of its own: one that is slow or raises delays no query. Prints:

    [warning] query_duration: SELECT took 0.100 s (threshold 0.05 s)
    [error] error_rate: 48.8% of 41 queries failed (threshold 5.0%)

In Logs, of any backend: the event dbsight.alert, and the metric dbsight.alerts.
"""

import contextlib
import queue
import time

from sqlalchemy import create_engine, event, exc, text

import dbsight

alerts: queue.Queue[dbsight.Alert] = queue.Queue()
monitor = dbsight.create_performance_monitor(slow_query_threshold=0.05)
monitor.register_alert_callback(alerts.put)

engine = create_engine("sqlite://")
event.listen(engine, "connect", lambda connection, _: connection.create_function("slowly", 1, time.sleep))
with engine.connect() as connection:
    connection.execute(text("SELECT slowly(0.1)")).all()
    for _ in range(20):
        connection.execute(text("SELECT name FROM sqlite_master")).all()
        with contextlib.suppress(exc.OperationalError):
            connection.execute(text("SELECT name FROM nowhere"))

monitor.get_alerts()  # looks now; without it dbsight looks every few seconds
for _ in range(2):
    alert = alerts.get(timeout=10)
    print(f"[{alert.severity.value}] {alert.metric_name}: {alert.message}")
