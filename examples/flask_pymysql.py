"""Flask, SQLAlchemy and PyMySQL: a page that asks MariaDB or MySQL once for each order.

    pip install dbsight flask sqlalchemy pymysql opentelemetry-instrumentation-flask
    export DATABASE_URL=mysql+pymysql://root@127.0.0.1:3306/shop OTEL_SERVICE_NAME=shop
    opentelemetry-instrument flask --app flask_pymysql run --port 8000
    curl http://127.0.0.1:8000/orders         # 1 + 25 queries
    curl http://127.0.0.1:8000/orders/fixed   # 1 query, nothing found

In Jaeger: service shop, operation "GET /orders", tag dbsight.findings.rules. On that span: dbsight.db.calls 26 and the
event dbsight.finding with rule n_plus_one, count 25, the line below that reads order.customer, and the suggestion
select(Order).options(joinedload(Order.customer)). Below it: "SELECT orders" and 25 times "SELECT customers".

In Datadog: service shop, resource "GET /orders", @dbsight.findings.rules:*n_plus_one*. Queries are spans of type sql.
"""

import os

from flask import Flask
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, joinedload

from models import Order, fill

app = Flask(__name__)
engine = create_engine(os.environ["DATABASE_URL"])
with engine.begin() as connection:
    fill(connection)


@app.get("/orders")
def list_orders() -> list[str]:
    lines = []
    with Session(engine) as session:
        for order in session.scalars(select(Order)):
            lines.append(f"{order.item} for {order.customer.name}")  # noqa: PERF401 - asks once for each order
    return lines


@app.get("/orders/fixed")
def list_orders_fixed() -> list[str]:
    with Session(engine) as session:
        orders = session.scalars(select(Order).options(joinedload(Order.customer)))
        return [f"{order.item} for {order.customer.name}" for order in orders]
