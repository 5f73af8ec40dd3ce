"""``dbsight bench redis``: waits and memory of each preset of Redis pools, measured on a real server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import subprocess
import sys
import threading
import time
import warnings
from statistics import mean, quantiles
from typing import Any, Final, get_args
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table

from dbsight import config
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.redis_counts import DEFAULT_URL
from dbsight.config.settings import RedisPreset
from dbsight.formatting import count, seconds

PRESETS: Final[tuple[str, ...]] = get_args(RedisPreset)

_SAMPLE_EVERY: Final = 0.002  # s
_THINK: Final = 2
"""Mean idle time of a client, as a multiple of the hold time: without it, a client would reuse its own connection."""


@click.command()
@click.argument("url", required=False)
@click.option("--preset", type=click.Choice(["all", *PRESETS]), default="all", show_default=True)
@click.option("--role", type=click.Choice(["master", "slave", "local", "async"]), default="master", show_default=True)
@click.option("--threads", type=click.IntRange(1, 500), default=32, show_default=True, help="Concurrent clients.")
@click.option(
    "--seconds", "duration", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Duration per preset."
)
@click.option(
    "--hold", type=click.FloatRange(0), default=0.002, show_default=True, help="Seconds that a connection is held."
)
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
def redis_presets(
    url: str | None, preset: str, role: str, threads: int, duration: float, hold: float, as_json: bool
) -> None:
    """Compare the presets of Redis pools: waits, pending requests, memory, cost of the cleanup.

    Each thread, or task of the role async, takes a connection from one shared pool, sends a GET, holds the connection
    for a while, and then idles for twice as long. Each preset runs in its own process. URL defaults to REDIS_URL, or
    redis://localhost:6379/0.

    Example: dbsight bench redis --preset balanced --threads 2 --seconds 0.2
    """
    if importlib.util.find_spec("redis") is None:
        raise UsageFault("redis-py is not installed: pip install redis")
    where = url or config.environment().get("REDIS_URL") or DEFAULT_URL
    task = {"url": where, "role": role, "threads": threads, "seconds": duration, "hold": hold}
    rows = [_run(name, task) for name in (PRESETS if preset == "all" else [preset])]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    clients = "tasks" if role == "async" else "threads"
    click.echo(f"{threads} {clients}, role {role}, connections held for {seconds(hold)}, {duration:g} s per preset\n")
    table = Table(box=None, pad_edge=False)
    for column in ("preset", "connections", "GET/s", "wait p50", "wait p95", "pending", "memory", "cleanup"):
        table.add_column(column, justify="left" if column == "preset" else "right")
    for row in rows:
        table.add_row(*_cells(row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["preset"],
        f"{row['connections']} of {row['max_connections']}",
        count(row["rate"]),
        seconds(row["wait_p50"]),
        seconds(row["wait_p95"]),
        f"{row['pending']:.1f}",
        f"{row['rss'] / 2**20:.2f} MB",
        f"{row['closed']} in {seconds(row['cleanup'])}",
    )


def _run(preset: str, task: dict[str, Any]) -> dict[str, Any]:
    environ = {**config.environment(), "OTEL_DBSIGHT_REDIS_PRESET": preset}
    command = [sys.executable, "-c", "from dbsight.cli.redis_presets import child; child()", json.dumps(task)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    if done.returncode:
        host = urlsplit(task["url"])
        lines = done.stderr.strip().splitlines() or ["no error message"]
        raise UsageFault(f"{host.hostname}:{host.port or 6379}: {lines[-1]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return {"preset": preset, **measured}


def child() -> None:
    """Measure one preset in this process; the task is the first argument, the result goes to standard output."""
    task = json.loads(sys.argv[1])
    how = (task["url"], task["role"], task["threads"], task["seconds"], task["hold"])
    click.echo(json.dumps(asyncio.run(measure_async(*how)) if task["role"] == "async" else measure(*how)))


def measure(url: str, role: Any, threads: int, duration: float, hold: float) -> dict[str, Any]:
    """Put load on the pool of a role.

    Returns:
        ``connections`` (opened), ``max_connections``, ``rate`` (GETs a second), ``wait_p50``, ``wait_p95`` (s),
        ``pending`` (requests that waited, mean), ``rss`` (memory growth, bytes), ``closed`` connections and
        ``cleanup`` (s that closing them took).
    """
    from dbsight.redis_pools import SharedPoolRegistry, redis_pool

    pool = redis_pool(role, url)
    warnings.simplefilter("ignore", DeprecationWarning)  # before redis-py 5.3 a command's name was needed
    first = pool.get_connection("PING")
    first.send_command("PING")
    first.read_response()
    pool.release(first)
    before = _memory()
    every, pending = _load(pool, threads, duration, hold)
    rss = _memory() - before
    connections = len(pool.dbsight_open())
    began = time.perf_counter()
    SharedPoolRegistry.cleanup(0)
    return _row(pool, duration, every, pending, rss, connections, time.perf_counter() - began)


async def measure_async(url: str, role: Any, tasks: int, duration: float, hold: float) -> dict[str, Any]:
    """As ``measure`` for the tasks of one event loop; the cleanup keeps the smallest number of connections."""
    from dbsight.redis_pools import redis_pool

    pool = redis_pool(role, url)
    warnings.simplefilter("ignore", DeprecationWarning)
    first = await pool.get_connection("PING")
    await first.send_command("PING")
    await first.read_response()
    await pool.release(first)
    before = _memory()
    every, pending = await _load_async(pool, tasks, duration, hold)
    rss = _memory() - before
    connections = len(pool.dbsight_open())
    began = time.perf_counter()
    await pool.dbsight_close_idle()
    took = time.perf_counter() - began
    row = _row(pool, duration, every, pending, rss, connections, took)
    await pool.disconnect()
    return row


def _memory() -> int:
    import psutil

    used: int = psutil.Process().memory_info().rss
    return used


def _row(
    pool: Any, duration: float, every: list[float], pending: float, rss: int, connections: int, cleanup: float
) -> dict[str, Any]:
    cuts = quantiles(every, n=20) if len(every) > 1 else [every[0]] * 19
    return {
        "connections": connections,
        "max_connections": pool.max_connections,
        "rate": len(every) / duration,
        "wait_p50": cuts[9],
        "wait_p95": cuts[18],
        "pending": pending,
        "rss": max(0, rss),
        "closed": connections - len(pool.dbsight_open()),
        "cleanup": cleanup,
    }


def _load(pool: Any, threads: int, duration: float, hold: float) -> tuple[list[float], float]:
    """Put load on the pool; return the wait of each request, s, and the mean number of waiting requests."""
    waits: list[list[float]] = [[] for _ in range(threads)]
    waiting = [False] * threads
    ends = time.perf_counter() + duration

    def work(number: int) -> None:
        mine = waits[number]
        thinking = random.Random(number)  # noqa: S311 - the same load each time; no secret
        while (began := time.perf_counter()) < ends:
            waiting[number] = True
            connection = pool.get_connection("GET")
            waiting[number] = False
            mine.append(time.perf_counter() - began)
            try:
                connection.send_command("GET", f"dbsight:bench:{number}")
                connection.read_response()
                time.sleep(hold)
            finally:
                pool.release(connection)
            time.sleep(thinking.expovariate(1 / (_THINK * hold)) if hold else 0)

    workers = [threading.Thread(target=work, args=[number], daemon=True) for number in range(threads)]
    pending = []
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        pending.append(sum(waiting))
        time.sleep(_SAMPLE_EVERY)
    return [wait for mine in waits for wait in mine], mean(pending)


async def _load_async(pool: Any, tasks: int, duration: float, hold: float) -> tuple[list[float], float]:
    """As ``_load`` for tasks."""
    waits: list[float] = []
    waiting = 0
    ends = time.perf_counter() + duration

    async def work(number: int) -> None:
        nonlocal waiting
        thinking = random.Random(number)  # noqa: S311 - as above
        while (began := time.perf_counter()) < ends:
            waiting += 1
            try:
                connection = await pool.get_connection("GET")
            finally:
                waiting -= 1
            waits.append(time.perf_counter() - began)
            try:
                await connection.send_command("GET", f"dbsight:bench:{number}")
                await connection.read_response()
                await asyncio.sleep(hold)
            finally:
                await pool.release(connection)
            await asyncio.sleep(thinking.expovariate(1 / (_THINK * hold)) if hold else 0)

    working = asyncio.gather(*(work(number) for number in range(tasks)))
    pending = [0]
    while not working.done():
        pending.append(waiting)
        await asyncio.sleep(_SAMPLE_EVERY)
    await working
    return waits, mean(pending)
