"""Connection pools, as they are now: those that are instrumented, and one that nothing instruments.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python monitor_pools.py

Prints the pool of SQLAlchemy while three threads ask for two connections, and a pool that the application reports:

    :memory:: 2 of 2 connections in use, 0 idle, 1 waiting
    application: 7 of 10 connections in use, 3 idle, 0 waiting
    fullest pool: 100%

In Prometheus: db_client_connection_count, db_client_connection_pending_requests. In Datadog: the same as metrics.
"""

import threading
import time

from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

import dbsight

monitor = dbsight.create_performance_monitor()
engine = create_engine(
    "sqlite://", poolclass=QueuePool, pool_size=2, max_overflow=0, connect_args={"check_same_thread": False}
)


def work() -> None:
    with engine.connect():
        enough.wait(10)


enough = threading.Event()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
while [(pool["active"], pool["waiting"]) for pool in dbsight.pool_stats().values()] != [(2, 1)]:
    time.sleep(0.01)

monitor.update_pool_metrics(pool_size=10, checked_out=7, checked_in=3)
for name, pool in dbsight.pool_stats().items():
    print(
        f"{name}: {pool['active']} of {pool['max']} connections in use, {pool['idle']} idle, {pool['waiting']} waiting"
    )
print(f"fullest pool: {monitor.get_stats().connection_pool_usage:.0%}")
enough.set()
for thread in threads:
    thread.join()
