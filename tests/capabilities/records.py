"""A store of records in the style of the guides, asynchronous, on top of SQLAlchemy."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

metadata = MetaData()
table = Table(
    "records",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("data", String(80)),
    Column("created_at", String(20)),
)


class Record(dict):
    """One record."""


@dataclass
class StreamConfig:
    """How records are streamed."""

    batch_size: int = 100
    parallel: bool = False
    buffer_size: int = 0


class Query:
    """Which records to search; all, by default."""

    def __init__(self):
        self.most = None

    def limit(self, most):
        self.most = most
        return self

    def to_dict(self):
        return {"limit": self.most}


class Database:
    """Records in a SQLite file; every task has a connection of its own."""

    def __init__(self, path):
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{path}", poolclass=NullPool)

    async def made(self):
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        return self

    async def _write(self, statement, rows=None):
        async with self.engine.begin() as connection:
            return await connection.execute(statement, rows)

    async def _read(self, statement):
        async with self.engine.connect() as connection:
            return (await connection.execute(statement)).all()

    async def create(self, record):
        return (await self._write(insert(table).values(data=json.dumps(record)))).inserted_primary_key[0]

    async def create_batch(self, records):
        await self._write(insert(table), [{"data": json.dumps(record)} for record in records])
        return list(range(1, len(records) + 1))

    async def stream_write(self, generator, config):
        batch, written = [], 0
        async for record in generator:
            batch.append(record)
            if len(batch) == config.batch_size:
                await self.create_batch(batch)
                written, batch = written + len(batch), []
        return SimpleNamespace(written=written)

    async def stream_read(self, query=None, config=None):
        async with self.engine.connect() as connection:
            async for row in await connection.stream(select(table)):
                yield Record(json.loads(row.data), id=row.id)

    async def read(self, id):  # noqa: A002 - its name in the guide
        return (await self._read(select(table).where(table.c.id == int(id))))[0]

    async def read_batch(self, ids):
        return await self._read(select(table).where(table.c.id.in_(ids[:500])))

    async def search(self, query):
        return await self._read(select(table).limit(query.most))

    async def execute_query(self, query, parameter):
        async with self.engine.connect() as connection:
            return (await connection.exec_driver_sql(query, {"1": parameter})).all()

    async def clear(self):
        await self._write(delete(table))

    async def close(self):
        await self.engine.dispose()
