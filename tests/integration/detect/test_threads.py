"""What a request hands to other threads belongs to the request; what runs after its end does not."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context

import pytest
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.trace import SpanKind, get_current_span
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

import dbsight
from dbsight import scope, semconv
from integration.detect.shop import Order

LOOK_UPS = range(1, 11)
mine = ContextVar("mine", default="nothing")
REPETITION = {"n_plus_one", "redundant_query", "row_by_row_write"}


def repeated(findings):
    """Those about repetitions: on a busy machine any query may be slow."""
    return [each for each in findings if each.rule in REPETITION]


@pytest.fixture
def look_up(watch):
    """Reads one order by its key, in a session of its own."""

    def look_up(number):
        with Session(watch.engine) as session:
            return session.get(Order, number).note

    return look_up


def by_map(function):
    """``ThreadPoolExecutor.map``."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(function, LOOK_UPS))


def by_submit(function):
    """``ThreadPoolExecutor.submit``, whose results are awaited in order."""
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(function, number) for number in LOOK_UPS]:
            future.result()


def by_carried_context(function):
    """An application that carries the whole context by itself."""
    with ThreadPoolExecutor(4) as pool:
        for number in LOOK_UPS:
            pool.submit(copy_context().run, function, number)


def by_executor_of_a_loop(function):
    """``loop.run_in_executor``."""

    async def everything():
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, function, number) for number in LOOK_UPS))

    asyncio.run(everything())


def by_to_thread(function):
    """``asyncio.to_thread``."""

    async def everything():
        await asyncio.gather(*(asyncio.to_thread(function, number) for number in LOOK_UPS))

    asyncio.run(everything())


def by_a_pool_of_a_pool(function):
    """A submitted function that submits others."""
    with ThreadPoolExecutor(1) as outer, ThreadPoolExecutor(4) as pool:
        outer.submit(lambda: list(pool.map(function, LOOK_UPS))).result()


def by_threads(function):
    """A thread for each."""
    threads = [threading.Thread(target=function, args=(number,)) for number in LOOK_UPS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


WAYS = (by_map, by_submit, by_carried_context, by_executor_of_a_loop, by_to_thread, by_a_pool_of_a_pool, by_threads)


@pytest.mark.parametrize("spread", WAYS)
def test_look_ups_in_the_threads_of_a_request_are_found(watch, look_up, spread):
    """Ten of them in four threads, of which each has but two or three."""
    (found,) = repeated(watch(lambda _: spread(look_up)))
    assert (found.rule, found.count) == ("n_plus_one", 10)


@pytest.mark.parametrize("spread", WAYS)
def test_their_spans_are_below_the_request(watch, look_up, spread):
    """In one trace, below the span that was current where they were submitted."""
    telemetry = watch.telemetry
    with telemetry.root("GET /"), telemetry.tracer.start_as_current_span("report"):
        spread(look_up)
    spans = telemetry.spans()
    report = next(span for span in spans if span.name == "report")
    queries = [span for span in spans if span.name.startswith("SELECT")]
    assert [span.parent_span_id for span in queries] == [report.span_id] * 10
    root = next(span for span in spans if span.name == "GET /")
    assert root.attributes[semconv.DB_CALLS] == 10


def test_what_the_application_sees_in_a_worker_stays_as_it_was(watch):
    """Neither the current span nor its own ContextVars are carried, and what a function sets there stays there."""
    seen = []

    def work():
        seen.append((mine.get(), get_current_span().get_span_context().is_valid))
        mine.set("the worker's")

    with ThreadPoolExecutor(1) as pool, watch.telemetry.root():
        mine.set("the request's")
        pool.submit(work).result()
        pool.submit(work).result()
    assert seen == [("nothing", False), ("the worker's", False)]


def test_a_worker_forgets_the_request_after_each_function(watch, look_up):
    """One pool serves many requests, and work outside of them."""
    telemetry = watch.telemetry
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            with telemetry.root():
                list(pool.map(look_up, range(1, 3)))
        known = pool.submit(lambda: (scope.window.get(), scope.root.get())).result()
        list(pool.map(look_up, range(1, 3)))
    assert known == (None, None)
    telemetry.processor.analyzer.finish()
    spans = telemetry.spans()
    roots = [span for span in spans if span.name == "GET /"]
    assert [span.attributes[semconv.DB_CALLS] for span in roots] == [2] * 5
    outside = [span.attributes[semconv.DB_CALLS] for span in spans if span.name == semconv.WINDOW_SPAN]
    assert sum(outside) == 2
    assert [each for each in repeated(watch.findings()) if each.severity != "info"] == []


def test_what_runs_after_the_end_of_the_request_is_not_part_of_it(watch, look_up):
    """A job that is submitted by the request and waits until the response was sent; it is a unit of work of its own."""
    telemetry = watch.telemetry
    sent = threading.Event()

    def job(numbers):
        sent.wait()
        for number in numbers:
            look_up(number)

    with ThreadPoolExecutor(2) as pool:
        with telemetry.root() as root:
            look_up(1)
            jobs = [pool.submit(job, (number,)) for number in LOOK_UPS]
        sent.set()
        for each in jobs:
            each.result()
    telemetry.processor.analyzer.finish()
    spans = telemetry.spans()
    (request,) = [span for span in spans if span.name == "GET /"]
    assert request.attributes[semconv.DB_CALLS] == 1
    outside = [span for span in spans if span.name == semconv.WINDOW_SPAN]
    assert sum(span.attributes[semconv.DB_CALLS] for span in outside) == 10
    assert f"{root.get_span_context().trace_id:032x}" not in {span.trace_id for span in outside}
    # The thread's own root holds for all that it does in a row, as for a thread that was never submitted to.
    assert len(outside) <= 4


def test_one_statement_for_each_shard_is_left_alone(watch, tmp_path):
    """Ten databases are asked at once."""
    engines = [create_engine(f"sqlite:///{tmp_path / f'shard {number}.db'}") for number in LOOK_UPS]
    for engine in engines:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (note TEXT)"))

    def ask(engine):
        with engine.connect() as connection:
            query = text("SELECT count(*) FROM orders WHERE note = :note")
            return connection.execute(query, {"note": str(engine.url)}).scalar()

    def work(_):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, engines))

    assert repeated(watch(work)) == []
    for engine in engines:
        engine.dispose()


def test_a_daemon_that_a_request_starts_is_a_unit_of_work_of_its_own(watch, look_up):
    """It goes on when the request is long over."""

    def work(_):
        threads = [threading.Thread(target=look_up, args=(number,), daemon=True) for number in LOOK_UPS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert repeated(watch(work)) == []


def test_what_is_allowed_is_allowed_in_the_workers(watch, look_up):
    """The block stands around the call that waits for them."""

    def work(_):
        with dbsight.allow("n_plus_one", reason="ten at most"):
            by_map(look_up)

    assert repeated(watch(work)) == []


def test_an_exception_of_a_submitted_function_reaches_its_future(watch):
    """Unchanged, as does one that is no ``Exception``; the worker is as it was before."""
    with ThreadPoolExecutor(1) as pool, watch.telemetry.root():
        for error in (ValueError("of the application"), KeyboardInterrupt()):

            def fail(error=error):
                raise error

            assert pool.submit(fail).exception() is error
        assert pool.submit(int, "10", base=2).result() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(scope.window.get).result() is None


def test_nothing_is_wrapped_outside_of_requests(watch):
    """What an executor is given there is what it runs."""

    def caller():
        return sys._getframe(1).f_code.co_name

    with ThreadPoolExecutor(1) as pool:
        outside = pool.submit(caller).result()
        with watch.telemetry.root(kind=SpanKind.INTERNAL):
            inside = pool.submit(caller).result()
    assert (outside, inside) == ("run", "_run")


def test_beside_upstreams_instrumentation_of_threads_nothing_is_counted_twice(watch, look_up):
    """That one carries the current span, and what runs below it finds its window by it."""
    upstream = ThreadingInstrumentor()
    upstream.instrument()
    try:
        (found,) = repeated(watch(lambda _: by_map(look_up)))
        (again,) = repeated(watch(lambda _: by_threads(look_up)))
    finally:
        upstream.uninstrument()
    assert (found.count, again.count) == (10, 10)


def test_the_last_instrumentor_that_goes_puts_the_originals_back(watch):
    """Each of them needs it, and none of them alone."""
    replaced = [(ThreadPoolExecutor, "submit"), (threading.Thread, "start"), (threading.Thread, "run")]

    def now():
        return [vars(owner)[name] for owner, name in replaced]

    with_one = now()
    redis = dbsight.RedisInstrumentor()
    redis.instrument(skip_dep_check=True)
    assert now() == with_one
    redis.uninstrument()
    assert now() == with_one
    watch.telemetry._instrumentor.uninstrument()
    try:
        assert not any(hasattr(function, "__wrapped__") for function in now())
    finally:
        watch.telemetry._instrumentor.instrument(tracer_provider=watch.telemetry.tracer_provider, skip_dep_check=True)
