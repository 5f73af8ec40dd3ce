"""Cursors and schemas of PostgreSQL."""

import asyncio

import asyncpg
import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from sqlalchemy import create_engine, text

from integration.detect.conftest import Watch


@pytest.fixture
def asyncpg_watch(postgresql, make_telemetry):
    """A ``Watch`` whose driver is instrumented by OpenTelemetry, with its parameters, and by nobody else."""
    telemetry = make_telemetry(instrument=False)
    instrumentor = AsyncPGInstrumentor(capture_parameters=True)
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider)
    yield Watch(None, telemetry)
    instrumentor.uninstrument()


def test_leaves_alone_the_fetches_of_one_cursor(asyncpg_watch, postgresql):
    """A cursor that is read row by row executes one statement; a cursor for each of twenty parents executes twenty."""
    query = "SELECT n FROM generate_series(1, 40) AS rows(n) WHERE n <> $1"

    async def read(connection, number):
        async with connection.transaction():
            cursor = await connection.cursor(query, number)
            while await cursor.fetchrow():
                pass

    async def work(*numbers):
        connection = await asyncpg.connect(postgresql.url("postgresql"))
        with asyncpg_watch.telemetry.root():
            for number in numbers:
                await read(connection, number)
            async with connection.transaction():
                async for _ in connection.cursor(query, 0, prefetch=10):
                    pass
        await connection.close()

    asyncio.run(work(1))
    assert asyncpg_watch.findings() == []
    asyncio.run(work(*range(1, 21)))
    (found,) = asyncpg_watch.findings()
    assert (found.rule, found.count) == ("n_plus_one", 20)


def test_leaves_alone_one_statement_per_schema(postgresql, make_telemetry):
    """The same text means another table each time; in one schema it is a loop."""
    engine = create_engine(postgresql.url("postgresql+psycopg"))
    with engine.begin() as connection:
        for number in range(8):
            connection.execute(text(f"CREATE SCHEMA tenant_{number}"))
            connection.execute(text(f"CREATE TABLE tenant_{number}.settings (id INTEGER, name TEXT)"))
    watch = Watch(engine, make_telemetry())

    def each_tenant(session):
        for number in range(8):
            session.execute(text(f"SET search_path TO tenant_{number}"))
            session.execute(text("SELECT name FROM settings WHERE id = :id"), {"id": number}).all()

    def one_tenant(session):
        for number in range(8):
            session.execute(text("SET search_path TO tenant_1"))
            session.execute(text("SELECT name FROM settings WHERE id = :id"), {"id": number}).all()

    def set_by_function(session):
        for number in range(8):
            query = text("SELECT set_config('search_path', :name, false)")
            session.execute(query, {"name": f"tenant_{number}"})
            session.execute(text("SELECT name FROM settings WHERE id = :id"), {"id": number}).all()

    assert watch(each_tenant) == []
    assert watch(set_by_function) == []
    assert [(found.rule, found.count) for found in watch(one_tenant)] == [("n_plus_one", 8)]
    engine.dispose()
