"""asyncmy, whose cursors are C types that are subclassed."""

import time

import pytest

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
    import asyncio

    async def cancelled():
        await asyncio.wait_for(client.query("SELECT SLEEP(5)"), 0.05)

    with client.telemetry.root(), pytest.raises(asyncio.TimeoutError):
        client.run(cancelled())
    (span,) = [span for span in client.telemetry.spans() if span.kind == "CLIENT"]
    assert "error.type" not in span.attributes
