"""psycopg_pool without a framework: workers wait for connections that others hold while they do something else.

    pip install dbsight 'psycopg[binary,pool]'
    export DATABASE_URL=postgresql://postgres@127.0.0.1:5432/shop
    opentelemetry-instrument python psycopg_pool_alone.py           # eight jobs wait for two connections
    opentelemetry-instrument python psycopg_pool_alone.py --fixed   # none waits

In Jaeger: operation dbsight.window, one for each job; the tag dbsight.pool.wait of its SELECT says how long that query
waited. The finding is about the pool and has no span: it is a log event dbsight.finding with rule pool_wait, whose
description names the line below that holds connections.

In Datadog: the same at resource dbsight.window; in Logs, @dbsight.finding.rule:pool_wait. Queries are of type sql.
Prometheus has db_client_connection_wait_time_seconds.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from psycopg_pool import ConnectionPool

JOBS = 8
SLOW = 0.3
"""s of something that needs no database."""


def price(pool: ConnectionPool, number: int) -> int:
    with pool.connection() as connection:  # held until the slow work is done
        (found,) = connection.execute("SELECT 100 + %s", [number]).fetchone()
        time.sleep(SLOW)
    return found


def price_fixed(pool: ConnectionPool, number: int) -> int:
    with pool.connection() as connection:
        (found,) = connection.execute("SELECT 100 + %s", [number]).fetchone()
    time.sleep(SLOW)
    return found


work = price_fixed if "--fixed" in sys.argv else price
with ConnectionPool(os.environ["DATABASE_URL"], min_size=2, max_size=2) as pool:
    pool.wait()
    with ThreadPoolExecutor(JOBS) as workers:
        prices = list(workers.map(lambda number: work(pool, number), range(JOBS)))
print(prices)
