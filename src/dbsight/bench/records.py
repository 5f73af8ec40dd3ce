"""How fast a database writes, reads and searches: one table of our own, by each way to write it."""

from __future__ import annotations

import itertools
import random
import uuid
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight.bench.observed import Observed, finish, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_READS: Final = 100
_BATCHES: Final = (100, 500)
_WORDS: Final = ("red", "green", "blue", "round", "square", "small", "large", "new", "old", "used")


@dataclass(frozen=True, slots=True)
class RecordsResult:
    """One way to work with the table.

    Attributes:
        name: ``row by row``, ``batches of 100`` …
        records: Records written, or operations.
        seconds: s by the wall clock.
        per_second: Records per second.
        queries: Statements or commands that were sent, as dbsight observed them.
        database_seconds: s in the database, as dbsight observed them.
    """

    name: str
    records: int
    seconds: float
    per_second: float
    queries: int
    database_seconds: float


def measure_records(url: str, records: int = 1000, keyspace: int = 100) -> list[RecordsResult]:
    """Write, read and search records on a database; its table, or its keys, are removed afterwards.

    Args:
        url: Of SQLAlchemy (SQLite, PostgreSQL, MySQL, MariaDB), or ``redis://``.
        records: To write by each way.
        keyspace: Records among which reads are chosen.

    Raises:
        ValueError: A number is not above zero.
        ImportError: The library that the URL needs is not installed.
    """
    if records < 1 or keyspace < 1:
        raise ValueError("records and keyspace are numbers above zero")
    prepare()
    redis = url.startswith(("redis://", "rediss://", "unix://"))
    ways = _redis(url, records, keyspace) if redis else _sql(url, records, keyspace)
    return [_measured(*way) for way in ways]


def _measured(name: str, number: int, work: Callable[[], object]) -> RecordsResult:
    observed = Observed()
    observed.begin()
    began = perf_counter()
    try:
        work()
        seconds = perf_counter() - began
        finish()
    finally:
        observed.end()
    return RecordsResult(name, number, seconds, number / seconds, observed.queries, observed.seconds)


def _rows(records: int, first: int = 0) -> Iterator[dict[str, Any]]:
    chance = random.Random(first)  # noqa: S311 - the same rows each time
    for number in range(first, first + records):
        yield {"id": number, "name": f"record {number}", "words": " ".join(chance.choices(_WORDS, k=5))}


def _in_batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, size)):
        yield batch


def _sql(url: str, records: int, keyspace: int) -> Iterator[tuple[str, int, Callable[[], object]]]:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    table = sa.Table(
        f"dbsight_bench_{uuid.uuid4().hex[:8]}",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("words", sa.String(200), nullable=False),
    )
    table.metadata.create_all(engine)
    insert = table.insert()

    def one_by_one(rows: list[dict[str, Any]]) -> None:
        with engine.begin() as connection:
            for row in rows:
                connection.execute(insert, row)

    def batches(rows: list[dict[str, Any]], size: int) -> None:
        with engine.begin() as connection:
            for batch in _in_batches(rows, size):
                connection.execute(insert, batch)

    def stream(rows: Iterable[dict[str, Any]]) -> None:
        for batch in _in_batches(rows, _BATCHES[-1]):  # committed batch by batch, never all in memory
            with engine.begin() as connection:
                connection.execute(insert, batch)

    def read() -> None:
        chance = random.Random(1)  # noqa: S311 - the same rows each time
        with engine.connect() as connection:
            for _ in range(records):
                number = chance.randrange(min(keyspace, records))
                connection.execute(sa.select(table).where(table.c.id == number)).one()

    def search() -> None:
        with engine.connect() as connection:
            for word in itertools.islice(itertools.cycle(_WORDS), _READS):
                connection.execute(sa.select(table.c.id).where(table.c.words.contains(word)).limit(10)).all()

    try:
        starts = itertools.count(0, records)
        rows = list(_rows(records, next(starts)))
        yield "row by row", records, lambda: one_by_one(rows)
        for size in _BATCHES:
            rows = list(_rows(records, next(starts)))
            yield f"batches of {size}", records, lambda size=size, rows=rows: batches(rows, size)  # type: ignore[misc]
        yield f"stream, {_BATCHES[-1]} at a time", records, lambda: stream(_rows(records, next(starts)))
        yield "read by key", records, read
        yield "search in text", _READS, search
    finally:
        table.metadata.drop_all(engine)
        engine.dispose()


def _redis(url: str, records: int, keyspace: int) -> Iterator[tuple[str, int, Callable[[], object]]]:
    import redis

    client: Any = redis.Redis.from_url(url)
    prefix = f"dbsight:bench:{uuid.uuid4().hex[:8]}"

    def one_by_one() -> None:
        for row in _rows(records):
            client.set(f"{prefix}:{row['id']}", row["words"])

    def pipelined(size: int) -> None:
        for batch in _in_batches(_rows(records), size):
            with client.pipeline(transaction=False) as pipeline:
                for row in batch:
                    pipeline.set(f"{prefix}:{row['id']}", row["words"])
                pipeline.execute()

    def read() -> None:
        chance = random.Random(1)  # noqa: S311 - the same keys each time
        for _ in range(records):
            client.get(f"{prefix}:{chance.randrange(min(keyspace, records))}")

    def search() -> None:
        for _ in client.scan_iter(match=f"{prefix}:*1", count=1000):
            pass

    try:
        yield "one by one", records, one_by_one
        for size in _BATCHES:
            yield f"pipelines of {size}", records, lambda size=size: pipelined(size)  # type: ignore[misc]
        yield "read by key", records, read
        yield "scan for a pattern", 1, search
    finally:
        for batch in _in_batches(_rows(records), 1000):
            client.delete(*(f"{prefix}:{row['id']}" for row in batch))
        client.close()
