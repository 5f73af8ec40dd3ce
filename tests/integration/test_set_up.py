"""What sets a connection up is no query of the request, and what a stream fetches is one query: beside other spans."""

import asyncio
import contextlib

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine

from dbsight import semconv
from dbsight.config import Settings
from dbsight.instrument.pools.asyncpg import AsyncpgPoolInstrumentor
from dbsight.instrument.pools.psycopg import PsycopgPoolInstrumentor

UPSTREAM = {
    "sqlite": SQLite3Instrumentor,
    "sqlite+aiosqlite": SQLite3Instrumentor,
    "postgresql+psycopg": PsycopgInstrumentor,
    "postgresql+asyncpg": AsyncPGInstrumentor,
}


@contextlib.contextmanager
def instrumented(instrumentor, **options):
    """An instrumentor, for the time of a block."""
    instrumentor.instrument(skip_dep_check=True, **options)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def calls(telemetry):
    """``dbsight.db.calls`` of the root."""
    (root,) = telemetry.spans("GET /")
    return root.attributes.get(semconv.DB_CALLS, 0)


def set_up(driver):
    """What an application sends when a connection is made."""

    def send(dbapi_connection, record):
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON" if "sqlite" in driver else "SET statement_timeout = 60000")
        cursor.close()

    return send


@pytest.mark.parametrize("suppressed", [True, False], ids=["suppressed", "driver-spans"])
@pytest.mark.parametrize("driver", UPSTREAM)
def test_a_connect_listener_is_no_query(make_telemetry, postgresql, tmp_path, driver, suppressed):
    """Whoever made its span: the request counts the queries after it."""
    telemetry = make_telemetry(settings=Settings(suppress_driver_spans=suppressed))
    url = f"{driver}:///{tmp_path / 'shop.db'}" if "sqlite" in driver else postgresql.url(driver)
    with instrumented(UPSTREAM[driver](), tracer_provider=telemetry.tracer_provider):
        if "async" in driver or "aio" in driver:

            async def work():
                engine = create_async_engine(url)
                event.listen(engine.sync_engine, "connect", set_up(driver))
                with telemetry.root("GET /"):
                    async with engine.connect() as connection:
                        await connection.execute(text("SELECT 1"))
                await engine.dispose()

            asyncio.run(work())
        else:
            engine = sqlalchemy.create_engine(url)
            event.listen(engine, "connect", set_up(driver))
            with telemetry.root("GET /"), engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            engine.dispose()
    assert calls(telemetry) == 1, [span.name for span in telemetry.spans()]


def test_what_pools_send_to_set_up_a_connection_is_no_query(make_telemetry, postgresql):
    """``configure`` of psycopg_pool and ``init`` of asyncpg, beside the spans of their drivers."""
    telemetry = make_telemetry()
    options = {"tracer_provider": telemetry.tracer_provider}

    def configure(connection):
        connection.execute("SET statement_timeout = 60000")
        connection.commit()

    with (
        instrumented(PsycopgInstrumentor(), **options),
        instrumented(PsycopgPoolInstrumentor()),
        telemetry.root("GET /"),
        psycopg_pool.NullConnectionPool(postgresql.url(), configure=configure) as pool,
        pool.connection() as connection,
    ):
        connection.execute("SELECT 1")
    assert calls(telemetry) == 1, [span.name for span in telemetry.spans()]
    telemetry.clear()

    async def init(connection):
        await connection.execute("SET statement_timeout = 60000")

    async def work():
        async with asyncpg.create_pool(postgresql.url(), min_size=0, max_size=1, init=init) as pool:
            with telemetry.root("GET /"):
                connection = await pool.acquire()
                await connection.fetchval("SELECT 1")
            await pool.release(connection)  # which sends something too

    with instrumented(AsyncPGInstrumentor(), **options), instrumented(AsyncpgPoolInstrumentor()):
        asyncio.run(work())
    assert calls(telemetry) == 1, [span.name for span in telemetry.spans()]


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg", "sqlite+aiosqlite"])
@pytest.mark.parametrize("way", ["iterate", "partitions", "all", "given-up"])
def test_a_stream_is_one_query(make_telemetry, postgresql, tmp_path, driver, way):
    """2 000 rows, in however many fetches: one span with all its rows."""
    telemetry = make_telemetry()
    url = f"{driver}:///{tmp_path / 'shop.db'}" if "sqlite" in driver else postgresql.url(driver)
    query = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n")

    async def work():
        engine = create_async_engine(url)
        async with engine.connect():
            pass
        with telemetry.root("GET /"):
            async with engine.connect() as connection:
                result = await connection.stream(query)
                if way == "iterate":
                    assert len([row async for row in result]) == 2000
                elif way == "partitions":
                    assert sum([len(part) async for part in result.partitions(300)]) == 2000
                elif way == "all":
                    assert len(await result.all()) == 2000
                else:
                    assert (await result.fetchone())[0] == 1
                    await result.close()
        await engine.dispose()

    with instrumented(UPSTREAM[driver]() if driver in UPSTREAM else None, tracer_provider=telemetry.tracer_provider):
        asyncio.run(work())
    spans = [span for span in telemetry.spans() if span.name not in {"GET /", "connect"}]
    assert (len(spans), calls(telemetry)) == (1, 1), [span.name for span in spans]
    if way != "given-up":
        assert spans[0].attributes[semconv.DB_RESPONSE_RETURNED_ROWS] == 2000
