"""Rows written one at a time, and the same rows at once.

    pip install dbsight sqlalchemy
    opentelemetry-instrument python bulk_insert.py

DATABASE_URL says where; without it the rows go to SQLite in memory. Prints rows per second, slowest way first:

    a statement a row    …
    executemany          …
    one INSERT           …

In Jaeger: operation "dbsight.window", tag dbsight.findings.rules. Its event dbsight.finding has rule row_by_row_write,
count 1000, and the line of the loop below; the other two ways are not mentioned. In Datadog: resource
"dbsight.window", @dbsight.findings.rules:*row_by_row_write*.
"""

import os
import time
from collections.abc import Callable

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, create_engine

ROWS = [{"name": f"event {number}"} for number in range(1000)]

metadata = MetaData()
events = Table("events", metadata, Column("id", Integer, primary_key=True), Column("name", String(40)))


def row_by_row(connection: Connection) -> None:
    for row in ROWS:
        connection.execute(events.insert().values(row))


def executemany(connection: Connection) -> None:
    connection.execute(events.insert(), ROWS)


def one_insert(connection: Connection) -> None:
    connection.execute(events.insert().values(ROWS))


def measured(way: Callable[[Connection], None], connection: Connection) -> float:
    """Rows per second."""
    began = time.perf_counter()
    way(connection)
    return len(ROWS) / (time.perf_counter() - began)


engine = create_engine(os.environ.get("DATABASE_URL", "sqlite://"))
with engine.begin() as connection:
    metadata.drop_all(connection)
    metadata.create_all(connection)
    for title, way in (
        ("a statement a row", row_by_row),
        ("executemany", executemany),
        ("one INSERT", one_insert),
    ):
        print(f"{title:<20} {measured(way, connection):12,.0f} rows/s")
