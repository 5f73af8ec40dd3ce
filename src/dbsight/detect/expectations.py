"""What pools are expected to look like for a workload: the profiles that ``dbsight doctor`` compares with."""

from __future__ import annotations

from typing import Final, Literal

from dbsight.model.deferred import record

Workload = Literal["read", "write", "mixed"]
Template = Literal["high-performance", "memory-optimized", "async"]

READ_BELOW: Final = 0.2
"""Share of writes below which a workload counts as reading."""

WRITE_FROM: Final = 0.5
"""Share of writes from which a workload counts as writing."""


@record(frozen=True)
class PoolProfile:
    """Expected values of one pool; None where none is expected.

    Attributes:
        kept: Connections that are kept open.
        most: Connections that may be open.
        timeout: s that a request waits for a connection.
        command_timeout: s that a query may take.
        max_queries: Queries after which a connection is replaced.
        idle: s after which an idle connection is closed.
        age: s after which a connection is replaced.
    """

    kept: int | None = None
    most: int | None = None
    timeout: float | None = None
    command_timeout: float | None = None
    max_queries: int | None = None
    idle: float | None = None
    age: float | None = None


SQL: Final[dict[Workload, PoolProfile]] = {
    "read": PoolProfile(kept=20, most=50, timeout=10.0, command_timeout=30.0),
    "write": PoolProfile(kept=10, most=30, timeout=5.0, command_timeout=60.0),
    "mixed": PoolProfile(kept=15, most=40, timeout=10.0, command_timeout=45.0),
}
"""SQL servers, by what the queries mostly do."""

ELASTICSEARCH: Final[dict[Workload, PoolProfile]] = {
    "read": PoolProfile(most=20, timeout=30.0),
    "write": PoolProfile(most=10, timeout=60.0),
}
"""Connections per node of Elasticsearch: searches, or indexing, which should not refresh after each document."""

TEMPLATES: Final[dict[Template, dict[str, PoolProfile]]] = {
    "high-performance": {
        "sql": PoolProfile(kept=20, most=50, timeout=10.0, max_queries=100_000, idle=600.0),
        "elasticsearch": PoolProfile(most=30),
        "s3": PoolProfile(most=100),
    },
    "memory-optimized": {
        "sql": PoolProfile(kept=5, most=15, idle=300.0),
        "elasticsearch": PoolProfile(most=10),
        "s3": PoolProfile(most=25),
    },
    "async": {"sql": PoolProfile(kept=20, most=30, timeout=30.0, age=3600.0)},
}
"""Whole set-ups, by kind of store; ``async`` is an asynchronous engine of SQLAlchemy that serves requests:
``pool_size=20``, ``max_overflow=10``, recycled hourly.
"""


def workload_of(reads: int, writes: int) -> Workload:
    """What a workload mostly does.

    Args:
        reads: SELECT statements.
        writes: INSERT, UPDATE and DELETE statements.
    """
    share = writes / (reads + writes) if reads + writes else 0.0
    if share < READ_BELOW:
        return "read"
    return "write" if share >= WRITE_FROM else "mixed"
