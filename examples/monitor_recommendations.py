"""What to change first, ranked by the time that it saves.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python monitor_recommendations.py

Prints each recommendation with its fix; the same fault has the same id in every run:

    [HIGH] Order.customer is loaded one row at a time  (id n1-…)
      select(Order).options(joinedload(Order.customer))

In Jaeger: operation "GET /orders" with the event dbsight.finding. In Datadog: resource "GET /orders",
@dbsight.findings.rules:*n_plus_one*.
"""

from opentelemetry import trace
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

import dbsight
from models import Order, fill

monitor = dbsight.create_performance_monitor()
engine = create_engine("sqlite://")
with engine.begin() as connection:
    fill(connection)

# A web framework's instrumentation opens this span for each request.
with trace.get_tracer("shop").start_as_current_span("GET /orders"), Session(engine) as session:
    for order in session.scalars(select(Order)):
        order.customer.name.upper()

for each in monitor.get_recommendations(force_refresh=True):
    print(f"[{each.priority.upper()}] {each.title}  (id {each.id})")
    print(f"  {each.details['suggestion']}")
