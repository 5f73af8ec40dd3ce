"""asyncmy, whose cursors are C types that are subclassed."""

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import dbsight
from dbsight.model import Operation
from driver_clients import AsyncMy
from hearing import hearing

cursors = pytest.importorskip("asyncmy.cursors", reason="the driver is not installed")


@pytest.fixture
def client(connect):
    """A client of asyncmy."""
    return connect(AsyncMy)


@pytest.mark.parametrize("name", ["Cursor", "DictCursor", "SSCursor", "SSDictCursor"])
def test_each_kind_of_cursor_is_one_statement(client, name):
    """With its rows; of unbuffered ones without the consumer's time between fetches."""
    kind = getattr(cursors, name)

    async def read():
        async with client.connection.cursor(kind) as cursor:
            assert isinstance(cursor, kind)
            assert type(cursor).__name__ == name
            await cursor.execute("SELECT id, title FROM books ORDER BY id")
            row = await cursor.fetchone()
            time.sleep(0.3)  # noqa: ASYNC251 - the consumer
            return [row, *await cursor.fetchmany(1), *[each async for each in cursor]]

    with hearing(lambda each: each if isinstance(each, Operation) else None) as heard, client.telemetry.root():
        rows = client.run(read())
    assert [row["title"] if "Dict" in name else row[1] for row in rows] == ["one", "two", "three"]
    (span,) = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert span.attributes["db.response.returned_rows"] == 3
    assert [each.duration < 0.3 for each in heard] == [True]


def test_a_cancelled_statement_is_no_error(client):
    """The driver closes its connection; the span ends without an error."""

    async def cancelled():
        await asyncio.wait_for(client.query("SELECT SLEEP(5)"), 0.05)

    with client.telemetry.root(), pytest.raises(asyncio.TimeoutError):
        client.run(cancelled())
    (span,) = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert "error.type" not in span.attributes


def test_below_sqlalchemy_there_is_one_span_per_statement(make_telemetry, mariadb):
    """Buffered and streamed."""
    telemetry = make_telemetry(instrument=False)
    kinds = [dbsight.AsyncmyInstrumentor(), dbsight.SQLAlchemyInstrumentor()]
    for kind in kinds:
        kind.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)

    async def run():
        engine = create_async_engine(mariadb.url("mysql+asyncmy"))
        async with engine.begin() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
            assert [row[0] async for row in await connection.stream(text("SELECT 2"))] == [2]
        await engine.dispose()

    try:
        with telemetry.root():
            asyncio.run(run())
    finally:
        for kind in kinds:
            kind.uninstrument()
    assert len([span for span in telemetry.spans() if span.kind == "CLIENT"]) == 2
