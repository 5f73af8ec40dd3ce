"""Forks, workers and pools of processes: each tells of its own work, and none hangs."""

import re
import sys

import pytest

from e2e.observed import line_of
from matrix.programs import MODELS
from matrix.serving import serving

pytestmark = pytest.mark.slow

PACKAGES = (
    "sqlalchemy ==2.1.*",
    "aiosqlite",
    "anyio",
    "greenlet",
    "psycopg[binary]",
    "trio",
    "uvloop",
    "opentelemetry-instrumentation-sqlite3 >=0.63b0",
)

COMMON = f"""{MODELS}
import time

from opentelemetry import trace

engine = create_engine(os.environ["DATABASE_URL"])
tracer = trace.get_tracer("shop")


def work(who, count):
    with tracer.start_as_current_span(who, kind=trace.SpanKind.SERVER), engine.connect() as connection:
        for number in range(count):
            connection.execute(text(f"SELECT id AS {{who}} FROM authors WHERE id = :id"), {{"id": number}}).all()
"""

FORK = f"""{COMMON}
import faulthandler
import threading

fill(engine)
going = True


def busy():
    while going:
        work("parent", 5)


with tracer.start_as_current_span("whole", kind=trace.SpanKind.SERVER):  # open at the forks
    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(10):
        child = os.fork()
        if not child:
            faulthandler.dump_traceback_later(90, exit=True)
            engine.dispose(close=False)
            work(f"child{{number}}", 10)
            trace.get_tracer_provider().force_flush()
            from opentelemetry import metrics

            metrics.get_meter_provider().force_flush()
            os._exit(0)
        children.append(child)
        time.sleep(0.02)
    deadline = time.monotonic() + 100
    codes = []
    while len(codes) < 10 and time.monotonic() < deadline:
        for child in list(children):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                children.remove(child)
                codes.append(status)
        time.sleep(0.05)
    going = False
    for thread in threads:
        thread.join()
print(codes, children)
"""


def loops_of(seen, pattern):
    """Name, queries below it and its findings, of every root whose name fits."""
    roots = [span for span in seen.spans() if span.kind == "SERVER" and re.fullmatch(pattern, span.name)]
    queries = {}
    for span in seen.queries():
        queries[span.parent_span_id] = queries.get(span.parent_span_id, 0) + 1
    return [
        (root.name, queries.get(root.span_id, 0), root.attributes.get("dbsight.findings.rules"))
        for root in sorted(roots, key=lambda root: root.name)
    ]


def exported(seen):
    """How many SELECTs each process counted, by its last export; a process is known by when its counting began."""
    return sorted(
        {
            point.start_ns: point.value
            for metric in seen.metrics("dbsight.queries")
            for point in metric.points
            if point.attributes["dbsight.query.type"] == "select"
        }.values()
    )


def test_a_process_that_forks_under_load_has_children_that_tell_of_themselves_alone(
    python_of, observe, postgresql, tmp_path
):
    """Ten children of a parent with four busy threads and an open request: exact spans, findings and metrics.

    On PostgreSQL and over HTTP: SQLite and gRPC have locks and threads of their own, which a child inherits in whatever
    state they were. One that hangs says where.
    """
    env = {
        "DATABASE_URL": postgresql.url("postgresql+psycopg"),
        "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": "60",  # a query that is slow is counted in a series of its own
        "OTEL_DBSIGHT_VERY_SLOW_QUERY_THRESHOLD": "60",
    }
    seen = observe(FORK, cwd=tmp_path, python=python_of(*PACKAGES), env=env, timeout=200, protocol="http/protobuf")
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, f"{[0] * 10} []\n", "")
    assert loops_of(seen, r"child\d") == [(f"child{n}", 10, ["n_plus_one"]) for n in range(10)]
    parents = loops_of(seen, "parent")
    assert {queries for _, queries, _ in parents} == {5}
    whole = sum(queries for _, queries, _ in parents)
    assert "dbsight.findings.rules" not in seen.span("whole").attributes
    assert exported(seen) == [*[10] * 10, whole]
    assert seen.points("dbsight.self.errors") == []


POOLS = f"""{COMMON}
import multiprocessing


def job(number):
    work(f"job{{number}}", 6)
    return os.getpid()


def child(number):
    job(number)
    from opentelemetry import metrics

    trace.get_tracer_provider().force_flush()
    metrics.get_meter_provider().force_flush()


if __name__ == "__main__":
    fill(engine)
    work("before", 7)
    engine.dispose()
    context = multiprocessing.get_context(sys.argv[1])
    started = [context.Process(target=child, args=(number,)) for number in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    print([process.exitcode for process in started])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_tell_of_themselves_alone(method, python_of, observe, tmp_path):
    """The environment that ``opentelemetry-instrument`` prepares reaches those that begin anew as well."""
    (tmp_path / "app.py").write_text(POOLS.lstrip("\n"))
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'pools.db'}?timeout=60"}
    seen = observe(["app.py", method], cwd=tmp_path, python=python_of(*PACKAGES), env=env, timeout=120)
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "[0, 0, 0]\n", "")
    assert loops_of(seen, ".*") == [
        ("before", 7, ["n_plus_one"]),
        *[(f"job{n}", 6, ["n_plus_one"]) for n in range(3)],
    ]
    assert exported(seen) == [6, 6, 6, 7]


WAITING = f"""{COMMON}
import signal


def outside(who, count):
    with engine.connect() as connection:
        for number in range(count):
            connection.execute(text(f"SELECT id AS {{who}} FROM authors WHERE id = :id"), {{"id": number}}).all()


fill(engine)
outside("parent", 7)  # its window is still open, and the threads run
engine.dispose()
child = os.fork()
outside("parent" if child else "child", 6)
signal.pause()
"""


def test_the_threads_of_a_child_start_again_and_tell_nothing_of_its_parent(python_of, receiver, tmp_path):
    """Both wait for nothing: windows close, spans and metrics go out by the threads of each, findings once."""
    (tmp_path / "app.py").write_text(WAITING.lstrip("\n"))
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'waiting.db'}?timeout=60", "OTEL_DBSIGHT_FINDINGS": "both"}
    env |= {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint}
    with serving(["app.py"], python=python_of(*PACKAGES), cwd=tmp_path, receiver=receiver, env=env):
        receiver.wait_for(lambda arrived: len(arrived.spans("dbsight.window")) == 2, 40)
        receiver.wait_for(lambda arrived: exported(arrived) == [6, 13], 40)
        receiver.wait_for(lambda arrived: len(arrived.logs("dbsight.finding")) == 2, 40)
    assert (tmp_path / "output.txt").read_text() == ""
    windows = sorted(receiver.spans("dbsight.window"), key=lambda window: window.attributes["dbsight.db.calls"])
    assert [(window.attributes["dbsight.db.calls"], len(window.events)) for window in windows] == [(6, 1), (13, 1)]
    assert len({window.trace_id for window in windows}) == 2
    told = sorted(record.attributes["dbsight.finding.count"] for record in receiver.logs("dbsight.finding"))
    assert told == [6, 13]


KILLED = f"""{COMMON}
import signal

fill(engine)
child = os.fork()
if not child:
    engine.dispose(close=False)
    work("first", 6)
    trace.get_tracer_provider().force_flush()
    with tracer.start_as_current_span("second", kind=trace.SpanKind.SERVER), engine.connect() as connection:
        connection.execute(text("SELECT id AS killed FROM authors")).fetchone()
        os.kill(os.getpid(), signal.SIGKILL)
print(os.waitpid(child, 0)[1])
work("parent", 6)
"""


def test_a_child_that_is_killed_loses_only_its_own(python_of, observe, tmp_path):
    """What it had flushed arrived; the parent goes on as if nothing had been."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'killed.db'}?timeout=60"}
    seen = observe(KILLED, cwd=tmp_path, python=python_of(*PACKAGES), env=env)
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "9\n", "")
    assert loops_of(seen, ".*") == [("first", 6, ["n_plus_one"]), ("parent", 6, ["n_plus_one"])]
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 6


AT_ONCE = {"OTEL_BSP_MAX_QUEUE_SIZE": "80000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
"""Metrics are exported once, at the end."""

EXACT = f"""{COMMON}
import random
import threading

fill(engine)
engine.dispose()
engine = create_engine(os.environ["DATABASE_URL"], pool_size=64, max_overflow=0)


def many():
    with tracer.start_as_current_span("thread", kind=trace.SpanKind.SERVER), engine.connect() as connection:
        for number in range(1000):
            connection.execute(text("SELECT id FROM authors WHERE id = :id"), {{"id": number}}).all()


threads = [threading.Thread(target=many) for _ in range(64)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_sixty_four_threads_of_a_thousand_queries_give_exact_totals(python_of, observe, tmp_path):
    """Counted by metrics and by the roots; the SDK's bounded queue may drop spans, which is not ours to prevent."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'exact.db'}", **AT_ONCE}
    seen = observe(EXACT, cwd=tmp_path, python=python_of(*PACKAGES), env=env, timeout=300)
    assert (seen.run.returncode, seen.run.stdout) == (0, "done\n")
    roots = [span.attributes["dbsight.db.calls"] for span in seen.spans("thread")]
    assert roots == [1000] * 64
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 64_000
    assert sum(point.value for point in seen.points("dbsight.queries")) == 64_000  # some slow, where a machine is busy


CANCELLED = f"""{MODELS}
import random

from opentelemetry import trace
from sqlalchemy.ext.asyncio import create_async_engine

random.seed(7)
tracer = trace.get_tracer("shop")
executed = 0


def count(*_):
    global executed
    executed += 1


async def task(engine, number):
    with tracer.start_as_current_span(f"task{{number % 10}}", kind=trace.SpanKind.SERVER):
        for turn in range(200):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT id FROM authors WHERE id = :id"), {{"id": turn}})


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=0, pool_timeout=120)
    with suppressed():
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
    sqlalchemy.event.listen(engine.sync_engine, "before_cursor_execute", count)
    tasks = [asyncio.create_task(task(engine, number)) for number in range(200)]
    while not all(each.done() for each in tasks):
        await asyncio.sleep(0.02)
        victim = random.choice(tasks)
        victim.cancel()
    cancelled = sum(each.cancelled() for each in tasks)
    failed = [each.exception() for each in tasks if not each.cancelled() and each.exception()]
    await engine.dispose()
    print(cancelled > 5, failed, executed)


if "uvloop" in sys.argv:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tasks_that_are_cancelled_at_random_give_exact_totals(loop, python_of, observe, tmp_path):
    """What the application sent: in spans, on roots and in metrics, and no query without its root."""
    (tmp_path / "app.py").write_text(CANCELLED.lstrip("\n"))
    env = {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}", **AT_ONCE}
    seen = observe(["app.py", loop], cwd=tmp_path, python=python_of(*PACKAGES), env=env, timeout=300)
    cancelled, failed, executed = seen.run.check().stdout.split()
    assert (cancelled, failed, seen.run.stderr) == ("True", "[]", "")
    roots = [span for span in seen.spans() if span.kind == "SERVER"]
    assert len(roots) == 200
    calls = sum(root.attributes.get("dbsight.db.calls", 0) for root in roots)
    counted = sum(point.count for point in seen.points("db.client.operation.duration"))
    assert (calls, counted, len(seen.queries())) == (int(executed),) * 3
    below = {(root.trace_id, root.span_id) for root in roots}
    assert {(span.trace_id, span.parent_span_id) for span in seen.queries()} <= below
    assert seen.spans("dbsight.window") == []
    assert seen.points("dbsight.self.errors") == []


GROUPS = f"""{MODELS}
import threading

from opentelemetry import trace
from sqlalchemy.ext.asyncio import create_async_engine

tracer = trace.get_tracer("shop")


async def ask(engine, number):
    async with engine.connect() as connection:
        await connection.execute(text("SELECT id FROM authors WHERE id = :id"), {{"id": number}})  # ask


async def request(engine, name, count):
    with tracer.start_as_current_span(name, kind=trace.SpanKind.SERVER):
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(ask(engine, number))


async def main(who):
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20)
    async with asyncio.TaskGroup() as group:
        for count in (1, 6, 9):
            group.create_task(request(engine, f"{{who}} {{count}}", count))
    await engine.dispose()


for who in ("first", "second"):
    asyncio.run(main(who))
threads = [threading.Thread(target=asyncio.run, args=(main(f"thread{{number}}"),)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has had task groups since Python 3.11")
def test_task_groups_on_several_loops_are_judged_each_by_itself(python_of, observe, sqlite_url, tmp_path):
    """Two loops one after the other, three at once, three requests on each: every query below its own root."""
    env = {"DATABASE_URL": sqlite_url.replace("sqlite:", "sqlite+aiosqlite:")}
    seen = observe(GROUPS, cwd=tmp_path, python=python_of(*PACKAGES), env=env)
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "done\n", "")
    names = ("first", "second", "thread0", "thread1", "thread2")
    assert loops_of(seen, ".*") == sorted(
        (f"{name} {count}", count, ["n_plus_one"] if count > 4 else None) for name in names for count in (1, 6, 9)
    )
    assert {span.attributes["code.line.number"] for span in seen.queries()} == {line_of(GROUPS, "ask")}
    assert (len(seen.queries()), seen.spans("dbsight.window")) == (5 * 16, [])


TRIO = f"""{MODELS}
import random

import anyio
import anyio.to_thread
from opentelemetry import trace

random.seed(7)
tracer = trace.get_tracer("shop")
engine = create_engine(os.environ["DATABASE_URL"], pool_size=20)
executed = 0


def ask(number):
    with engine.connect() as connection:
        connection.execute(text("SELECT id FROM authors WHERE id = :id"), {{"id": number}}).all()  # ask


async def request(count):
    with tracer.start_as_current_span(f"GET /{{count}}", kind=trace.SpanKind.SERVER):
        for number in range(count):
            await anyio.to_thread.run_sync(ask, number)


def count(*_):
    global executed
    executed += 1


async def limited():
    with tracer.start_as_current_span("limited", kind=trace.SpanKind.SERVER):
        with anyio.move_on_after(random.uniform(0, 0.05)):
            while True:
                await anyio.to_thread.run_sync(ask, 1)


async def main():
    async with anyio.create_task_group() as group:
        for count in (1, 6, 9):
            group.start_soon(request, count)
        for _ in range(10):
            group.start_soon(limited)


sqlalchemy.event.listen(engine, "before_cursor_execute", count)
anyio.run(main, backend=sys.argv[1])
print(executed)
"""


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_tasks_of_anyio_keep_their_windows_in_worker_threads(backend, python_of, observe, sqlite_url, tmp_path):
    """No asynchronous driver runs on trio: there queries run in threads, and a deadline ends the wait for them."""
    (tmp_path / "app.py").write_text(TRIO.lstrip("\n"))
    seen = observe(["app.py", backend], cwd=tmp_path, python=python_of(*PACKAGES), env={"DATABASE_URL": sqlite_url})
    executed = int(seen.run.check().stdout)
    assert seen.run.stderr == ""
    told = {1: None, 6: ["n_plus_one"], 9: ["n_plus_one"]}
    assert loops_of(seen, "GET .*") == [(f"GET /{count}", count, rules) for count, rules in told.items()]
    limited = [span.attributes.get("dbsight.db.calls", 0) for span in seen.spans("limited")]
    assert (len(limited), sum(limited) + 16, len(seen.queries())) == (10, executed, executed)
    assert {span.attributes["code.line.number"] for span in seen.queries()} == {line_of(TRIO, "ask")}
    assert seen.spans("dbsight.window") == []
