"""valkey-py, which is redis-py by other names."""

import asyncio

import pytest

import dbsight

valkey = pytest.importorskip("valkey")


@pytest.fixture
def watched(make_telemetry):
    """A ``telemetry.Telemetry`` with valkey-py instrumented."""
    telemetry = make_telemetry(instrument=False)
    instrumentor = dbsight.ValkeyInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    yield telemetry
    instrumentor.uninstrument()


def test_commands_and_pipelines_are_spans(redis_server, watched):
    """Sync and async, named and attributed as Redis's are, under their own system."""

    async def ask():
        async with valkey.asyncio.Valkey(host=redis_server.host, port=redis_server.port) as client:
            await client.get("user:1")
            await client.pipeline().get("user:2").get("user:3").execute()

    with watched.root():
        with valkey.Valkey(host=redis_server.host, port=redis_server.port) as client:
            client.set("user:1", "secret")
            client.pipeline(transaction=False).get("user:2").get("user:3").execute()
        asyncio.run(ask())
    spans = [span for span in watched.spans() if span.kind == "CLIENT"]
    assert [span.name for span in spans] == ["SET user:{}", "PIPELINE GET", "GET user:{}", "MULTI GET"]
    assert {span.attributes["db.system.name"] for span in spans} == {"valkey"}
