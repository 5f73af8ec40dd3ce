"""Statistics of a program, read from Python: no backend is needed.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python monitor_basic.py

Prints what ran so far:

    26 queries, 0 failed: 26 SELECT, 0 INSERT
    mean … ms, longest … ms, error rate 0.0%

In Jaeger: operation "dbsight.window" with the same queries below it. In Datadog: resource "dbsight.window".
"""

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

import dbsight
from models import Order, fill

monitor = dbsight.create_performance_monitor()
engine = create_engine("sqlite://")
with engine.begin() as connection:
    fill(connection)
monitor.reset_stats()

with Session(engine) as session:
    for order in session.scalars(select(Order)):
        order.customer.name.upper()

stats = monitor.get_stats()
print(
    f"{stats.total_queries} queries, {stats.failed_queries} failed: "
    f"{stats.select_queries} SELECT, {stats.insert_queries} INSERT"
)
longest = max(kind["max_duration"] for kind in monitor.get_query_stats_by_type().values())
print(f"mean {stats.avg_query_time * 1000:.2f} ms, longest {longest * 1000:.2f} ms, error rate {stats.error_rate:.1%}")
