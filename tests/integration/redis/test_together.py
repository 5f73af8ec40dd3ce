"""Commands of one local root are told together: nobody who looks misses one."""

import contextlib
import contextvars
import gc
import os
import threading
import time
import weakref

import pytest
import redis
from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

import dbsight
from dbsight import recording, safety, scope, semconv
from dbsight.config import Settings
from dbsight.engines import cache_totals
from dbsight.span import pending
from forking import in_child


@pytest.fixture
def told(client, watched):
    """A client whose commands wait to be told, as they do after the first one."""
    with watched.root():
        client.get("warm:1")
    watched.clear()
    return client


def judged(telemetry):
    """The same once the windows whose root has ended are judged."""
    telemetry.processor.analyzer.ended.work()
    return exported(telemetry)


def exported(telemetry):
    """Names of the spans that were handed on so far, without asking for those that wait."""
    processor = telemetry.processor.processors[0]
    return [span.name for span in reversed(processor._batch_processor._queue)]


def test_commands_wait_for_the_end_of_their_root_or_for_fifty(told, watched):
    """Then all of them are there, before the root, in their order."""
    with watched.root("GET /few"):
        told.get("user:1")
        told.set("user:2", "x")
        assert exported(watched) == []
    assert judged(watched) == ["GET user:{}", "SET user:{}", "GET /few"]
    watched.clear()
    with watched.root("GET /many"):
        for number in range(60):
            told.get(f"user:{number}")
        assert exported(watched) == ["GET user:{}"] * 50
    assert judged(watched) == [*["GET user:{}"] * 60, "GET /many"]


def test_whoever_reads_sees_what_waits(told, watched):
    """Totals of caches, the snapshot, metrics and a flush, each within the request."""
    with watched.root():
        told.get("user:1")
        (totals,) = [each for each in cache_totals() if each.key_prefix == "user:{}"]
        assert totals.misses == 1
        told.get("user:2")
        before = watched.processor.analyzer.snapshot().calls
        told.get("user:3")
        assert watched.processor.analyzer.snapshot().calls == before + 1
        told.get("user:4")
        counted = sum(point.count for point in watched.points(semconv.METRIC_OPERATION_DURATION))
        told.get("user:5")
        assert sum(point.count for point in watched.points(semconv.METRIC_OPERATION_DURATION)) == counted + 1
        told.get("user:6")
        watched.tracer_provider.force_flush()
        assert [span.name for span in watched.exporter.get_finished_spans()] == ["GET user:{}"] * 6


def test_a_root_that_goes_on_for_long_is_told_meanwhile(told, watched):
    """Twice a second, by the thread that closes silent windows."""
    with watched.root("consume"):
        told.get("user:1")
        deadline = time.monotonic() + 60
        while not exported(watched):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert judged(watched) == ["GET user:{}", "consume"]


def test_a_slow_command_an_error_and_a_loop_say_so_on_their_spans(told, watched, monkeypatch):
    """The verdict is that of a command that is told at once."""
    monkeypatch.setenv("OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD", "0.01")
    with watched.root():
        told.set("text", "x")
        with pytest.raises(redis.ResponseError):
            told.incr("text")
        told.client_pause(50)
        told.get("user:1")
        for number in range(20):
            told.get(f"price:{number}")
    spans = watched.spans()
    by_name = {span.name: span for span in spans}
    assert by_name["INCRBY text"].attributes["db.response.status_code"] == "ERR"
    assert [event.name for event in by_name["INCRBY text"].events] == ["exception"]
    root = next(span for span in spans if span.kind == "SERVER")
    assert root.attributes["dbsight.db.calls"] == 24
    assert "redis_chatter" in root.attributes["dbsight.findings.rules"]


def test_what_runs_on_after_its_root_is_not_lost(told, watched):
    """A thread that outlives the request has its context, and its spans are not lost."""
    with watched.root():
        window = scope.window.get()
        parent = watched.tracer.start_span("background")
    with trace.use_span(parent, end_on_exit=True):
        scope.window.set(window)
        told.get("user:1")
        recording.loose.drain()
        assert exported(watched)[-1] == "GET user:{}"
    scope.window.set(None)


def test_threads_of_one_request_leave_theirs_with_it(told, watched, redis_server):
    """Each command is told once, below the request, and counted there."""

    def work(number):
        with contextlib.closing(redis.Redis.from_url(redis_server.url())) as own:
            for turn in range(40):
                own.get(f"user:{number}:{turn}")

    with watched.root():
        threads = [threading.Thread(target=contextvars.copy_context().run, args=[work, number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    spans = watched.spans()
    gets = [span for span in spans if span.name.startswith("GET user")]
    root = next(span for span in spans if span.kind == "SERVER")
    assert (len(gets), len({span.span_id for span in gets})) == (160, 160)
    assert {span.parent_span_id for span in gets} == {root.span_id}
    assert root.attributes["dbsight.db.calls"] == 160


def test_commands_and_queries_of_one_request_are_in_the_order_of_their_ends(watched, told, make_telemetry, tmp_path):
    """Records of several kinds are drained one kind after the other; the rules see them as they came."""
    from sqlalchemy import create_engine, text

    instrumentor = dbsight.SQLAlchemyInstrumentor()
    instrumentor.instrument(
        tracer_provider=watched.tracer_provider, meter_provider=watched.meter_provider, skip_dep_check=True
    )
    seen = []
    (chatter,) = [rule for rule in watched.processor.analyzer.judge.completers if rule.name == "redis_chatter"]
    complete = chatter.complete
    chatter.complete = lambda part: (seen.extend(each.database.system for each in part.operations), complete(part))[1]
    try:
        engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
        with watched.root(), engine.connect() as connection:
            for number in range(3):
                connection.execute(text("SELECT 1"))
                told.get(f"user:{number}")
        watched.processor.analyzer.judge_ended()
        engine.dispose()
    finally:
        del chatter.complete
        instrumentor.uninstrument()
    assert [each for each in seen if each in {"sqlite", "redis"}][:6] == ["sqlite", "redis"] * 3


def test_commands_below_a_root_that_is_a_database_span_are_not_lost(told, watched):
    """Such a root is no unit of work; what ran below it is told all the same."""
    with watched.root("cache", SpanKind.CLIENT, db_system="redis"):
        told.get("user:1")
        told.get("user:2")
    assert exported(watched) == ["GET user:{}"] * 2 + ["cache"]


def test_two_roots_of_one_trace_have_their_own(told, watched):
    """Where the second one was begun, but not entered, the commands of the first are still its own."""
    with watched.root("GET /a"):
        other = watched.tracer.start_span("job", kind=SpanKind.CONSUMER)
        told.get("user:1")
        told.get("user:2")
    other.end()
    calls = {span.name: span.attributes.get("dbsight.db.calls") for span in watched.spans() if span.kind != "CLIENT"}
    assert calls == {"GET /a": 2, "job": None}


def test_replies_that_cannot_be_compared_cost_no_span(told, watched):
    """Arrays refuse to say whether they are equal to None."""

    class Array:
        def __eq__(self, other):
            raise ValueError("ambiguous")

        __hash__ = None

    told.set_response_callback("MGET", lambda reply, **options: [Array() for _ in reply])
    told.set_response_callback("GET", lambda reply, **options: Array())
    with watched.root():
        told.mget("user:1", "user:2")
        with told.pipeline(transaction=False) as pipe:
            pipe.get("user:1").get("user:2").execute()
    assert [span.name for span in watched.spans()][:2] == ["MGET user:{}", "PIPELINE GET"]


def test_pairs_of_commands_are_counted_in_one_pass(told, watched):
    """By key template, hits, misses and removals apart."""
    told.set("user:1", "12345")
    with watched.root(), told.pipeline(transaction=False) as pipe:
        for number in (1, 2):
            pipe.get(f"user:{number}").expire(f"user:{number}", 60)
        pipe.delete("user:1", "user:2").execute()
    (totals,) = [each for each in cache_totals() if each.key_prefix == "user:{}"]
    assert (totals.hits, totals.misses, totals.removals) == (1, 1, 1)


def test_nothing_of_a_request_is_kept_once_it_is_judged(told, watched):
    """The context that its last command ran in goes with it, and what the application put there."""

    class Request:
        pass

    request = Request()
    with watched.root():
        token = attach(set_value("request", request))
        told.get("user:1")
        detach(token)
    gone = weakref.ref(request)
    del request
    watched.processor.analyzer.judge_ended()
    gc.collect()
    assert gone() is None


def test_a_processor_that_comes_in_the_midst_sees_what_is_pending_and_what_follows(told, watched):
    """From then on each command is reported when it is over."""
    seen = []

    class Starts(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append(span.name)

    with watched.root():
        told.get("user:1")
        watched.tracer_provider.add_span_processor(Starts())
        watched.tracer_provider.force_flush()
        told.get("user:2")
        assert seen == ["GET user:{}"] * 2


@pytest.mark.swallows_errors
def test_one_that_cannot_be_told_does_not_silence_the_others(told, watched, monkeypatch):
    """Each is tried by itself then."""
    original = pending.decide

    def decide(records):
        if any(each.statement.text == "GET user:2" for each in records):
            raise ValueError
        return original(records)

    monkeypatch.setattr(pending, "decide", decide)
    with watched.root():
        for number in range(4):
            told.get(f"user:{number}")
    texts = [span.attributes["db.query.text"] for span in watched.spans() if span.kind == "CLIENT"]
    assert sorted(texts) == ["GET user:0", "GET user:1", "GET user:3"]
    assert safety.errors() == {"span.flush_all": 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_tells_what_is_its_own(told, watched, redis_server):
    """What waited is the parent's; in a context that the child inherited, its own commands are told at once."""
    with watched.root():
        told.get("user:1")
        inherited = contextvars.copy_context()

        def child():
            own = redis.Redis.from_url(redis_server.url())
            inherited.run(own.get, "user:2")
            recording.loose.drain()
            own.close()
            return exported(watched)

        assert in_child(child) == ["GET user:{}"]
    assert [span.attributes["db.query.text"] for span in watched.spans() if span.kind == "CLIENT"] == ["GET user:1"]


def test_without_rules_about_totals_it_is_told_in_time_too(make_telemetry, redis_server):
    """The thread that tells runs for windows that keep something."""
    telemetry = make_telemetry(instrument=False, batched=True, settings=Settings(rules=("n_plus_one",)))
    instrumentor = dbsight.RedisInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True)
    try:
        with contextlib.closing(redis.Redis.from_url(redis_server.url())) as client:
            for name in ("warm", "consume"):
                with telemetry.root(name):
                    client.get("user:1")
                    deadline = time.monotonic() + 60
                    while name == "consume" and exported(telemetry).count("GET user:{}") < 2:
                        assert time.monotonic() < deadline
                        time.sleep(0.02)
    finally:
        instrumentor.uninstrument()


def test_where_no_thread_can_be_started_a_command_is_told_at_once(told, watched, monkeypatch):
    """At the end of the interpreter, for instance."""

    def start():
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(watched.processor.analyzer.windows, "_unattended", start)
    with watched.root():
        told.get("user:1")
        assert exported(watched) == ["GET user:{}"]
