"""What each tool shows of the same three faults: writes its part of ``docs/comparison.md``.

``python benchmarks/tools.py`` makes a virtual environment for each tool with uv, or pip where there is none, runs
``tools_workload.py`` in it, and looks at what left the process: OTLP for stock OpenTelemetry and dbsight, what goes to
the writer of ddtrace and the transport of Sentry, the output of pytest. What a product's server makes of it later is
not measured.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests"))

from e2e.observed import observe  # noqa: E402 - found by the line before
from otlp.client import Receiver  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKLOAD = HERE / "tools_workload.py"
WAIT = 0.25
"""s; the wait in the workload takes 0.3."""

CONNECTING = ("connect", "sqlite.connect", "db.connect")
"""Spans that a tool makes of taking a connection."""

TITLES = {"stock": "stock OpenTelemetry", "sentry": "Sentry SDK"}

BESIDE = {
    "stock": ("opentelemetry-distro", "opentelemetry-exporter-otlp", "opentelemetry-instrumentation-sqlalchemy"),
    "ddtrace": ("ddtrace",),
    "sentry": ("sentry-sdk <3",),
    "pytest-queryguard": ("pytest", "pytest-queryguard"),
    "dbsight": (str(ROOT),),
}
"""What is installed beside SQLAlchemy 2.0, the newest that all of them support."""

TESTS = """
import pytest
from tools_workload import Faults

faults = Faults()

@pytest.mark.parametrize("fault", [each.__name__ for each in faults.requests()])
def test_request(fault):
    getattr(faults, fault)()
"""


@dataclass
class Seen:
    """What one tool recorded.

    Attributes:
        version: Of the tool.
        spans: Name, duration in s, attributes and events of each.
        output: What it printed.
    """

    version: str
    spans: list[dict[str, Any]]
    output: str = ""

    def said(self, *words: str) -> bool:
        """Whether one of these words stands in an attribute, an event or the output."""
        told = (json.dumps(self.spans) + self.output).lower()
        return any(word in told for word in words)


def environment(directory: Path, packages: Sequence[str]) -> Path:
    """A new virtual environment with these packages; its interpreter."""
    uv = shutil.which("uv")
    venv.create(directory, with_pip=uv is None)
    python = directory / "bin" / "python"
    pip = [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*map(str, pip), "sqlalchemy ==2.0.*", *packages], check=True)
    return python


def run(tool: str, python: Path, receiver: Receiver) -> Seen:
    """The workload under one tool."""
    name = {"stock": "opentelemetry-instrumentation-sqlalchemy", "sentry": "sentry-sdk"}.get(tool, tool)
    asked = [python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
    version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        shutil.copy(WORKLOAD, where)
        fill = "import tools_workload as workload; workload.Faults().fill()"
        subprocess.run([python, "-c", fill], cwd=where, check=True)
        if tool in ("stock", "dbsight"):
            slow = {"OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": "0.2"}
            seen = observe([WORKLOAD.name, "otel"], receiver, cwd=where, python=str(python), env=slow)
            seen.run.check()
            return Seen(version, [_plain(span) for span in seen.spans()])
        if tool == "pytest-queryguard":
            (where / "test_faults.py").write_text(TESTS)
            ran = subprocess.run([python, "-m", "pytest", "-q"], cwd=where, check=False, capture_output=True, text=True)
            return Seen(version, [], ran.stdout)
        start = [str(python.parent / "ddtrace-run")] if tool == "ddtrace" else []
        command = [*start, str(python), WORKLOAD.name, tool]
        ran = subprocess.run(command, cwd=where, check=True, capture_output=True, text=True)
        spans = json.loads(ran.stdout.splitlines()[-1])
        for span in spans:
            span["text"] = str(span["attributes"].get("resource") or span["attributes"].get("description"))
        return Seen(version, spans)


def _plain(span: Any) -> dict[str, Any]:
    return {
        "name": span.name,
        "seconds": (span.end_ns - span.start_ns) / 1e9,
        "attributes": {name: str(value) for name, value in span.attributes.items()},
        "events": [
            [event.name, {name: str(value) for name, value in event.attributes.items()}] for event in span.events
        ],
        "text": str(span.attributes.get("db.query.text") or span.attributes.get("db.statement") or ""),
    }


def rows(seen: Seen) -> dict[str, str]:
    """The answers for one tool, each from what it recorded."""
    loads = [span for span in seen.spans if "WHERE customers.id = " in span.get("text", "")]
    slow = [span for span in seen.spans if "pause(" in span.get("text", "")]
    in_output = "tools_workload.py:" in seen.output
    return {
        "each query as a span": f"yes: {len(loads)} lazy loads" if loads else "no",
        "the N+1 is reported": _yes(seen.said('n_plus_one"', "n+1 detected")),
        "… with the line of code": _yes(in_output or any(_has_line(span) for span in loads)),
        "… with a fix to paste": _yes(seen.said("joinedload(order.customer)")),
        "the slow query is reported": _reported(slow, "slow_query"),
        "… with the line of code ": _yes(any(_has_line(span) for span in slow)),
        "the wait for a connection is reported": _waited(seen),
        "literals in the query text are removed": _yes(not seen.said("'secret'")) if seen.spans else "–",
    }


def _has_line(span: dict[str, Any]) -> bool:
    return WORKLOAD.name in json.dumps(span["attributes"])


def _reported(spans: list[dict[str, Any]], rule: str) -> str:
    if any(rule in json.dumps(span) for span in spans):
        return "yes"
    return "no; its span is as long" if spans else "no"


def _waited(seen: Seen) -> str:
    if seen.said('"pool_wait"', "pool wait"):
        return "yes"
    long = [span["name"] for span in seen.spans if span["seconds"] > WAIT and span["name"] in CONNECTING]
    return f"no; a span `{long[0]}` is as long" if long else "no"


def _yes(answer: object) -> str:
    return "yes" if answer else "no"


PAGE = ROOT / "docs" / "comparison.md"
MARKS = ("<!-- from here made by benchmarks/tools.py -->", "<!-- to here -->")

PART = """
One program with SQLAlchemy 2.0 on SQLite ([the program](../benchmarks/tools_workload.py)) makes four requests: one
loads the customer of ten orders one at a time, one runs a query of 0.3 s, one waits 0.3 s for the only connection of
its pool, and one has a literal in the text of a query. The table shows what each tool recorded in the process, or
printed, with default settings; dbsight's limit for slow queries was lowered to 0.2 s. Processing on a vendor's server
or agent (Datadog and Sentry analyze and obfuscate there) is not included.

{table}
"""


def main() -> None:
    """Make the environments, run the workload in each, write the page."""
    receiver = Receiver().start()
    seen: dict[str, Seen] = {}
    try:
        with tempfile.TemporaryDirectory() as directory:
            for tool, packages in BESIDE.items():
                seen[tool] = run(tool, environment(Path(directory) / tool, packages), receiver)
    finally:
        receiver.stop()
    answers = {tool: rows(each) for tool, each in seen.items()}
    table = ["| | " + " | ".join(f"{TITLES.get(tool, tool)} {each.version}" for tool, each in seen.items()) + " |"]
    table.append("|---" * (len(seen) + 1) + "|")
    table += [
        f"| {question.strip()} | " + " | ".join(each[question] for each in answers.values()) + " |"
        for question in answers["dbsight"]
    ]
    before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    part = PART.format(table="\n".join(table))
    PAGE.write_text(f"{before}{MARKS[0]}\n{part}\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
