"""Redis and Memcached under OpenTelemetry's own instrumentors, whose texts hide keys or cut them."""

import importlib
import socketserver
import threading

import pytest
import redis

import dbsight
from dbsight import semconv
from dbsight.model import Operation
from hearing import hearing


def pipelined(client, *commands, transaction=False):
    """A pipeline."""
    with client.pipeline(transaction=transaction) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        pipe.execute()


COMMANDS = {
    "GET": lambda client: client.get("price:1"),
    "SET": lambda client: client.set("price:1", "SECRET"),
    "HSET": lambda client: client.hset("user:7", mapping={"name": "SECRET"}),
    "MGET": lambda client: client.mget([f"price:{number}" for number in range(600)]),
    "EVAL": lambda client: client.eval("return redis.call('GET', KEYS[1])", 1, "price:1"),
    "CONFIG GET": lambda client: client.config_get("maxmemory"),
    "PIPELINE GET": lambda client: pipelined(client, ("GET", "price:1"), ("GET", "price:2")),
    "PIPELINE": lambda client: pipelined(client, ("GET", "price:1"), ("SET", "price:2", "SECRET")),
}


@pytest.fixture
def client(mode, instrumented, redis_server):
    """A client of a real server, and what is exported."""
    upstream = pytest.importorskip("opentelemetry.instrumentation.redis")
    telemetry = instrumented(upstream.RedisInstrumentor())
    with redis.Redis.from_url(redis_server.url()) as client:
        client.ping()
        telemetry.clear()
        yield telemetry, client


def operations(heard):
    """Of commands."""
    return [each for each in heard if isinstance(each, Operation)]


def test_each_command_is_read_as_ours_but_for_its_keys(client):
    """The summary is the command, since a hidden key has no template; what was cut is known as cut."""
    telemetry, connection = client
    with hearing() as heard, telemetry.root():
        for command in COMMANDS.values():
            command(connection)
    found = operations(heard)
    assert [each.statement.summary for each in found] == list(COMMANDS)
    assert [each.statement.truncated for each in found] == [name == "MGET" for name in COMMANDS]
    assert {each.parameters for each in found} == {None}
    assert [each.batch_size for each in found] == [0] * 6 + [2, 2]
    assert "SECRET" not in repr(telemetry.spans())


def test_unknown_keys_are_never_the_same_ones(client):
    """Neither a command nor a pipeline, sent twenty times, asks again for what it got; a loop of reads is chatter."""
    telemetry, connection = client
    with telemetry.root():
        for number in range(20):
            pipelined(connection, ("GET", f"price:{number}"), ("GET", f"stock:{number}"))
            connection.get(f"price:{number}")
    root = telemetry.span("GET /")
    assert root.attributes[semconv.FINDINGS_RULES] == ["redis_chatter"]


def test_what_has_no_keys_has_the_fingerprint_of_ours(client, make_telemetry, redis_server):
    """The text is whole, so the statement is the same one."""
    telemetry, connection = client
    with hearing() as theirs, telemetry.root():
        connection.config_get("maxmemory")
        connection.ping()
    own = make_telemetry(instrument=False)
    instrumentor = dbsight.RedisInstrumentor()
    importlib.import_module("opentelemetry.instrumentation.redis").RedisInstrumentor().uninstrument()
    instrumentor.instrument(tracer_provider=own.tracer_provider, skip_dep_check=True)
    try:
        with redis.Redis.from_url(redis_server.url()) as another, hearing() as ours, own.root():
            another.config_get("maxmemory")
            another.ping()
    finally:
        instrumentor.uninstrument()
    known = {each.statement.summary: each.statement.fingerprint for each in operations(ours)}
    assert {each.statement.summary: each.statement.fingerprint for each in operations(theirs)}.items() <= known.items()


class Memcached(socketserver.StreamRequestHandler):
    """As much of a server as these commands need."""

    def handle(self):
        """Answer until the client is gone."""
        while line := self.rfile.readline().split():
            if line[0] == b"set":
                self.rfile.readline()  # the client wants no reply
            else:
                self.wfile.write(b"END\r\n")


def test_commands_of_memcached_are_read(mode, instrumented):
    """The command is the summary; keys, which look like values, are not exported."""
    base = pytest.importorskip("pymemcache.client.base", reason="the library is not installed")
    upstream = pytest.importorskip("opentelemetry.instrumentation.pymemcache", reason="the instrumentor is missing")
    telemetry = instrumented(upstream.PymemcacheInstrumentor())
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Memcached) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = base.Client(server.server_address)
        with hearing() as heard, telemetry.root():
            client.set("SECRET:1", "SECRET")
            client.get("SECRET:1")
            client.get_many(["SECRET:1", "SECRET:2"])
        client.close()
        server.shutdown()
    found = operations(heard)
    assert [each.statement.summary for each in found] == ["set", "get", "get_many"]
    assert {each.statement.system for each in found} == {"memcached"}
    assert "SECRET" not in repr(telemetry.spans())
