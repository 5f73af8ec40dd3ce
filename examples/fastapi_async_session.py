"""FastAPI and SQLAlchemy's AsyncSession: a page that asks PostgreSQL once for each order.

    pip install dbsight fastapi uvicorn 'sqlalchemy[asyncio]' asyncpg opentelemetry-instrumentation-fastapi
    export DATABASE_URL=postgresql+asyncpg://postgres@127.0.0.1:5432/shop OTEL_SERVICE_NAME=shop
    opentelemetry-instrument uvicorn fastapi_async_session:app --port 8000
    curl http://127.0.0.1:8000/orders         # 1 + 25 queries
    curl http://127.0.0.1:8000/orders/fixed   # 1 query, nothing found

In Jaeger: service shop, operation "GET /orders", tag dbsight.findings.rules. On that span: dbsight.db.calls 26 and the
event dbsight.finding with rule n_plus_one, count 25, and the line below that awaits in the loop. Below it:
"SELECT orders" and 25 times "SELECT customers".

In Datadog: service shop, resource "GET /orders", @dbsight.findings.rules:*n_plus_one*. Queries are spans of type sql.
"""

import contextlib
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload

from models import Customer, Order, fill

engine = create_async_engine(os.environ["DATABASE_URL"])
sessions = async_sessionmaker(engine)


@contextlib.asynccontextmanager
async def filled(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(fill)
    yield
    await engine.dispose()


app = FastAPI(lifespan=filled)


@app.get("/orders")
async def list_orders() -> list[str]:
    lines = []
    async with sessions() as session:
        for order in await session.scalars(select(Order).order_by(Order.id)):
            customer = await session.get_one(Customer, order.customer_id)  # asks once for each order
            lines.append(f"{order.item} for {customer.name}")
    return lines


@app.get("/orders/fixed")
async def list_orders_fixed() -> list[str]:
    async with sessions() as session:
        orders = await session.scalars(select(Order).options(joinedload(Order.customer)).order_by(Order.id))
        return [f"{order.item} for {order.customer.name}" for order in orders]
