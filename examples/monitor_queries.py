"""Queries by type, by table, and those of one block of code.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python monitor_queries.py

Prints the totals of the process, and the profile of a page with its N+1:

    select: 26, mean … ms
    customers: 25
    orders: 1
    26 queries, … ms in the database, … ms on average
    …
      fix  select(Order).options(joinedload(Order.customer))

In Jaeger: operation "dbsight.profile" inside "dbsight.window", with the event dbsight.finding. In Datadog: resource
"dbsight.window", @dbsight.findings.rules:*n_plus_one*.
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

with dbsight.profile(analyze=True) as page, Session(engine) as session:
    for order in session.scalars(select(Order)):
        order.customer.name.upper()

for kind, totals in monitor.get_query_stats_by_type().items():
    print(f"{kind}: {totals['count']}, mean {totals['avg_duration'] * 1000:.2f} ms")
for table, queries in monitor.get_query_stats_by_table(limit=5).items():
    print(f"{table}: {queries}")
print(page.summary())
