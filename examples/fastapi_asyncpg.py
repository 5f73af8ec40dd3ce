"""FastAPI and asyncpg, no ORM: a page that asks PostgreSQL once for each order.

    pip install dbsight fastapi uvicorn asyncpg opentelemetry-instrumentation-fastapi
    export DATABASE_URL=postgresql://postgres@127.0.0.1:5432/shop OTEL_SERVICE_NAME=shop
    opentelemetry-instrument uvicorn fastapi_asyncpg:app --port 8000
    curl http://127.0.0.1:8000/orders         # 1 + 25 queries
    curl http://127.0.0.1:8000/orders/fixed   # 2 queries, nothing found

In Jaeger: service shop, operation "GET /orders", tag dbsight.findings.rules. On that span: dbsight.db.calls 26 and the
event dbsight.finding with rule n_plus_one, count 25, and the line below that awaits in the loop. The queries are the
spans "SELECT orders" and "SELECT customers".

In Datadog: service shop, resource "GET /orders", @dbsight.findings.rules:*n_plus_one*. Queries are spans of type sql.
"""

import contextlib
import os
from collections.abc import AsyncIterator

import asyncpg
from fastapi import FastAPI

SHOP = """
CREATE TABLE IF NOT EXISTS customers (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY, item text NOT NULL, customer_id integer NOT NULL);
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 25) AS n ON CONFLICT DO NOTHING;
INSERT INTO orders SELECT n, 'book ' || n, n FROM generate_series(1, 25) AS n ON CONFLICT DO NOTHING;
"""


@contextlib.asynccontextmanager
async def pooled(app: FastAPI) -> AsyncIterator[None]:
    """A pool for as long as the application runs; dbsight measures it."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=5) as pool:
        await pool.execute(SHOP)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=pooled)


@app.get("/orders")
async def list_orders() -> list[str]:
    lines = []
    async with app.state.pool.acquire() as connection:
        for order in await connection.fetch("SELECT item, customer_id FROM orders ORDER BY id"):
            name = await connection.fetchval("SELECT name FROM customers WHERE id = $1", order["customer_id"])
            lines.append(f"{order['item']} for {name}")
    return lines


@app.get("/orders/fixed")
async def list_orders_fixed() -> list[str]:
    async with app.state.pool.acquire() as connection:
        orders = await connection.fetch("SELECT item, customer_id FROM orders ORDER BY id")
        wanted = [order["customer_id"] for order in orders]
        customers = await connection.fetch("SELECT id, name FROM customers WHERE id = ANY($1)", wanted)
    names = {customer["id"]: customer["name"] for customer in customers}
    return [f"{order['item']} for {names[order['customer_id']]}" for order in orders]
