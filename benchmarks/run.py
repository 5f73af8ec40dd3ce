"""What watching the database costs, per query, command, checkout and start, next to the alternatives.

    make bench                                  # nine interleaved rounds
    make bench ARGS="--quick"                   # the main workloads, three rounds
    make bench ARGS="--record --base HEAD~20"   # everything, and write docs/performance.md
    make bench ARGS="--rounds 20 --workload core-memory --json overhead.json"
    make bench ARGS="--rounds 0 --workload orm-memory --misses"  # instructions and cache misses alone

Every number comes from a fresh process (``workload.py``) pinned to a core of its own, which exports for real, over
OTLP/gRPC, to another process (``sink.py``) on another core. A round is one process of each variant. They take turns of
a fraction of a second, and one runs at a time: a slow moment of the machine slows all of them down. Where valgrind is
installed, instructions are counted besides, with dbsight's timer stopped: they are the same on a busy machine.
``--misses`` counts, too, how often data is not in a second-level cache. ``variants.py`` says what is compared,
``results.py`` how numbers become tables, and ``docs/performance.md`` what they mean.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import itertools
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opentelemetry.instrumentation.auto_instrumentation
import sqlalchemy as sa
from rich.console import Console

import results
import tables
import variants
import workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Process = subprocess.Popen[str]

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
import servers  # noqa: E402 - of the tests, whose servers these are

PAGE = HERE.parent / "docs" / "performance.md"
RECORD = HERE / "record.json"
BEGIN, END = "<!-- measured: make bench ARGS=--record -->", "<!-- end of what was measured -->"
STARTS = 2
"""Starts of each variant in each round; the best counts."""

BUSY = 0.4
"""Load per core from which on a run is not to be trusted."""

ALLOCATIONS_IN = ("core-memory", "orm-memory")
ABLATED = ("core-memory", "orm-memory")
QUICK = ("core-memory", "orm-memory", "django-memory", "redis-get", "redis-pipeline")
COUNTED = (
    *QUICK,
    *("core-six-memory", "nplusone-six-memory", "nplusone-memory"),
    *("django-view", "django-psycopg", "driver-sqlite3", "driver-psycopg", "driver-psycopg2", "driver-pymysql"),
)
"""Workloads whose thread blocks until its server has answered, early or late: their instructions can be counted."""

EVENTS = {"Ir": "instructions", "DLmr": "read_misses", "DLmw": "write_misses"}
"""What valgrind counts, by its own name for it."""

CREATED_BY = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}
"""Through which driver the tables of a server are made."""

CLIENTS = (
    *("sqlalchemy", "psycopg", "psycopg-binary", "psycopg2-binary", "asyncpg", "aiosqlite", "pymysql", "django"),
    "redis",
)
PACKAGES = (
    "dbsight",
    "django",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-sqlalchemy",
    "sqlalchemy",
    "psycopg",
    "psycopg2-binary",
    "asyncpg",
    "aiosqlite",
    "pymysql",
    "redis",
    "grpcio",
    "protobuf",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", action="append", choices=list(workload.WORKLOADS), help="only this (repeatable)")
    parser.add_argument("--variant", action="append", choices=variants.VARIANTS, help="only this (repeatable)")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (9); 0: only count instructions")
    parser.add_argument("--requests", type=int, default=30, help="requests of 20 queries in each measurement (30)")
    parser.add_argument("--turns", type=int, default=12, help="measurements in each process, the best counts (12)")
    parser.add_argument("--count-requests", type=int, default=40, help="requests whose instructions are counted (40)")
    parser.add_argument("--no-instructions", action="store_true", help="count none")
    parser.add_argument(
        "--misses",
        type=int,
        nargs="?",
        const=1024,
        metavar="KB",
        help="count what misses a second-level cache of this size, a power of two (1024)",
    )
    parser.add_argument("--timer", action="store_true", help="let dbsight's timer run while instructions are counted")
    parser.add_argument("--ablation", action="store_true", help="measure dbsight without each of its parts, too")
    parser.add_argument("--ddtrace", action="store_true", help="install ddtrace beside this, and measure it")
    parser.add_argument("--base", metavar="REF", help="measure dbsight as it was at this commit, too")
    parser.add_argument("--quick", action="store_true", help="three rounds of the main workloads")
    parser.add_argument("--record", action="store_true", help="--ablation --ddtrace, and write docs/performance.md")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.turns = min(options.rounds, 3), min(options.turns, 6)
        options.workload = options.workload or list(QUICK)
        options.variant = options.variant or ["none", "stock", "dbsight"]
    if options.record:
        options.ablation = options.ddtrace = True
        options.json = options.json or RECORD
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


def sqlite_file(directory: Path) -> str:
    """Make the SQLite file that is read, and return its URL."""
    path = directory / "benchmark.db"
    connection = sqlite3.connect(path)
    tables.fill_sqlite(connection)
    connection.close()
    return f"sqlite:///{path}"


@contextlib.contextmanager
def databases(names: Iterable[str], directory: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield the database of each workload by name, and why the others are skipped; servers are those of the tests."""
    urls, skipped = {}, {}
    with contextlib.ExitStack() as stack:
        at = {"sqlite": sqlite_file(directory)}
        for name in names:
            _, scheme, modules = workload.WORKLOADS[name]
            system = scheme.partition("+")[0]
            try:
                if missing := [module for module in modules if not installed(module)]:
                    raise LookupError(f"{', '.join(missing)} is not installed")  # noqa: TRY301 - skipped like a server
                if system not in at:
                    at[system] = stack.enter_context(servers.serving(system)).database.url()
                    if system in CREATED_BY:
                        through = sa.make_url(at[system]).set(drivername=CREATED_BY[system])
                        tables.create(through)
                        stack.callback(tables.drop, through)
            except LookupError as reason:
                skipped[name] = str(reason)
                continue
            urls[name] = sa.make_url(at[system]).set(drivername=scheme).render_as_string(hide_password=False)
        yield urls, skipped


def installed(module: str) -> bool:
    """Whether there is such a module; a package that it would be in may be missing, too."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def at_commit(reference: str, directory: Path) -> Path:
    """Install dbsight as it was at a commit into a directory of its own.

    Returns:
        What must come first on the path.
    """
    source, target = directory / "source", directory / "base"
    source.mkdir()
    git = ["git", "-C", str(HERE.parent), "archive", reference, "src", "pyproject.toml", "README.md", "LICENSE"]
    archive = subprocess.run(git, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return target


def ddtrace_python(directory: Path) -> str | None:
    """The interpreter of an environment with ddtrace and the clients; None where it cannot be installed."""
    environment = directory / "ddtrace"
    clients = [f"{name}=={importlib.metadata.version(name)}" for name in CLIENTS]
    try:
        venv.create(environment, with_pip=True)
        python = str(environment / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "ddtrace", "psutil", "greenlet", *clients], check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError):
        return None
    return python


def cores() -> tuple[int | None, str]:
    """Move this process, and with it sink and server, off the core that is measured on; return that core."""
    if not hasattr(os, "sched_setaffinity"):
        return None, "not pinned: this system cannot"
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return None, "not pinned: one core"
    os.sched_setaffinity(0, set(usable[:-1]))
    return usable[-1], f"pinned to core {usable[-1]}"


class Bench:
    """The processes that measure.

    Args:
        task: What is the same for all of them, as ``workload.py`` takes it.
        base: The path of another dbsight, or None.
        ddtrace: The interpreter that has ddtrace, or None.
    """

    def __init__(self, task: dict[str, Any], base: Path | None, ddtrace: str | None) -> None:
        self.task = task
        self._base = base
        self._ddtrace = ddtrace

    @contextlib.contextmanager
    def _process(self, variant: str, *prefix: str, path: str = "", **task: Any) -> Iterator[Process]:
        """Start one variant in a fresh process, and see that it ends well.

        Args:
            variant: Which one.
            prefix: The command that runs it, where not the system does.
            path: A directory to come first on Python's path.
            task: What is other than in the common task.

        Raises:
            SystemExit: The process failed; its error output is shown.
        """
        python = self._ddtrace if variant.startswith("ddtrace") and self._ddtrace else sys.executable
        whole = {**self.task, **task, "variant": variant}
        command = [*prefix, python, str(HERE / "workload.py"), json.dumps(whole)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DD_"))}
        first = [path] if path else []
        if variant == "base" and self._base:
            first.append(str(self._base))
        environment["PYTHONPATH"] = os.pathsep.join(first)
        if whole["do"] != "measure":
            endpoint = f"http://127.0.0.1:{whole['sink']['otlp']}"
            environment |= {"PYTHONHASHSEED": "0", "OTEL_DBSIGHT_REPORT": "off"}
            environment |= {"OTEL_SERVICE_NAME": "benchmark", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
            # Else instrumentations of other libraries, which the stock program does not load, would count.
            environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = ",".join(others())
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            ) as process,
        ):
            try:
                yield process
            except EOFError as ended:
                if process not in ended.args:  # another of those that run side by side
                    raise
                process.wait()
                errors.seek(0)
                sys.exit(f"{variant} failed:\n{errors.read()}")

    def run(self, variant: str, *prefix: str, path: str = "", **task: Any) -> dict[str, Any]:
        """Run one variant by itself; the arguments are those of a process."""
        with self._process(variant, *prefix, path=path, **task) as process:
            return measured(line(process))

    def together(self, names: list[str], tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Run variants side by side; they take turns, in an order that rotates.

        Args:
            names: The workloads, in the order in which every variant comes to them.
            tasks: What is other than in the common task, by variant.

        Returns:
            What each variant measured.
        """
        with contextlib.ExitStack() as stack:
            running = {variant: stack.enter_context(self._process(variant, **task)) for variant, task in tasks.items()}
            said = {variant: line(process) for variant, process in running.items()}
            for name in names:
                for turn in itertools.count():
                    waiting = [variant for variant in running if said[variant].strip() == name]
                    if not waiting:
                        break
                    for variant in rotated(waiting, turn):
                        print(file=running[variant].stdin, flush=True)
                        said[variant] = line(running[variant])
            return {variant: measured(text) for variant, text in said.items()}

    def start(self, variant: str) -> dict[str, Any]:
        """Start a program, dbsight as ``opentelemetry-instrument`` starts it."""
        automatic = variant in ("dbsight", "base")
        path = str(Path(opentelemetry.instrumentation.auto_instrumentation.__file__).parent) if automatic else ""
        return self.run(variant, path=path, do="start", instrumented=automatic)

    def count(self, variant: str, names: list[str], directory: Path) -> dict[str, dict[str, float]]:
        """Count instructions of each workload under a variant, its own included, and cache misses if the task says so.

        Returns:
            By workload, what ``EVENTS`` names, per query.
        """
        out = directory / f"callgrind-{variant.replace(' ', '-')}"
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        if self.task["misses"]:
            first = "32768,8,64"  # bytes, ways, bytes a line
            valgrind += ["--cache-sim=yes", f"--I1={first}", f"--D1={first}", f"--LL={self.task['misses'] << 10},8,64"]
        requests = self.task["count_requests"]
        self.run(variant, *valgrind, do="count", workloads=names, requests=requests, core=None, warmup=10)
        found = {}
        for file in directory.glob(f"{out.name}*"):
            text = file.read_text(errors="replace")
            why = re.search(r"^desc: Trigger: .*?(\S+)$", text, re.MULTILINE)
            events = re.search(r"^events: (.*)", text, re.MULTILINE)
            totals = re.search(r"^totals: (.*)", text, re.MULTILINE)
            if why and events and totals and why[1] in names:
                queries = requests * workload.queries_per_request(why[1])
                counted = dict(zip(events[1].split(), map(int, totals[1].split()), strict=False))
                found[why[1]] = {name: counted[key] / queries for key, name in EVENTS.items() if key in counted}
        return found


def line(process: Process) -> str:
    """The next line that a process prints.

    Raises:
        EOFError: It ended; the process is its argument.
    """
    assert process.stdout
    text = process.stdout.readline()
    if not text:
        raise EOFError(process)
    return text


def measured(text: str) -> dict[str, Any]:
    """What a process measured, from its last line."""
    found: dict[str, Any] = json.loads(text)
    return found


def others() -> list[str]:
    """The instrumentations of this environment that are neither dbsight's nor of the libraries that it instruments."""
    names = {entry.name for entry in importlib.metadata.entry_points(group="opentelemetry_instrumentor")}
    ours = {name.removeprefix("dbsight_") for name in names if name.startswith("dbsight_")}
    return sorted(name for name in names if not name.startswith("dbsight_") and name not in ours)


def rotated(items: list[str], by: int) -> list[str]:
    """The same items in the same order, beginning elsewhere."""
    by %= len(items) or 1
    return items[by:] + items[:by]


def measure(options: argparse.Namespace, bench: Bench, names: list[str]) -> list[dict[str, Any]]:
    """Run interleaved rounds; per round, the measurements by variant, and those of the start."""
    rounds: list[dict[str, Any]] = []
    wanted = [name for name in bench.task["urls"] if name not in workload.FEWER]
    progress = Console(stderr=True)
    for number in range(options.rounds):
        tasks = {}
        order = rotated(wanted, number)
        for variant in rotated(names, number):
            which = ["checkout"] if variant == "watched" else order
            if variant.startswith(variants.WITHOUT):
                which = [name for name in order if name in ABLATED]
            # Memory does not vary from run to run: once is enough. ddtrace keeps its spans outside Python's.
            sized = number == 0 and variant in ("none", "stock", "base", "dbsight")
            if which := [name for name in which if name in wanted]:
                tasks[variant] = {"workloads": which, "allocations": ALLOCATIONS_IN if sized else ()}
        with progress.status(f"round {number + 1} of {options.rounds}"):
            one = {"workloads": bench.together(order, tasks), "start": {}}
            started = [variant for variant in rotated(names, number) if variant in ("none", "stock", "base", "dbsight")]
            for again in range(STARTS):
                for variant in rotated(started, again):
                    new, best = bench.start(variant), one["start"].get(variant)
                    one["start"][variant] = {key: min(new[key], best[key]) for key in new} if best else new
        rounds.append(one)
    return rounds


def count(options: argparse.Namespace, bench: Bench, names: list[str], directory: Path) -> results.Counts:
    """Instructions per query by variant and workload; empty where valgrind is not installed."""
    if options.no_instructions or not shutil.which("valgrind"):
        return {}
    progress = Console(stderr=True)
    counts: results.Counts = {}
    for variant in names:
        which = ABLATED if variant.startswith(variants.WITHOUT) else COUNTED
        which = tuple(name for name in which if name in bench.task["urls"])
        if which and (variant in ("none", "stock", "base", "dbsight") or variant.startswith(variants.WITHOUT)):
            with progress.status(f"instructions: {variant}"):
                counts[variant] = bench.count(variant, list(which), directory)
    return counts


def load() -> float | None:
    """Processes that wanted to run in the last minute, per core; None where that is not known."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else None


def processor() -> str:
    """The processor's name, where the system tells."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1]
    return platform.machine()


def meta(options: argparse.Namespace, pinned: str, rounds: int, busy: float | None) -> dict[str, Any]:
    """Where, when and with what this was measured."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "cores": pinned,
        "load_before": busy,
        "rounds": rounds,
        "turns": options.turns,
        "requests": options.requests,
        "versions": versions,
    }


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    options = arguments(argv)
    console = Console(width=None if sys.stdout.isatty() else 130)
    busy = load()
    core, pinned = cores()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbsight-bench-")))
        urls, skipped = stack.enter_context(databases(options.workload or workload.WORKLOADS, directory))
        names = options.variant or ["none", "stock", "stock-auto", "dbsight", "dbsight-driver", "watched"]
        base, ddtrace = None, None
        if options.base:
            base = at_commit(options.base, directory)
            names.append("base")
        if options.ddtrace:
            ddtrace = ddtrace_python(directory)
            if ddtrace:
                names += ["ddtrace-none", "ddtrace"]
            else:
                skipped["ddtrace"] = "it cannot be installed for this interpreter"
        if options.ablation:
            names += [f"{variants.WITHOUT}{part}" for part in variants.PARTS]
        task = {
            "do": "measure",
            "urls": urls,
            "sink": stack.enter_context(sink()),
            "core": core,
            "warmup": 10,
            "requests": options.requests,
            "turns": options.turns,
            "count_requests": options.count_requests,
            "misses": options.misses,
            "timer": options.timer,
        }
        bench = Bench(task, base, ddtrace)
        rounds = measure(options, bench, names)
        counts = count(options, bench, names, directory)
    report = {
        "meta": meta(options, pinned, len(rounds), busy),
        "skipped": skipped,
        "start": results.summarize_start([one["start"] for one in rounds]),
        "workloads": {
            name: results.summarize([{v: m[name] for v, m in one["workloads"].items() if name in m} for one in rounds])
            for name in urls
        },
        "counts": counts,
    }
    show(report, console)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.record:
        write_page(report)


def write_page(report: dict[str, Any]) -> None:
    """Put the tables into the page, between its marks."""
    text = PAGE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    PAGE.write_text(f"{before}{begin}\n\n{results.markdown(report)}\n{end}{after}")


def show(report: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    about = report["meta"]
    console.print(results.markdown(report), markup=False, soft_wrap=True)
    if about["load_before"] and about["load_before"] > BUSY:
        console.print(
            f"[bold]Something else was running (load {about['load_before']:.1f} a core): do not trust this.[/bold]"
        )
    for name, why in report["skipped"].items():
        console.print(f"skipped {name}: {why}")


if __name__ == "__main__":
    main()
