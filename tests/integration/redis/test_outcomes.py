"""What the client library handles, and what the application cancels, is no error; what the application sees is one."""

import asyncio
import contextlib

import pytest
import redis
import redis.asyncio
import redis.sentinel
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine

import dbsight
import embedded
from dbsight import semconv

SCRIPT = "return redis.call('get', KEYS[1])"


def outcomes(telemetry):
    """Operation, status, class of error and number of exceptions of each command."""
    return [
        (
            span.attributes["db.operation.name"],
            span.status,
            span.attributes.get("error.type"),
            len(span.events_named("exception")),
        )
        for span in telemetry.spans()
        if span.kind == "CLIENT"
    ]


def fine(*operations):
    """They succeeded."""
    return [(operation, "UNSET", None, 0) for operation in operations]


def test_a_script_that_is_loaded_again_is_no_error(client, watched):
    """The server forgot it; redis-py loads it and sends it again."""
    script = client.register_script(SCRIPT)
    client.script_flush()
    watched.clear()
    with watched.root():
        script(keys=["a"])
    assert outcomes(watched) == fine("EVALSHA", "SCRIPT LOAD", "EVALSHA")
    assert watched.processor.analyzer.snapshot().failed == 0


def test_a_script_that_is_loaded_again_by_an_asynchronous_client_is_no_error(async_client, watched):
    """The same on an event loop."""

    async def ask():
        async with async_client() as client:
            script = client.register_script(SCRIPT)
            await client.script_flush()
            watched.clear()
            with watched.root():
                await script(keys=["a"])

    asyncio.run(ask())
    assert outcomes(watched) == fine("EVALSHA", "SCRIPT LOAD", "EVALSHA")


def test_a_script_that_the_application_asked_for_by_its_hash_is_an_error(client, watched):
    """It sees the exception; so it does when the script is gone again after it was loaded."""
    with watched.root(), pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)
    assert outcomes(watched) == [("EVALSHA", "ERROR", "redis.exceptions.NoScriptError", 1)]
    watched.clear()
    script = client.register_script(SCRIPT)
    client.script_flush()
    client.script_load = lambda text: "0" * 40
    watched.clear()
    with watched.root(), pytest.raises(redis.exceptions.NoScriptError):
        script(keys=["a"])
    assert [status for _, status, *_ in outcomes(watched)] == ["UNSET", "ERROR"]


def test_a_conflict_of_watched_keys_is_no_error(client, watched):
    """EXEC answers that somebody else was faster; ``transaction()`` tries again."""
    with contextlib.closing(redis.Redis(connection_pool=client.connection_pool)) as other:
        tries = []

        def take(pipe):
            if not tries:
                other.set("stock", 1)
            tries.append(1)
            pipe.multi()
            pipe.set("stock", 2)

        watched.clear()
        with watched.root():
            client.transaction(take, "stock")
        names = [operation for operation, *_ in outcomes(watched)]
        assert outcomes(watched) == fine(*names)
        assert names.count("MULTI SET") == 2
        watched.clear()
        with watched.root(), client.pipeline() as pipe:
            pipe.watch("stock")
            other.set("stock", 1)
            pipe.multi()
            pipe.set("stock", 2)
            with pytest.raises(redis.WatchError):
                pipe.execute()
        assert outcomes(watched) == fine("WATCH", "SET", "MULTI SET")


def test_a_conflict_of_watched_keys_on_an_event_loop_is_no_error(async_client, watched):
    """The same."""

    async def ask():
        async with async_client() as client:
            with watched.root():
                async with client.pipeline() as pipe:
                    await pipe.watch("stock")
                    await client.set("stock", 1)
                    pipe.multi()
                    with pytest.raises(redis.WatchError):
                        await pipe.set("stock", 2).execute()

    asyncio.run(ask())
    assert outcomes(watched) == fine("WATCH", "SET", "MULTI SET")


def test_a_sentinel_that_is_not_there_is_no_error_where_another_answers(watched, redis_sentinel):
    """The library asks the next; where none answers, the application's command fails and is one."""
    nobody = ("127.0.0.1", embedded.free_port())
    sentinel = redis.sentinel.Sentinel([nobody, (redis_sentinel.host, redis_sentinel.port)])
    with watched.root(), contextlib.closing(sentinel.master_for("shop")) as client:
        client.ping()
    told = outcomes(watched)
    assert "SENTINEL MASTERS" in [operation for operation, *_ in told]
    assert told == fine(*[operation for operation, *_ in told])
    watched.clear()
    alone = redis.sentinel.Sentinel([nobody])
    client = alone.master_for("shop")
    with watched.root(), pytest.raises(redis.ConnectionError):
        client.get("a")
    client.close()
    assert [status for operation, status, *_ in outcomes(watched) if operation == "GET"] == ["ERROR"]


def test_a_start_up_node_that_is_not_there_is_no_error_where_another_answers(watched, redis_cluster):
    """The same of a cluster."""
    nodes = [redis.cluster.ClusterNode("127.0.0.1", embedded.free_port())]
    nodes.append(redis.cluster.ClusterNode(redis_cluster.host, redis_cluster.port))
    with watched.root(), redis.RedisCluster(startup_nodes=nodes) as cluster:
        cluster.get("a")
    told = outcomes(watched)
    assert told == fine(*[operation for operation, *_ in told])


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_cancelled_query_of_sqlalchemy_is_no_error(make_telemetry, postgresql, driver):
    """The application gave it up; one that the server cancels is an error, because the application sees it."""
    pytest.importorskip(driver)
    telemetry = make_telemetry()

    async def ask():
        engine = create_async_engine(postgresql.url(f"postgresql+{driver}"))
        with telemetry.root():
            async with engine.connect() as connection:
                running = asyncio.ensure_future(connection.execute(select(func.pg_sleep(5))))
                await asyncio.sleep(0.3)
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
            async with engine.connect() as connection:
                await connection.exec_driver_sql("SET statement_timeout = 50")
                with pytest.raises(Exception, match="statement timeout"):
                    await connection.execute(select(func.pg_sleep(5)))
        await engine.dispose()

    asyncio.run(ask())
    sleeping = [span for span in telemetry.spans() if "pg_sleep" in str(span.attributes.get("db.query.text"))]
    assert [(span.status, span.attributes.get("db.response.status_code")) for span in sleeping] == [
        ("UNSET", None),
        ("ERROR", "57014"),
    ]
    assert semconv.EXCEPTION_TYPE not in repr(sleeping[0].events)


def test_a_cancelled_query_of_sqlite_is_no_error(make_telemetry):
    """Through aiosqlite, whose thread goes on."""
    pytest.importorskip("aiosqlite")
    telemetry = make_telemetry()
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT max(i) FROM n"

    async def ask():
        engine = create_async_engine("sqlite+aiosqlite://")
        with telemetry.root():
            async with engine.connect() as connection:
                running = asyncio.ensure_future(connection.exec_driver_sql(forever))
                await asyncio.sleep(0.05)
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
        await engine.dispose()

    asyncio.run(ask())
    (span,) = [span for span in telemetry.spans() if "RECURSIVE" in str(span.attributes.get("db.query.text"))]
    assert (span.status, span.attributes.get("error.type")) == ("UNSET", None)


def test_valkey_is_the_same(redis_server, make_telemetry):
    """Its scripts and its WATCH."""
    valkey = pytest.importorskip("valkey")
    telemetry = make_telemetry(instrument=False)
    instrumentor = dbsight.ValkeyInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    try:
        with valkey.Valkey(host=redis_server.host, port=redis_server.port) as client:
            script = client.register_script(SCRIPT)
            client.script_flush()
            telemetry.clear()
            with telemetry.root(), client.pipeline() as pipe:
                script(keys=["a"])
                pipe.watch("stock")
                client.set("stock", 1)
                pipe.multi()
                with pytest.raises(valkey.WatchError):
                    pipe.set("stock", 2).execute()
        assert outcomes(telemetry) == fine("EVALSHA", "SCRIPT LOAD", "EVALSHA", "WATCH", "SET", "MULTI SET")
    finally:
        instrumentor.uninstrument()
