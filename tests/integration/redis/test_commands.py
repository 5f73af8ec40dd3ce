"""The Redis instrumentor on a real server: which spans, and what stands on them."""

import asyncio
import gc
import os
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

import dbsight
from dbsight import config
from dbsight.instrument import pools

HERE = os.path.relpath(__file__)


def commands(telemetry):
    """The spans of commands, in the order of their ends."""
    return [span for span in telemetry.spans() if span.kind == "CLIENT"]


def names(telemetry):
    """Their names alone."""
    return [span.name for span in commands(telemetry)]


def line_of(marker):
    """The number of the line of this file that ends with a marker."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))


def test_a_command_is_one_span_with_everything_on_it(client, watched, redis_server):
    """Name, kind, parent and attributes of an ordinary command, compared whole: the key is kept, the value is not."""
    with watched.root() as root:
        client.set("user:4711:cart", "a secret", ex=60)  # ordinary
    (span,) = commands(watched)
    assert (span.name, span.kind, span.parent_span_id) == (
        "SET user:{}:cart",
        "CLIENT",
        f"{root.get_span_context().span_id:016x}",
    )
    assert span.attributes == {
        "db.system.name": "redis",
        "db.system": "redis",
        "db.namespace": redis_server.name,
        "db.operation.name": "SET",
        "db.query.text": "SET user:4711:cart ?",
        "db.query.summary": "SET user:{}:cart",
        "server.address": redis_server.host,
        "server.port": redis_server.port,
        "dbsight.query.fingerprint": span.attributes["dbsight.query.fingerprint"],
        "code.file.path": HERE,
        "code.line.number": line_of("ordinary"),
        "code.function.name": "test_a_command_is_one_span_with_everything_on_it",
    }
    assert span.status == "UNSET"


def test_an_asynchronous_command_gives_the_same_span(client, async_client, watched):
    """Sync and async differ in nothing but their line."""

    def told(span):
        return span.name, {name: each for name, each in span.attributes.items() if not name.startswith("code.")}

    async def ask():
        async with async_client() as same:
            with watched.root():
                return await same.get("user:1:cart")

    client.set("user:1:cart", "x")
    watched.clear()
    with watched.root():
        assert client.get("user:1:cart") == "x"
    (first,) = commands(watched)
    assert asyncio.run(ask()) == "x"
    (second,) = commands(watched)
    assert told(first) == told(second)
    assert second.attributes["code.file.path"] == HERE


def test_a_fingerprint_is_that_of_the_template(client, watched):
    """Other keys of one template are the same query."""
    with watched.root():
        client.get("price:1")
        client.get("price:22")
        client.get("stock:1")
    first, second, third = (span.attributes["dbsight.query.fingerprint"] for span in commands(watched))
    assert first == second != third


def test_a_pipeline_is_one_span(client, watched):
    """Named after its command when all are the same; keys are kept line by line."""
    with watched.root(), client.pipeline(transaction=False) as pipe:
        for number in range(3):
            pipe.get(f"price:{number}")
        assert pipe.execute() == [None, None, None]
    (span,) = commands(watched)
    assert (span.name, span.attributes["db.operation.batch.size"]) == ("PIPELINE GET", 3)
    assert span.attributes["db.operation.name"] == "PIPELINE GET"
    assert span.attributes["db.query.text"] == "GET price:0\nGET price:1\nGET price:2"


@pytest.mark.parametrize(
    ("transaction", "fill", "name", "batch"),
    [
        (True, lambda pipe: pipe.set("a", 1).set("b", 2), "MULTI SET", 2),
        (True, lambda pipe: pipe.set("a", 1).incr("a"), "MULTI", 2),
        (False, lambda pipe: pipe.set("a", 1).incr("a"), "PIPELINE", 2),
        (False, lambda pipe: pipe.set("a", 1), "PIPELINE SET", None),
    ],
)
def test_pipelines_and_transactions_are_named_by_the_conventions(
    client, async_client, watched, transaction, fill, name, batch
):
    """``MULTI SET``, ``MULTI``, ``PIPELINE``, awaited or not; one command is no batch."""
    with watched.root(), client.pipeline(transaction=transaction) as pipe:
        fill(pipe)
        pipe.execute()
    (span,) = commands(watched)

    async def ask():
        async with async_client() as same:
            with watched.root():
                async with same.pipeline(transaction=transaction) as pipe:
                    fill(pipe)
                    await pipe.execute()

    asyncio.run(ask())
    (awaited,) = commands(watched)
    for each in (span, awaited):
        assert (each.name, each.attributes.get("db.operation.batch.size")) == (name, batch)


def test_an_empty_pipeline_has_no_span(client, async_client, watched):
    """It sends nothing."""

    async def ask():
        async with async_client() as same:
            with watched.root():
                return await same.pipeline().execute()

    with watched.root():
        assert client.pipeline().execute() == []
    assert names(watched) == []
    assert asyncio.run(ask()) == []
    assert names(watched) == []


def test_a_watched_transaction_shows_each_command_that_is_sent(client, watched):
    """WATCH and what follows are sent at once; MULTI to EXEC is one."""
    client.set("stock:1", 5)
    watched.clear()

    def take(pipe):
        left = int(pipe.get("stock:1"))
        pipe.multi()
        pipe.set("stock:1", left - 1)

    with watched.root():
        client.transaction(take, "stock:1")
    assert names(watched) == ["WATCH stock:{}", "GET stock:{}", "MULTI SET"]
    assert client.get("stock:1") == "4"


def test_scripts_keep_their_hash_and_keys(client, watched):
    """Arguments are values; a script that the server does not know is sent, and run again."""
    client.script_flush()
    watched.clear()
    script = client.register_script("return redis.call('set', KEYS[1], ARGV[1])")
    with watched.root():
        script(keys=["lock:1"], args=["a secret"])
    spans = commands(watched)
    assert [span.attributes["db.operation.name"] for span in spans] == ["EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    assert [span.attributes.get("db.response.status_code") for span in spans] == [None, None, None]
    assert {span.status for span in spans} == {"UNSET"}
    assert spans[2].attributes["db.query.text"] == f"EVALSHA {script.sha} lock:1 ?"


def test_nothing_but_keys_leaves(client, watched):
    """No value of any command is in any span, nor any message of the server."""
    with watched.root():
        client.hset("user:1", mapping={"email": "secret@example.org"})
        client.lpush("log", "secret")
        client.zadd("board", {"secret": 1})
        client.xadd("events", {"body": "secret"})
        client.publish("news", "secret")
        client.eval("return ARGV[1]", 0, "secret")
        client.execute_command("SET config secret")
        with pytest.raises(redis.ResponseError):
            client.incrby("config", 1)
        with pytest.raises(redis.ResponseError), client.pipeline(transaction=False) as pipe:
            pipe.set("a", "secret").lpush("a", "secret").execute()
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH", "secret")
    spans = commands(watched)
    assert len(spans) == 10
    assert [span for span in spans if "secret" in repr(span)] == []


def test_an_error_has_its_class_and_the_prefix_of_the_server(client, watched):
    """Never its message, which may quote values; the exception reaches the application as it was."""
    client.set("name", "x")
    watched.clear()
    with watched.root(), pytest.raises(redis.ResponseError, match="wrong kind"):
        client.lpush("name", 1)
    (span,) = commands(watched)
    assert span.status == "ERROR"
    assert span.attributes["error.type"] == "redis.exceptions.ResponseError"
    assert span.attributes["db.response.status_code"] == "WRONGTYPE"


def test_an_error_within_a_pipeline_has_the_prefix_too(client, watched):
    """redis-py writes the command in front of the message."""
    client.set("name", "x")
    watched.clear()
    with watched.root(), pytest.raises(redis.ResponseError), client.pipeline(transaction=False) as pipe:
        pipe.get("name").lpush("name", 1).execute()
    (span,) = commands(watched)
    assert span.attributes["db.response.status_code"] == "WRONGTYPE"


def test_a_server_that_is_not_there_is_an_error_after_its_retries(watched):
    """One span, with the attempts that failed before the last."""
    client = redis.Redis(port=1, retry=Retry(NoBackoff(), 2), retry_on_error=[redis.ConnectionError])
    with watched.root(), pytest.raises(redis.ConnectionError):
        client.get("a")
    (span,) = commands(watched)
    assert span.attributes["error.type"] == "redis.exceptions.ConnectionError"
    assert "db.response.status_code" not in span.attributes


def test_a_command_that_succeeds_after_a_lost_connection_says_so(client, redis_server, watched):
    """The retry is within the one span."""
    retrying = {"retry": Retry(NoBackoff(), 3), "retry_on_error": [redis.ConnectionError]}
    # A pool would see that the connection is lost, and make another before it sends.
    other = redis.Redis.from_url(redis_server.url(), single_connection_client=True, **retrying)
    number = other.client_id()
    client.client_kill_filter(_id=number)
    watched.clear()
    with watched.root():
        assert other.get("a") is None
    (span,) = commands(watched)
    assert span.status == "UNSET"
    assert span.attributes["dbsight.query.retries"] == 1


def test_a_cancelled_command_ends_its_span(async_client, watched):
    """The cancellation goes on to the application, which asked for it: it is no error of the command."""

    async def ask():
        async with async_client() as client:
            with watched.root(), pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.blpop("queue:never", 5), 0.05)

    asyncio.run(ask())
    (span,) = commands(watched)
    assert span.name == "BLPOP queue:never"
    assert (span.status, span.attributes.get("error.type"), list(span.events)) == ("UNSET", None, [])


def test_what_waits_by_design_is_never_slow(client, watched):
    """A BLPOP that found nothing for a second is no slow query; a script that computes for as long is."""
    with watched.root():
        client.blpop("queue:never", 1)
        client.eval("local n = 0 while n < 10000000 do n = n + 1 end return n", 0)
    waiting, script = commands(watched)
    assert min(waiting.duration, script.duration) > 0.05
    assert [span.attributes.get("dbsight.query.class") is None for span in (waiting, script)] == [True, False]


def test_streams_and_subscriptions_are_commands_too(client, watched):
    """XREAD names its streams; a subscription is the command that makes it, not the waiting for messages."""
    with watched.root():
        client.xadd("events", {"n": 1})
        client.xread({"events": "0"}, count=1)
        with client.pubsub() as subscription:
            subscription.subscribe("news")
            assert subscription.get_message(timeout=1)["type"] == "subscribe"
    assert names(watched) == ["XADD events", "XREAD events", "SUBSCRIBE news"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_count_the_same(redis_server, watched, protocol):
    """The items of a collection are counted whatever the protocol makes of it."""
    with redis.Redis.from_url(redis_server.url(), protocol=protocol) as client:
        client.hset("cart:1", mapping={"a": 1, "b": 2})
        client.sadd("tags", "x", "y", "z")
        watched.clear()
        with watched.root():
            client.hgetall("cart:1")
            client.smembers("tags")
            client.mget("a", "b")
            client.keys("*")
            client.scan(match="c*")
    rows = [span.attributes.get("db.response.returned_rows") for span in commands(watched)]
    assert rows == [2, 3, 2, 2, 1]


def test_a_client_with_a_cache_of_its_own_is_watched_like_any_other(redis_server, watched, monkeypatch):
    """Client-side caching of protocol 3: one span for each command that is sent, and a pool that adds up."""
    if not hasattr(redis.connection, "CacheProxyConnection"):
        pytest.skip("redis-py 5.0 has no cache")
    from redis.cache import CacheConfig

    name = f"{redis_server.host}:{redis_server.port}/{redis_server.name}"
    gc.collect()  # pools of earlier tests
    # The server of the tests may be older than redis-py wishes, but follows keys since 6.0.
    monkeypatch.setattr(redis.connection.CacheProxyConnection, "MIN_ALLOWED_VERSION", "6.0.0", raising=False)
    options = {"protocol": 3, "cache_config": CacheConfig(max_size=10), "decode_responses": True}
    with (
        redis.Redis.from_url(redis_server.url(), **options) as cached,
        redis.Redis.from_url(redis_server.url()) as other,
    ):
        cached.set("user:1", "old")
        watched.clear()
        with watched.root():
            assert [cached.get("user:1"), cached.get("user:1")] == ["old", "old"]
            other.set("user:1", "new")
        assert names(watched) == ["GET user:{}", "SET user:{}"]
        end = time.monotonic() + 30
        while cached.get("user:1") != "new":  # the server tells, a moment later
            assert time.monotonic() < end
        (state,) = [each for each in pools.snapshots("redis") if each.name == name]
    assert (state.pools, state.used, state.idle, state.created - state.closed) == (2, 0, 2, 2)


def test_long_keys_are_cut_and_strange_ones_are_harmless(client, watched):
    """A key of any length, of any bytes."""
    with watched.root():
        client.get("k" * 1000)
        client.get(b"\xff\x00\n")
        client.get(7)
    long, strange, number = (span.attributes["db.query.text"] for span in commands(watched))
    assert long == f"GET {'k' * 100}…"
    assert strange == "GET \ufffd\\x00\\n"
    assert number == "GET 7"


def test_a_suppressed_command_has_no_span(client, watched):
    """OpenTelemetry's own way of saying so."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with watched.root(), suppress_instrumentation():
        client.get("a")
    assert names(watched) == []


def test_outside_any_span_commands_have_a_root(client, watched):
    """A script's commands hang together."""
    client.get("a")
    client.get("b")
    watched.processor.analyzer.finish()
    spans = watched.spans()
    (root,) = [span for span in spans if span.name == "dbsight.window"]
    assert {span.parent_span_id for span in commands(watched)} == {root.span_id}


def test_the_duration_metric_knows_the_operation(client, watched):
    """By the conventions: operation name, system, namespace, server."""
    with watched.root():
        client.get("price:1")
        with pytest.raises(redis.ResponseError):
            client.execute_command("GET")
    points = watched.points("db.client.operation.duration")
    told = {
        (point.attributes["db.operation.name"], point.attributes.get("error.type")): point.count for point in points
    }
    assert told == {("GET", None): 1, ("GET", "redis.exceptions.ResponseError"): 1, ("PING", None): 1}


def test_uninstrumenting_leaves_the_classes_as_they_were(redis_server, make_telemetry):
    """Nothing of ours stays behind."""
    classes = (redis.Redis, redis.client.Pipeline, redis.asyncio.Redis, redis.RedisCluster)
    before = [dict(vars(each)) for each in classes]
    instrumentor = dbsight.RedisInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    assert [dict(vars(each)) == was for each, was in zip(classes, before, strict=True)] == [False] * 4
    instrumentor.uninstrument()
    assert [dict(vars(each)) for each in classes] == before


def test_the_text_can_be_left_out_or_kept_raw(client, watched):
    """By the setting that SQL has."""
    config.use(config.Settings(query_text="raw"))
    with watched.root():
        client.set("raw:1", "value")
    assert commands(watched)[0].attributes["db.query.text"] == "SET raw:1 value"


def test_own_metrics_of_redis_py_are_not_doubled(client, watched):
    """Where redis-py measures its commands itself, we do not; the spans stay."""
    observability = pytest.importorskip("redis.observability")
    from opentelemetry import metrics
    from redis.observability.config import MetricGroup
    from redis.observability.providers import reset_observability_instance

    otel = observability.get_observability_instance()
    otel.init(observability.OTelConfig(metric_groups=[MetricGroup.COMMAND]))
    try:
        with watched.root():
            client.get("price:1")
        assert names(watched) == ["GET price:{}"]
        told = {point.attributes["db.operation.name"] for point in watched.points("db.client.operation.duration")}
        assert told == {"PING"}
    finally:
        reset_observability_instance()
    assert metrics.get_meter_provider() is not watched.meter_provider


def test_a_reply_that_the_application_transforms_says_nothing_of_a_cache(client, watched):
    """A response callback may make an object of nil: neither a hit nor a miss is known, alone or in a pipeline."""
    client.set_response_callback("GET", lambda reply, **_: reply or "nothing")
    with watched.root():
        assert client.get("user:1") == "nothing"
        with client.pipeline() as pipe:
            assert pipe.get("user:1").get("user:2").execute() == ["nothing", "nothing"]
        client.hget("hash", "field")
    (totals,) = watched.processor.analyzer.snapshot().caches
    assert (totals.key_prefix, totals.hits, totals.misses) == ("hash", 0, 1)
