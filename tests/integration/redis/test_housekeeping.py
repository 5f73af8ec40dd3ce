"""What libraries and good code send to Redis one by one is no chatter; loops and ``gather`` of the application are."""

import asyncio
import sysconfig
from pathlib import Path

import pytest
import redis
from opentelemetry.trace import SpanKind

from dbsight import config, semconv
from suggested import applied

KEYS = [f"price:{number}" for number in range(30)]


def findings(telemetry):
    """Rule, count and suggestion of each finding on the spans since the last time; slowness is the machine's."""
    events = [event.attributes for span in telemetry.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    telemetry.clear()
    return [
        (event[semconv.FINDING_RULE], event[semconv.FINDING_COUNT], event[semconv.FINDING_SUGGESTION])
        for event in events
        if event[semconv.FINDING_RULE] != "slow_query"
    ]


@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.INTERNAL])
def test_gathered_commands_are_one_finding_and_one_command_is_none(async_client, watched, kind):
    """Thirty tasks, in a request and in a script; the suggestion is awaited, and helps."""

    async def ask():
        async with async_client() as client:
            with watched.root(kind=kind):
                await asyncio.gather(*(client.get(key) for key in KEYS))
            (found,) = findings(watched)
            with watched.root(kind=kind):
                assert await applied(found[2], client=client, keys=KEYS) == [None] * 30
            return found

    assert asyncio.run(ask()) == ("redis_chatter", 30, "await client.mget(keys)")
    assert findings(watched) == []


def in_order(client):
    """Locks of several things, taken in the order of their names and given back in the reverse."""
    names = [f"stock:{number}" for number in range(10)]
    locks = [client.lock(name, timeout=10) for name in names]
    for lock in locks:
        lock.acquire()
    for lock in reversed(locks):
        lock.release()


def by_hand(client):
    """The same without the library's class."""
    for number in range(10):
        client.set(f"lock:{number}", "token", nx=True, ex=10)
    for number in range(10):
        client.delete(f"lock:{number}")


def in_chunks(client):
    """Many values, a hundred at a time."""
    for start in range(0, 1_000, 100):
        client.mset({f"price:{number}": number for number in range(start, start + 100)})
        client.mget([f"price:{number}" for number in range(start, start + 100)])


def results(client):
    """A subscription for each result, as Celery's backend has; one at a time, for each is given up when it is there."""
    with client.pubsub() as pubsub:
        for number in range(10):
            pubsub.subscribe(f"celery-task-meta-{number}")
            pubsub.unsubscribe(f"celery-task-meta-{number}")


def acknowledged(client):
    """Messages of a stream, each acknowledged when it is done."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(10):
            pipe.xadd("orders", {"id": number})
        pipe.execute()
    client.xgroup_create("orders", "workers", id="0")
    ((_, messages),) = client.xreadgroup("workers", "one", {"orders": ">"}, count=10)
    for identity, _ in messages:
        client.xack("orders", "workers", identity)


@pytest.mark.parametrize("work", [in_order, by_hand, in_chunks, results, acknowledged])
def test_what_has_to_be_sent_one_by_one_is_no_finding(client, watched, work):
    """Locks, chunks and subscriptions."""
    with watched.root():
        work(client)
    assert findings(watched) == []


def test_a_walk_over_keys_that_all_match_is_no_finding(client, watched):
    """SCAN gives ten a call; a walk that finds hardly any is one."""
    client.mset({f"price:{number}": number for number in range(300)})
    watched.clear()
    with watched.root():
        assert len(list(client.scan_iter(match="price:*"))) == 300
        assert len(list(client.scan_iter())) == 300
    assert findings(watched) == []
    with watched.root():
        assert len(list(client.scan_iter(match="price:7"))) == 1
    ((rule, _, _),) = findings(watched)
    assert rule == "redis_chatter"


def test_a_long_walk_in_small_steps_is_told_to_take_larger_ones(client, watched):
    """A thousand round trips of ten keys; of a thousand each they are ten."""
    client.mset({f"price:{number}": number for number in range(3_000)})
    watched.clear()
    with watched.root():
        list(client.scan_iter(match="price:*"))
    ((rule, _, suggestion),) = findings(watched)
    assert (rule, suggestion.partition("\n")[0]) == (
        "redis_chatter",
        "for key in client.scan_iter(match=…, count=1000):",
    )
    with watched.root():
        list(client.scan_iter(match="price:*", count=1000))
    assert findings(watched) == []


def test_no_key_stands_in_findings_without_query_text(make_telemetry, redis_server, monkeypatch):
    """``QUERY_TEXT=off``: no title, description or suggestion of a rule about Redis shows more than a template."""
    import dbsight

    monkeypatch.setenv("OTEL_DBSIGHT_QUERY_TEXT", "off")
    config.reset()
    telemetry = make_telemetry(instrument=False)
    instrumentor = dbsight.RedisInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    try:
        with redis.Redis.from_url(redis_server.url()) as client, telemetry.root():
            for number in range(4711, 4850):
                client.set(f"session:{number}", "x")
            for number in range(4711, 4850):
                client.get(f"session:{number}")
                client.get(f"absent:{number}")
                client.set(f"absent:{number}", 1)
            client.keys("session:471*")
            list(client.scan_iter(match="session:471147*", count=1))
            client.sadd("members:4711", *range(2_000))
            client.smembers("members:4711")
            for _ in range(10):
                client.get("session:4711")
            for number in range(4711, 4850):
                client.delete(f"session:{number}")
        telemetry.tracer_provider.force_flush()
        analyzer = telemetry.processor.analyzer
        snapshot = analyzer.snapshot()
        told = [merged.finding for merged in snapshot.findings]
        told += [found for rule in analyzer.judge.examiners for found in rule.examine(snapshot)]
        spans = telemetry.spans()
    finally:
        instrumentor.uninstrument()
    rules = {found.rule for found in told}
    assert {"redis_chatter", "cache_miss", "invalidation_storm"} <= rules
    assert len([found for found in told if found.rule == "redis_chatter"]) >= 5
    for found in told:
        assert "471" not in f"{found.title} {found.description} {found.suggestion}"
    assert "471" not in repr([(span.name, span.attributes) for span in spans if span.kind == "CLIENT"])


def test_what_the_cache_of_the_client_answers_is_no_command(redis_server, watched, monkeypatch):
    """redis-py 6 and newer: a read that no server is asked for has no span, and many are no loop."""
    caching = pytest.importorskip("redis.cache")
    proxy = getattr(redis.connection, "CacheProxyConnection", None)
    if proxy is None or not hasattr(proxy, "MIN_ALLOWED_VERSION"):
        pytest.skip("this redis-py has no client-side cache")
    monkeypatch.setattr(proxy, "MIN_ALLOWED_VERSION", "6.0.0")  # which the library asks to be safe; 6 can do it
    with redis.Redis.from_url(redis_server.url(), protocol=3, cache_config=caching.CacheConfig()) as client:
        client.set("settings", "x")
        client.get("settings")
        watched.clear()
        with watched.root():
            for _ in range(30):
                assert client.get("settings") == b"x"
    assert [span.name for span in watched.spans()] == ["GET /"]


WORKER = """
class Worker:
    def __init__(self, client, job):
        self.client, self.job = client, job

    def work(self):
        for number in range(20):
            self.client.hset("rq:worker:1", "last_heartbeat", number)
            self.client.expire("rq:worker:1", 60 + number)
            self.client.hgetall(f"rq:job:{number}")
            self.job(self.client, number)
            self.client.zrem("rq:wip", number)
"""


def worker(client, job):
    """A worker of a job queue that is installed as a package, and that a program of the application runs."""
    names = {"__name__": "rq.worker.base"}
    file = Path(sysconfig.get_paths()["purelib"]) / "rq" / "worker" / "base.py"
    exec(compile(WORKER, str(file), "exec"), names)
    return names["Worker"](client, job)


def test_what_a_worker_does_for_each_job_is_no_finding(client, watched):
    """Heartbeats, states and acknowledgements; the program's line that started it asked for none of them."""
    worker(client, lambda *_: None).work()
    watched.processor.analyzer.finish()
    assert findings(watched) == []


def test_what_a_job_does_is_found_at_its_line(client, watched):
    """The worker's loop is not the application's, what the jobs repeat is."""

    def job(client, number):
        if not number:
            for each in KEYS:
                client.get(each)  # the job's line

    worker(client, job).work()
    watched.processor.analyzer.finish()
    ((rule, count, _),) = findings(watched)
    assert (rule, count) == ("redis_chatter", 30)
