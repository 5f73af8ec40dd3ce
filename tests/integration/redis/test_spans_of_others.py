"""Spans of Redis that other instrumentations made are read as ours: summary, fingerprint, keys, one finding."""

import pytest
import redis
from opentelemetry.trace import SpanKind

import dbsight
from dbsight import semconv

KEYS = [f"price:{number}" for number in range(30)]

SPANS = {
    "the text as it is sent, old names": lambda key: (
        f"GET {key}",
        {"db.system": "redis", "db.statement": f"GET {key}", "net.peer.name": "cache", "net.peer.port": 6379},
    ),
    "the text as it is sent, new names": lambda key: (
        "GET",
        {"db.system.name": "redis", "db.query.text": f"GET {key}", "db.operation.name": "GET"},
    ),
    "the name alone": lambda key: (f"GET {key}", {"db.system": "redis", "db.redis.args_length": 2}),
    "quoted": lambda key: ("redis.command", {"db.system": "redis", "db.statement": f'GET "{key}"'}),
}


def findings(telemetry):
    """Rule, count and suggestion of each on the spans."""
    events = [event.attributes for span in telemetry.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    return [
        (event[semconv.FINDING_RULE], event[semconv.FINDING_COUNT], event[semconv.FINDING_SUGGESTION])
        for event in events
        if event[semconv.FINDING_RULE] != "slow_query"
    ]


@pytest.mark.parametrize("describe", SPANS.values(), ids=SPANS)
def test_spans_with_keys_are_as_ours(client, watched, describe):
    """The same summary and fingerprint as of our own span of the same command, and one finding for the loop."""
    with watched.root():
        client.get(KEYS[0])
    (own,) = [span for span in watched.spans() if span.kind == "CLIENT"]
    watched.clear()
    tracer = watched.tracer_provider.get_tracer("another.instrumentation")
    with watched.root():
        for key in KEYS:
            name, attributes = describe(key)
            with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes):
                pass
    spans = [span for span in watched.spans() if span.kind == "CLIENT"]
    assert {span.attributes["db.query.summary"] for span in spans} == {own.attributes["db.query.summary"]}
    assert {span.attributes[semconv.QUERY_FINGERPRINT] for span in spans} == {own.attributes[semconv.QUERY_FINGERPRINT]}
    assert findings(watched) == [("redis_chatter", 30, "client.mget(keys)")]


def test_spans_of_upstream_without_keys_are_one_finding_too(redis_server, make_telemetry):
    """``GET ?``, thirty times from one line: which keys is not known, but that they are many."""
    upstream = pytest.importorskip("opentelemetry.instrumentation.redis")
    telemetry = make_telemetry(instrument=False)
    instrumentor = upstream.RedisInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    try:
        with redis.Redis.from_url(redis_server.url()) as client, telemetry.root():
            for key in KEYS:
                client.get(key)
    finally:
        instrumentor.uninstrument()
    spans = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert {span.attributes["db.query.summary"] for span in spans} == {"GET"}
    assert findings(telemetry) == [("redis_chatter", 30, "client.mget(keys)")]


def test_values_of_others_are_hidden(watched):
    """Also of a pipeline, of a value over several lines, and of what is no command."""
    tracer = watched.tracer_provider.get_tracer("another.instrumentation")
    texts = ("SET user:1 secret", "SET user:1 a\nsecret b", "secret", "MSET a secret b secret", "CONFIG secret")
    with watched.root():
        for text in texts:
            attributes = {"db.system": "redis", "db.statement": text}
            with tracer.start_as_current_span("redis", kind=SpanKind.CLIENT, attributes=attributes):
                pass
    spans = [span for span in watched.spans() if span.kind == "CLIENT"]
    assert len(spans) == len(texts)
    assert "secret" not in repr(spans)
    assert dbsight.RedisInstrumentor().is_instrumented_by_opentelemetry


def test_what_is_no_known_command_is_hidden(client, watched):
    """Nobody knows that it is no value: not its name, nor the second word of a known one."""
    sent = [
        ("secret-token-123",),
        ("SECRETTOKEN", "x"),
        ("CONFIG", "secret"),
        ("secret token",),
        ("EVALSHA", "secret", 0),
    ]
    with watched.root():
        for arguments in sent:
            with pytest.raises(redis.ResponseError):
                client.execute_command(*arguments)
        client.execute_command("config", "get", "port")
        client.execute_command("MEMORY", "DOCTOR")
        client.execute_command("ECHO", "x")
    spans = [span for span in watched.spans() if span.kind == "CLIENT"]
    assert "secret" not in repr(spans).lower()
    assert [span.name for span in spans] == ["?", "?", "CONFIG", "?", "EVALSHA", "CONFIG GET", "MEMORY DOCTOR", "ECHO"]


def test_a_command_without_a_name_fails_as_redis_py_lets_it_fail(client, watched):
    """And nothing of ours fails; a pipeline that holds one neither."""
    with watched.root():
        with pytest.raises(IndexError):
            client.execute_command()
        with pytest.raises((IndexError, redis.ResponseError)):
            client.pipeline().execute_command().execute()
