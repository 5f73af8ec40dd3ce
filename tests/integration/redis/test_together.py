"""Commands of one local root are told together: nobody who looks misses one."""

import contextlib
import threading
import time

import pytest
import redis

import dbsight
from dbsight import scope, semconv
from dbsight.analyzer import cache_totals


@pytest.fixture
def told(client, watched):
    """A client whose commands wait to be told, as they do after the first one."""
    with watched.root():
        client.get("warm:1")
    watched.clear()
    return client


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
    assert exported(watched) == ["GET user:{}", "SET user:{}", "GET /few"]
    watched.clear()
    with watched.root("GET /many"):
        for number in range(60):
            told.get(f"user:{number}")
        assert exported(watched) == ["GET user:{}"] * 50
    assert exported(watched) == [*["GET user:{}"] * 60, "GET /many"]


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
    assert exported(watched) == ["GET user:{}", "consume"]


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


def test_what_runs_on_after_its_root_is_told_at_once(told, watched):
    """A thread that outlives the request has its context, and its spans are not lost."""
    with watched.root():
        window = scope.window.get()
        parent = watched.tracer.start_span("background")
    from opentelemetry import trace

    with trace.use_span(parent, end_on_exit=True):
        scope.window.set(window)
        told.get("user:1")
        assert exported(watched)[-1] == "GET user:{}"
    scope.window.set(None)


def test_threads_of_one_request_leave_theirs_with_it(told, watched, redis_server):
    """Each command is told once, below the request, and counted there."""
    import contextvars

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
    """A query is told at once, a command later; the rules see them as they came."""
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
        engine.dispose()
    finally:
        del chatter.complete
        instrumentor.uninstrument()
    assert [each for each in seen if each in {"sqlite", "redis"}][:6] == ["sqlite", "redis"] * 3
