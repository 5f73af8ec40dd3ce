"""Thresholds of the application's own: what is slow here is another thing than elsewhere.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python monitor_thresholds.py

They hold in the whole process, as OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD=0.05 in the environment would. Prints:

    slow  0.10 s  SELECT slowly(?)  at monitor_thresholds.py:…
    2 queries, 1 slow, 0 very slow

In Jaeger: the query has the tag dbsight.query.class "slow". In Datadog: @dbsight.query.class:slow.
"""

import time
from pathlib import Path

from sqlalchemy import create_engine, event, text

import dbsight

thresholds = dbsight.PerformanceThresholds(
    slow_query_threshold=0.05,  # s; without it 1.0
    very_slow_query_threshold=1.0,  # s; without it 5.0
    error_rate_threshold=0.01,  # share of queries that fail; without it 0.05
)
monitor = dbsight.DatabasePerformanceMonitor(thresholds)

engine = create_engine("sqlite://")
event.listen(engine, "connect", lambda connection, _: connection.create_function("slowly", 1, time.sleep))
with engine.connect() as connection:
    connection.execute(text("SELECT name FROM sqlite_master")).all()
    connection.execute(text("SELECT slowly(0.1)")).all()

for query in monitor.get_slow_queries():
    print(f"slow  {query.duration:.2f} s  {query.query}  at {Path(query.call_site).name}")
stats = monitor.get_stats()
print(f"{stats.total_queries} queries, {stats.slow_queries} slow, {stats.very_slow_queries} very slow")
