"""FastAPI and SQLModel: a page that asks PostgreSQL once for each order.

    pip install dbsight fastapi uvicorn sqlmodel 'psycopg[binary]' opentelemetry-instrumentation-fastapi
    export DATABASE_URL=postgresql+psycopg://postgres@127.0.0.1:5432/shop OTEL_SERVICE_NAME=shop
    opentelemetry-instrument uvicorn fastapi_sqlmodel:app --port 8000
    curl http://127.0.0.1:8000/orders         # 1 + 25 queries
    curl http://127.0.0.1:8000/orders/fixed   # 1 query, nothing found

In Jaeger: service shop, operation "GET /orders", tag dbsight.findings.rules. On that span: dbsight.db.calls 26 and the
event dbsight.finding with rule n_plus_one, count 25, the line below that reads order.customer, and the suggestion
select(Order).options(joinedload(Order.customer)). Below it: "SELECT orders" and 25 times "SELECT customers".

In Datadog: service shop, resource "GET /orders", @dbsight.findings.rules:*n_plus_one*. Queries are spans of type sql.
"""

import os

from fastapi import FastAPI
from sqlalchemy.orm import joinedload
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine, select


class Customer(SQLModel, table=True):
    """Who buys."""

    __tablename__ = "customers"
    id: int | None = Field(default=None, primary_key=True)
    name: str


class Order(SQLModel, table=True):
    """What was bought."""

    __tablename__ = "orders"
    id: int | None = Field(default=None, primary_key=True)
    item: str
    customer_id: int = Field(foreign_key="customers.id")
    customer: Customer = Relationship()


app = FastAPI()
engine = create_engine(os.environ["DATABASE_URL"])
SQLModel.metadata.create_all(engine)
with Session(engine) as session:
    if session.exec(select(Order)).first() is None:
        session.add_all(Order(item=f"book {n}", customer=Customer(name=f"customer {n}")) for n in range(1, 26))
        session.commit()


@app.get("/orders")
def list_orders() -> list[str]:
    lines = []
    with Session(engine) as session:
        for order in session.exec(select(Order).order_by(Order.id)):
            lines.append(f"{order.item} for {order.customer.name}")  # noqa: PERF401 - asks once for each order
    return lines


@app.get("/orders/fixed")
def list_orders_fixed() -> list[str]:
    with Session(engine) as session:
        orders = session.exec(select(Order).options(joinedload(Order.customer)).order_by(Order.id))
        return [f"{order.item} for {order.customer.name}" for order in orders]
