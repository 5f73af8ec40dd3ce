"""Run the suites of other libraries without and with dbsight, and compare them test by test: ``make peers``.

A test that passes without dbsight and fails with it is a failure; so is an exception that dbsight's guard swallowed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded import Unavailable
from matrix.environments import RUNNING, Environment, Missing
from peers import comparison, findings, sources
from peers.applications import table
from peers.comparison import RECORD, Run
from peers.plugged import PLUGGED
from peers.suites import SUITES, selected
from servers import Database, Server, embedded_postgresql, fresh, mariadb_says, postgresql_says, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.suite import Suite

HERE = Path(__file__).parent
APPLICATIONS = "applications"
MOST = 30
"""Tests of one suite that are told with their tracebacks."""
SECONDS = {False: 900, True: 3000}
"""s that one run of a suite may take: of its default selection, and of all of it."""

EVERYTHING = {
    "OTEL_DBSIGHT_PRESET": "development",
    "OTEL_DBSIGHT_PARAMETERS": "full",
    "OTEL_DBSIGHT_CODE_LOCATION": "on",
    "OTEL_DBSIGHT_REPORT": "off",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRIC_EXPORT_INTERVAL": "5000",
}
"""Variables of a run with dbsight, but for where it exports to."""


@dataclass
class Verdict:
    """What came of one suite.

    Attributes:
        suite: Which.
        trouble: Why it could not be run; empty when it was.
        compared: Tests that pass without dbsight.
        seconds: Of the run with dbsight.
        operations: What dbsight saw.
        broken: Tests that pass without dbsight alone, with the ends of their tracebacks.
        unsteady: Tests that failed once with dbsight, and then passed with it or failed without it.
        expected: Node ids of known differences.
        stale: Known differences that are none any more.
        swallowed: Places of dbsight that failed, and how often.
        said: What dbsight logged about them.
        findings: What dbsight's plugin found, as plain values.
        unreviewed: What of them nobody has looked at, and what was reviewed and is not found any more.
    """

    suite: Suite
    trouble: str = ""
    compared: int = 0
    seconds: float = 0.0
    operations: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    unsteady: dict[str, str] = field(default_factory=dict)
    expected: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    swallowed: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    unreviewed: list[str] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        """Whether ``make peers`` fails by it."""
        return bool(self.trouble or self.broken or self.swallowed or self.unreviewed)


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """An OTLP endpoint that throws away what it is sent."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Not a line per request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def database_of(suite: Suite) -> Iterator[dict[str, str]]:
    """What its arguments are filled with: where an empty database of the server that it needs is."""
    if not suite.server:
        yield {}
        return
    with contextlib.ExitStack() as stack:
        if suite.extensions:
            server = Server(stack.enter_context(with_extensions()), "", "embedded")
        else:
            server = stack.enter_context(serving(suite.server))
        database = stack.enter_context(fresh(server))
        says = {"postgresql": postgresql_says, "mariadb": mariadb_says}.get(suite.server)
        if says and suite.prepare:
            says(database, *suite.prepare)
        yield filling(database)


def with_extensions() -> contextlib.AbstractContextManager[Database]:
    """A PostgreSQL of Debian's, which has the extensions that wheels come without.

    Raises:
        Unavailable: There is none.
    """
    for program in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True):
        version = program.parents[1].name
        if Path(f"/usr/share/postgresql/{version}/extension/citext.control").exists():
            return embedded_postgresql(program.parents[2], version)
    raise Unavailable("no PostgreSQL with the extension citext here (Debian: postgresql)")


def filling(database: Database) -> dict[str, str]:
    """By name, what stands for ``{host}`` and the others."""
    auth = f"{database.user}:{database.password}" if database.password else database.user
    known = ("host", "port", "user", "password", "name")
    socket = mariadb_says(database, "SELECT @@socket").split()[-1] if database.system == "mariadb" else ""
    return {**{name: str(getattr(database, name)) for name in known}, "auth": auth, "socket": socket}


def compiled(python: Path) -> Path:
    """The interpreter of an environment, whose packages are compiled once: the suites do not write there."""
    stamp = python.parents[1] / "compiled"
    if not stamp.exists():
        packages = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        # Some packages bring files that no Python of today compiles.
        subprocess.run([python, "-m", "compileall", "-qq", packages.decode().strip()], check=False)
        stamp.touch()
    return python


def run_once(
    suite: Suite, python: Path, chosen: tuple[str, ...], *, endpoint: str, seconds: int, plugin: bool = False
) -> Run:
    """Run a suite on a server of its own; with dbsight when there is an ``endpoint``, or with its ``plugin``.

    Raises:
        Missing: It did not get to its end; the message ends as its output does.
    """
    with tempfile.TemporaryDirectory(prefix="dbsight-peers-") as directory, database_of(suite) as values:
        results = Path(directory) / "results.json"
        source = sources.unpack(suite.archive(), Path(directory) / "source", suite.shadows)
        for name, text in suite.files.items():
            (source / name).write_text(text.format(**values), encoding="utf-8")
        foreign = ("OTEL_", "PYTHON", "PYTEST", "DBSIGHT", "PG")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign) and name != "CI"}
        env |= {name: value.format(**values) for name, value in suite.environment.items()}
        path = os.pathsep.join([str(HERE / "plugin"), *(str(source / name) for name in suite.sources)])
        env |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": directory}
        env["DBSIGHT_PEERS_RESULTS"] = str(results)
        if endpoint:
            env |= {**EVERYTHING, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "DBSIGHT_PEERS_WATCH": "1"}
        command = [str(python), "-m", suite.program or "pytest"]
        if not suite.program:
            command += ["-p", "dbsight_peers", "-p", "no:cacheprovider", "-q", "--tb=short"]
        if plugin:
            command.append("--dbsight")
        try:
            done = subprocess.run(
                [*command, *(word.format(**values) for word in (*suite.arguments, *chosen))],
                cwd=source / suite.inside,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            raise Missing(f"not at its end after {seconds} s: {str(expired.output)[-1500:]}") from None
        if not results.exists():
            raise Missing(f"ended with {done.returncode} before its end: {done.stdout[-3000:]}")
        run = Run(**json.loads(results.read_text(encoding="utf-8")))
        if not run.results:
            raise Missing(f"no test was run: {done.stdout[-3000:]}")
        return run


def plain_run(suite: Suite, python: Path, chosen: tuple[str, ...], *, again: bool, seconds: int) -> Run:
    """The results without dbsight; from an earlier run in this environment, where there was one of this selection.

    Raises:
        Missing: It did not get to its end.
    """
    described = (suite.name, suite.arguments, sorted(suite.environment.items()), chosen)

    def run() -> dict[str, Any]:
        return vars(run_once(suite, python, chosen, endpoint="", seconds=seconds))

    return Run(**comparison.kept(python, described, run, again=again))


def judge(suite: Suite, *, endpoint: str, full: bool, again: bool, plugin: bool = False) -> Verdict:
    """Run a suite twice and compare; where they differ, run both again, since some tests pass by luck alone.

    Again the whole of it is run: a test may fail only because of one that ran before it.
    """
    verdict = Verdict(suite)
    chosen = (suite.full or suite.paths) if full else (*suite.quick, *suite.paths)
    seconds = SECONDS[full]
    try:
        interpreter = compiled(Environment(suite.requirements, suite.python).build())
        plain = plain_run(suite, interpreter, chosen, again=again, seconds=seconds)
        began = time.monotonic()
        watched = run_once(suite, interpreter, chosen, endpoint=endpoint, seconds=seconds, plugin=plugin)
        verdict.seconds = time.monotonic() - began
        broken = comparison.broken(plain, watched)
        if broken:
            second = run_once(suite, interpreter, chosen, endpoint=endpoint, seconds=seconds, plugin=plugin)
            still = set(comparison.broken(plain, second)).intersection(broken)
            lucky = run_once(suite, interpreter, chosen, endpoint="", seconds=seconds) if still else plain
            steady = [node for node in broken if node in still and lucky.results.get(node) == "passed"]
            verdict.unsteady = {node: told(watched, node) for node in broken if node not in steady}
            broken = steady
    except (Missing, Unavailable) as reason:
        verdict.trouble = str(reason)
        return verdict
    verdict.compared = comparison.compared(plain)
    verdict.operations = watched.operations
    verdict.swallowed = watched.swallowed
    verdict.findings = watched.findings
    verdict.said = watched.said if watched.swallowed else []
    if suite.calls and not watched.operations:
        verdict.trouble = "dbsight saw no operation"
    if not verdict.compared:
        verdict.trouble = "no test passes without dbsight"
    listed = comparison.known(suite.name)
    for node in broken:
        if any(comparison.matches(entry, node) for entry in listed):
            verdict.expected.append(node)
        else:
            verdict.broken[node] = told(watched, node)
    run = [node for node, outcome in plain.results.items() if outcome == "passed"]
    verdict.stale = [
        entry["test"]
        for entry in listed
        if any(comparison.matches(entry, node) for node in run)
        and not any(comparison.matches(entry, node) for node in verdict.expected)
    ]
    return verdict


def told(run: Run, node: str) -> str:
    """What a run says of a test that did not pass: the end of its traceback, or its outcome."""
    return run.tails.get(node, run.results.get(node, "was not run"))


def tell(verdict: Verdict) -> None:
    """Print what came of a suite."""
    suite = verdict.suite
    known = f", {len(verdict.expected)} known differences" if verdict.expected else ""
    mark = "FAILED" if verdict.bad else "ok"
    print(
        f"{suite.name} {suite.version}: {mark}: {verdict.compared} tests compared{known}, "
        f"{verdict.operations} operations seen, {verdict.seconds:.0f} s with dbsight",
        flush=True,
    )
    if verdict.trouble:
        print(f"  {verdict.trouble}")
    for place, count in verdict.swallowed.items():
        print(f"  swallowed in {place}: {count} times")
    for line in verdict.said:
        print(f"  {line}")
    for line in verdict.unreviewed:
        print("  " + "\n  ".join(line.splitlines()))
    for what, nodes in (("only with dbsight", verdict.broken), ("failed once with dbsight", verdict.unsteady)):
        for node, tail in list(nodes.items())[:MOST]:
            print(f"  {what}: {node}\n    " + "\n    ".join(tail.splitlines()[-25:]))
        if len(nodes) > MOST:  # where a session of pytest is ended, everything after it is missing
            print(f"  {what}: {len(nodes) - MOST} more")
    for entry in verdict.stale:
        print(f"  differs no longer, remove it from {comparison.DIFFERENCES.name}: {entry}", flush=True)


def record(verdict: Verdict, *, full: bool) -> None:
    """Write down how many tests of a suite were compared, for the documentation."""
    kept = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    names = {suite.name for suite in (*SUITES, *PLUGGED)}
    kept = {name: counted for name, counted in kept.items() if name in names}
    if not verdict.trouble:
        kept[verdict.suite.name] = {
            "version": verdict.suite.version,
            "part": bool(verdict.suite.full or verdict.suite.quick) and not full,
            "compared": verdict.compared,
            "different": len(verdict.expected) + len(verdict.broken),
        }
    RECORD.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(prog="make peers", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"suites by the beginnings of their names, or {APPLICATIONS}")
    parser.add_argument("--ci", action="store_true", help="the selection of continuous integration")
    parser.add_argument("--plugin", action="store_true", help="with pytest --dbsight; each finding must be reviewed")
    parser.add_argument("--full", action="store_true", help="all of each suite, not a part that takes a minute")
    parser.add_argument("--again", action="store_true", help="run what is kept of runs without dbsight anew")
    parser.add_argument("--record", action="store_true", help=f"write the numbers into {RECORD.name}")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="suites at the same time")
    return parser.parse_args()


def main() -> int:
    """Run what is selected; 1 when something fails only with dbsight, or could not be run."""
    given = arguments()
    failed = 0
    names = [name for name in given.names if name != APPLICATIONS]
    if names or not given.names:
        try:
            suites = selected(names, ci=given.ci, among=PLUGGED if given.plugin else SUITES)
        except LookupError as error:
            sys.exit(str(error))
        verdicts = []
        with sink() as endpoint, ThreadPoolExecutor(given.jobs) as pool:
            running = [
                pool.submit(judge, suite, endpoint=endpoint, full=given.full, again=given.again, plugin=given.plugin)
                for suite in suites
            ]
            for future in as_completed(running):
                verdict = future.result()
                if given.plugin and not verdict.trouble:
                    verdict.unreviewed = findings.differences(verdict.suite.name, verdict.findings)
                verdicts.append(verdict)
                tell(verdict)
                if given.record:
                    record(verdict, full=given.full)
        bad = [verdict.suite.name for verdict in verdicts if verdict.bad]
        total = sum(verdict.compared for verdict in verdicts)
        print(f"{total} tests of {len(suites)} suites on Python {RUNNING}; failed: {', '.join(bad) or 'none'}")
        failed |= bool(bad)
    if not given.plugin and (APPLICATIONS in given.names or not given.names):
        # A finding that depends on the clock may come on a busy machine, and not again.
        command = [sys.executable, "-m", "pytest", "-q", "--reruns=1", str(HERE / APPLICATIONS)]
        if given.ci:
            command += ["-k", " or ".join(application.name for application in table.APPLICATIONS if application.ci)]
        failed |= bool(subprocess.run(command, check=False).returncode)
    return failed


if __name__ == "__main__":
    sys.exit(main())
