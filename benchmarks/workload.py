"""One measured process: the workloads, one after the other, under one variant; printed as a line of JSON.

    python benchmarks/workload.py '{"variant": "stock", "workloads": ["core-memory"], "sink": {"otlp": 4317}, ...}'

A request is a span with twenty queries in it, one on each of twenty tables, on one connection (or in one session), each
reading one row by its primary key: healthy traffic, without a finding. With Redis it is twenty commands, of as many
kinds of keys, or twenty pipelines of ten; with a pool, twenty checkouts. Workloads in ``FEWER`` have fewer queries.

Garbage collection stays on, as in production, with Python's thresholds. What exists when the measurement begins is
collected and frozen, so that no variant pays for the size of the modules that it imported; every turn begins with a
collection that is not measured.

The processes of a round take turns: before each measurement this one prints the workload's name and waits for a line.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

import drivers
import tables
from program import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from variants import Telemetry

WORKLOADS = {
    # name: (style, scheme of the URL, modules that it needs)
    "core-memory": ("core", "sqlite", ()),
    "core-six-memory": ("core", "sqlite", ()),
    "core-file": ("core", "sqlite", ()),
    "orm-memory": ("orm", "sqlite", ()),
    "nplusone-memory": ("nplusone", "sqlite", ()),
    "nplusone-six-memory": ("nplusone", "sqlite", ()),
    "core-psycopg": ("core", "postgresql+psycopg", ("psycopg",)),
    "orm-psycopg": ("orm", "postgresql+psycopg", ("psycopg",)),
    "async-aiosqlite": ("async", "sqlite+aiosqlite", ("aiosqlite", "greenlet")),
    "async-asyncpg": ("async", "postgresql+asyncpg", ("asyncpg", "greenlet")),
    "django-memory": ("django", "sqlite", ("django",)),
    "django-view": ("django", "sqlite", ("django", "opentelemetry.instrumentation.django")),
    "django-psycopg": ("django", "postgresql+psycopg", ("django", "psycopg")),
    "driver-sqlite3": ("driver", "sqlite", ()),
    "driver-psycopg": ("driver", "postgresql+psycopg", ("psycopg",)),
    "driver-psycopg2": ("driver", "postgresql+psycopg2", ("psycopg2",)),
    "driver-asyncpg": ("asyncpg", "postgresql+asyncpg", ("asyncpg",)),
    "driver-pymysql": ("driver", "mariadb+pymysql", ("pymysql", "opentelemetry.instrumentation.pymysql")),
    "redis-get": ("redis", "redis", ("redis",)),
    "redis-new-keys": ("redis", "redis", ("redis",)),
    "redis-pipeline": ("redis", "redis", ("redis",)),
    "checkout": ("checkout", "sqlite", ()),
    "threads-memory": ("threads", "sqlite", ()),
}
"""``nplusone`` reads the same table twenty times in each request, or six times: every one of them has a finding to
carry, the same each time. ``core-six-memory`` is its counterpart without a finding.
``django-memory`` and ``django-psycopg`` get an object of each table through Django's ORM; stock has the driver's
instrumentor for them, because Django's own makes spans of requests alone. ``django-view`` does so in a view, with
OpenTelemetry's instrumentor of Django for the span of the request, in every variant. ``driver-…`` uses a
driver alone, against its own instrumentor. ``redis-new-keys`` never asks for a key again, as where keys are those of
sessions or users. ``threads-memory`` spreads its requests over 64 threads; each round has one slow query, and callbacks
of alerts raise, sleep and query."""

FEWER = {"core-six-memory": 6, "nplusone-six-memory": 6}
"""Queries of a request where they are not twenty, by workload. Only instructions of these are counted."""

THREADS = 64
SLOW = 1.05
"""s; over the default limit of slow queries."""


def queries_per_request(name: str) -> int:
    """How many queries, commands, pipelines or checkouts a request of a workload has."""
    return FEWER.get(name, tables.TABLES)


def _engine(name: str, url: str) -> Any:
    if not name.endswith("-memory"):
        return sa.create_engine(url)

    def connect() -> sqlite3.Connection:
        # Looked up when it is called: an instrumentor has replaced it by then.
        connection = sqlite3.dbapi2.connect(":memory:", check_same_thread=False)
        tables.fill_sqlite(connection)
        return connection

    return sa.create_engine("sqlite://", creator=connect)


def _core(name: str, url: str, telemetry: Telemetry) -> Program:
    engine = _engine(name, url)
    queries = queries_per_request(name)
    selects = tables.SELECTS[:1] * queries if WORKLOADS[name][0] == "nplusone" else tables.SELECTS[:queries]

    def run(requests: int) -> None:
        for _ in range(requests):
            with telemetry.request(), engine.connect() as connection:
                for key, select in enumerate(selects, 1):
                    connection.execute(select, {"id": key}).one()

    return Program(run, engine.dispose)


def _orm(name: str, url: str, telemetry: Telemetry) -> Program:
    engine = _engine(name, url)
    half = tables.TABLES // 2
    selects = [sa.select(model).where(model.id == sa.bindparam("id")) for model in tables.MODELS[half:]]

    def run(requests: int) -> None:
        for _ in range(requests):
            with telemetry.request(), Session(engine) as session:
                for key, model in enumerate(tables.MODELS[:half], 1):
                    session.get(model, key)
                for key, select in enumerate(selects, 1):
                    session.scalars(select, {"id": key}).one()

    return Program(run, engine.dispose)


def _async(name: str, url: str, telemetry: Telemetry) -> Program:
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    loop = asyncio.new_event_loop()

    async def requests(count: int) -> None:
        for _ in range(count):
            with telemetry.request():
                async with engine.connect() as connection:
                    for key, select in enumerate(tables.SELECTS, 1):
                        (await connection.execute(select, {"id": key})).one()

    def close() -> None:
        loop.run_until_complete(engine.dispose())
        loop.close()

    return Program(lambda count: loop.run_until_complete(requests(count)), close)


def _redis(name: str, url: str, telemetry: Telemetry) -> Program:
    import redis

    client = redis.Redis.from_url(url)
    kinds = [f"kind-{chr(ord('a') + number)}" for number in range(tables.TABLES)]
    numbers = itertools.count(10_000) if name == "redis-new-keys" else itertools.cycle(range(12))

    def get(kind: str, number: int) -> None:
        client.get(f"{kind}:{number}")

    def pipeline(kind: str, _: int) -> None:
        pipe = client.pipeline(transaction=False)
        for index in range(10):
            pipe.get(f"{kind}:{index}")
        pipe.execute()

    send = pipeline if name == "redis-pipeline" else get

    def run(requests: int) -> None:
        for number in itertools.islice(numbers, requests):
            with telemetry.request():
                for kind in kinds:
                    send(kind, number)

    return Program(run, client.close)


def _checkout(_: str, __: str, telemetry: Telemetry) -> Program:
    engine = sa.create_engine(
        "sqlite://",
        poolclass=sa.pool.QueuePool,
        connect_args={"check_same_thread": False},
        pool_reset_on_return=None,
    )

    def run(requests: int) -> None:
        for _ in range(requests):
            with telemetry.request():
                for _ in range(tables.TABLES):
                    engine.pool.connect().close()

    return Program(run, engine.dispose)


def _threads(name: str, url: str, telemetry: Telemetry) -> Program:
    engine = sa.create_engine(
        "sqlite://", creator=_engine(name, url).pool._creator, poolclass=sa.pool.QueuePool, pool_size=THREADS
    )
    sa.event.listen(engine, "connect", lambda connection, _: connection.create_function("slowly", 1, time.sleep))
    slow = sa.text("SELECT slowly(:seconds)")

    def request() -> None:
        with telemetry.request(), engine.connect() as connection:
            for key, select in enumerate(tables.SELECTS, 1):
                connection.execute(select, {"id": key}).one()

    def wait() -> None:
        with telemetry.request(), engine.connect() as connection:
            connection.execute(slow, {"seconds": SLOW}).one()

    def broken(_: object) -> None:
        raise RuntimeError

    def asking(_: object) -> None:
        with engine.connect() as connection:
            connection.execute(tables.SELECTS[0], {"id": 1}).one()

    on_alert = getattr(sys.modules.get("dbsight"), "on_alert", None)  # an older dbsight has no alerts
    for callback in (broken, lambda _: time.sleep(0.1), asking) if on_alert is not None else ():
        on_alert(callback)
    workers = ThreadPoolExecutor(THREADS)

    def run(requests: int) -> None:
        waiting = [workers.submit(wait), *(workers.submit(request) for _ in range(requests))]
        for each in waiting:
            each.result()

    def close() -> None:
        workers.shutdown()
        engine.dispose()

    return Program(run, close)


PROGRAMS = {
    "threads": _threads,
    "core": _core,
    "nplusone": _core,
    "orm": _orm,
    "async": _async,
    "django": drivers.django,
    "driver": drivers.driver,
    "asyncpg": drivers.asyncpg,
    "redis": _redis,
    "checkout": _checkout,
}


def _turn(program: Program, telemetry: Telemetry, requests: int, queries: int) -> dict[str, float]:
    """Measure once.

    Args:
        program: The workload.
        telemetry: What exports it.
        requests: How many it makes.
        queries: How many all of them have.

    Returns:
        ``cpu`` (all threads), ``caller`` (the thread that asks) and ``wall``: µs a query, to the last span delivered;
        ``collections`` of the youngest objects, a thousand queries; ``metrics``: CPU ms of one export of all metrics,
        which comes once a minute however many queries there were.
    """
    gc.collect()
    collections = gc.get_stats()[0]["collections"]
    wall, cpu, caller = time.perf_counter(), time.process_time(), time.thread_time()
    program.run(requests)
    # Before the flush: a batch processor that is flushed exports on the thread that asks.
    caller = time.thread_time() - caller
    telemetry.flush()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    collections = gc.get_stats()[0]["collections"] - collections
    exporting = time.process_time()
    telemetry.export_metrics()
    exporting = time.process_time() - exporting
    return {
        "cpu": cpu / queries * 1e6,
        "caller": caller / queries * 1e6,
        "wall": wall / queries * 1e6,
        "collections": collections / queries * 1000,
        "metrics": exporting * 1000,
    }


def _allocations(program: Program, flush: Callable[[], None]) -> dict[str, float]:
    """Measure what ten requests keep until they are exported, and the peak through the export; per query.

    The batch processor's timer is off and ten requests stay below its batch size: nothing leaves before the flush.
    """
    requests = 10
    queries = requests * tables.TABLES
    gc.collect()
    blocks = sys.getallocatedblocks()
    program.run(requests)
    gc.collect()
    blocks = sys.getallocatedblocks() - blocks
    flush()
    tracemalloc.start()
    program.run(requests)
    flush()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    program.run(requests)
    held = tracemalloc.get_traced_memory()[0] - before
    flush()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return {"blocks": blocks / queries, "held_bytes": held / queries, "peak_bytes": peak / queries}


def _arrived(sink: dict[str, int]) -> dict[str, int]:
    """What arrived in the sink since it was last asked."""
    connection = http.client.HTTPConnection("127.0.0.1", sink["agent"])
    connection.request("GET", "/counts")
    counts: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return counts


def _measure(name: str, task: dict[str, Any], telemetry: Telemetry) -> dict[str, Any]:
    """Measure one workload: warm up, freeze, then measure at each turn, and ask the sink what arrived."""
    program = PROGRAMS[WORKLOADS[name][0]](name, task["urls"].get(name, ""), telemetry)
    program.run(task["warmup"])
    telemetry.flush()
    gc.collect()
    gc.freeze()
    turns, queries = [], task["requests"] * queries_per_request(name)
    for _ in range(task["turns"]):
        print(name, flush=True)
        sys.stdin.readline()
        _arrived(task["sink"])
        turn = _turn(program, telemetry, task["requests"], queries)
        turns.append(turn | {key: count / queries for key, count in _arrived(task["sink"]).items()})
    # The smallest: what another process on this machine adds is never negative.
    result: dict[str, Any] = {key: min(turn[key] for turn in turns) for key in turns[0]}
    if name in task["allocations"]:
        result |= _allocations(program, telemetry.flush)
    program.close()
    return result


def _count(name: str, task: dict[str, Any], telemetry: Telemetry) -> None:
    """Run one workload under valgrind, which counts from here to here, and dumps what it counted."""
    program = PROGRAMS[WORKLOADS[name][0]](name, task["urls"].get(name, ""), telemetry)
    program.run(task["warmup"])
    telemetry.flush()
    gc.collect()
    gc.freeze()
    _valgrind("--instr=on")
    program.run(task["requests"])
    telemetry.flush()
    _valgrind("--instr=off")
    _valgrind(f"--dump={name}")
    program.close()


def _valgrind(what: str) -> None:
    subprocess.run(["callgrind_control", what, str(os.getpid())], stdout=subprocess.DEVNULL, check=True)


def _start(task: dict[str, Any]) -> dict[str, float]:
    """Start as a program does: instrument, unless ``opentelemetry-instrument`` did, and send a first query."""
    if not task["instrumented"]:
        import variants

        variants.install(task["variant"], task["sink"])
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(sa.text("SELECT 1")).one()
    cpu = time.process_time()
    import psutil  # what it adds is in all variants

    return {"cpu": cpu * 1e3, "memory": psutil.Process().memory_info().rss / 2**20}


def main(task: dict[str, Any]) -> dict[str, Any]:
    """Run one task.

    Args:
        task: ``do``: "measure", "count" instructions or "start"; ``variant``; ``workloads`` and their database
            ``urls``; the ports of the ``sink``; ``core`` to be pinned to, or None; ``warmup`` and ``requests`` (a
            turn) and ``turns`` of each workload; ``allocations``: the workloads where memory is measured too;
            ``instrumented``: it is already; ``timer``: dbsight's runs while instructions are counted.

    Returns:
        Measured: by workload, where what arrived in the sink is counted per query. Counted: nothing, the numbers are in
        valgrind's files. Started: ``cpu`` ms from the start of the interpreter to the end of the first query, and
        ``memory``, resident MB.
    """
    if task["do"] == "start":
        return _start(task)
    import variants

    counting = task["do"] == "count"
    if counting:
        variants.keep_here()
    telemetry = variants.install(task["variant"], task["sink"])
    for name in ("attributes", "emission") if counting else ():
        module = sys.modules.get(f"dbsight.span.{name}")
        if module is not None:  # under valgrind every fetch is slow
            module.PART_SHOWN = 3600
    sweeper = sys.modules.get("dbsight.recording.sweeper") if counting and not task["timer"] else None
    if sweeper is not None:  # the slower the program, the more often dbsight's timer would run in it
        sweeper.EVERY = 86_400.0
    measured = {name: (_count if counting else _measure)(name, task, telemetry) for name in task["workloads"]}
    if not counting:
        telemetry.shutdown()
    return measured


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    if task["core"] is not None:
        os.sched_setaffinity(0, {task["core"]})
    print(json.dumps(main(task)), flush=True)
    if task["do"] == "count":
        os._exit(0)  # what a process does at its end takes minutes under valgrind
