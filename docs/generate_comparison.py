"""Write ``comparison.md``: one script under stock OpenTelemetry and under dbsight, as a receiver recorded it.

``python docs/generate_comparison.py`` makes two virtual environments (pip must reach a package registry), runs
``examples/orders.py`` in each under ``opentelemetry-instrument`` with an OTLP receiver in another process, and runs it
once more in each without any receiver. What the page says of either is counted, not claimed.
"""
# ruff: noqa: INP001, S603 - a program beside the pages, not a package; it runs what it made itself

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests"))

from e2e.observed import Observed, observe  # noqa: E402 - found by the line before
from otlp.client import Receiver  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otlp.records import Span

SCRIPT = ROOT / "examples" / "orders.py"
WIDTH = 58
"""Columns of each of the two trees."""

SHOWN = (
    "db.query.summary",
    "db.query.text",
    "db.statement",
    "db.response.returned_rows",
    "code.file.path",
    "code.line.number",
    "code.function.name",
    "dbsight.orm.relationship",
    "dbsight.orm.load",
    "dbsight.db.calls",
    "dbsight.findings.rules",
    "dbsight.finding.rule",
    "dbsight.finding.count",
    "dbsight.finding.suggestion",
)
"""Attributes that the trees show."""


@dataclass
class Side:
    """One of the two.

    Attributes:
        seen: What arrived.
        alone: The run without a receiver.
        sqlalchemy: Its version.
        instrumentation: Version of OpenTelemetry's instrumentations.
    """

    seen: Observed
    alone: Observed
    sqlalchemy: str
    instrumentation: str

    @property
    def queries(self) -> list[Span]:
        """The spans of the script's own statements, by their start."""
        spans = [span for span in self.seen.spans() if span.kind == "CLIENT" and "PRAGMA" not in span.name]
        return sorted(spans, key=lambda span: span.start_ns)


def environment(directory: Path, *packages: str, bootstrap: bool) -> Path:
    """A new virtual environment with these packages; its interpreter."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "sqlalchemy>=2.1", *packages], check=True)
    if bootstrap:
        program = directory / "bin" / "opentelemetry-bootstrap"
        wanted = subprocess.run([program, "-a", "requirements"], check=True, capture_output=True, text=True).stdout
        subprocess.run([*install, *wanted.split()], check=True)
    return python


def run(python: Path, receiver: Receiver) -> Side:
    """The script in one environment, with a receiver and without."""
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        (where / SCRIPT.name).write_text(SCRIPT.read_text())
        options = {"cwd": where, "python": str(python), "env": {"OTEL_SERVICE_NAME": "orders"}}
        seen = observe([SCRIPT.name], receiver, **options)
        alone = observe([SCRIPT.name], None, **options)
    said = "import importlib.metadata as m; print(m.version('sqlalchemy'), m.version('opentelemetry-instrumentation'))"
    answer = subprocess.run([python, "-c", said], check=True, capture_output=True, text=True).stdout
    return Side(seen, alone, *answer.split())


def tree(side: Side) -> Iterator[str]:
    """The spans as lines: roots with their children, equal siblings once with their number."""
    children: dict[str, list[Span]] = {}
    for span in side.seen.spans():
        children.setdefault(span.parent_span_id, []).append(span)
    yield from _level(children, "", "")


def _level(children: dict[str, list[Span]], parent: str, indent: str) -> Iterator[str]:
    spans = sorted(children.get(parent, []), key=lambda span: span.start_ns)
    alike = Counter(_looks(span) for span in spans)
    shown = set()
    for span in spans:
        looks = _looks(span)
        if looks in shown or "PRAGMA" in span.name or span.name.startswith(("CREATE", "INSERT")):
            continue
        shown.add(looks)
        times = f"  × {alike[looks]}" if alike[looks] > 1 else ""
        yield from folded(f"{indent}{span.name} [{span.kind}]{times}", indent)
        for name in SHOWN:
            if name in span.attributes:
                yield from folded(f"{indent}  {name}={_value(span.attributes[name])}", indent + "    ")
        for event in span.events:
            yield f"{indent}  event {event.name}"
            for name in SHOWN:
                if name in event.attributes:
                    yield from folded(f"{indent}    {name}={_value(event.attributes[name])}", indent + "      ")
        yield from _level(children, span.span_id, indent + "│ ")


def _looks(span: Span) -> str:
    return repr((span.name, span.kind, sorted((name, str(span.attributes.get(name))) for name in SHOWN)))


def _value(value: object) -> str:
    return " ".join(str(value).split())


def folded(line: str, indent: str) -> Iterator[str]:
    """A line in as many as it needs; what is continued is indented."""
    while len(line) > WIDTH:
        least = len(indent) + 4
        cut = line.rfind(" ", least, WIDTH)
        if cut < 0:
            cut = max(line.rfind(mark, least, WIDTH) for mark in ".(,") + 1  # of code
        cut = cut if cut > 0 else WIDTH
        yield line[:cut]
        line = f"{indent}  {line[cut:].lstrip()}"
    yield line


def side_by_side(left: list[str], right: list[str]) -> str:
    """Two columns of text."""
    height = max(len(left), len(right))
    columns = [column + [""] * (height - len(column)) for column in (left, right)]
    return "\n".join(f"{one:<{WIDTH}}  │  {other}".rstrip() for one, other in zip(*columns, strict=True))


def facts(side: Side) -> dict[str, str]:
    """The rows of the table."""
    spans, queries = side.seen.spans(), side.queries
    found = [event for span in spans for event in span.events if event.name == "dbsight.finding"]

    reads = [span for span in queries if span.name.startswith("SELECT")]
    keyed = [span for span in reads if "WHERE" in str(span.attributes)]

    def with_(*names: str, among: list[Span] = queries) -> str:
        number = sum(any(name in span.attributes for name in names) for span in among)
        return f"{number} of {len(among)}"

    metrics = sorted({metric.name for metric in side.seen.metrics() if metric.name.startswith(("db.", "dbsight."))})
    report = [line for line in side.alone.run.stderr.splitlines() if line.startswith("dbsight")]
    return {
        "spans / traces": f"{len(spans)} / {len({span.trace_id for span in spans})}",
        "instrumentation scope of query spans": ", ".join(sorted({f"`{span.scope.name}`" for span in queries}))
        or "none",
        "names of query spans": ", ".join(f"`{name}`" for name in dict.fromkeys(span.name for span in queries)),
        "query spans with text": with_("db.query.text", "db.statement"),
        "… with a summary, a fingerprint": with_("db.query.summary"),
        "… with the rows returned": with_("db.response.returned_rows", among=reads) + " reads",
        "… with the line of code": with_("code.line.number"),
        "… with the ORM relationship": with_("dbsight.orm.relationship", among=keyed) + " lazy loads",
        "the N+1 is reported": f"yes, with the fix `{found[0].attributes['dbsight.finding.suggestion']}`"
        if found
        else "no",
        "database metrics": ", ".join(f"`{name}`" for name in metrics) or "none",
        "on standard error": f"`{_short(side.seen.run.stderr)}`" if side.seen.run.stderr else "nothing",
        "without a collector": f"{max(0.0, side.alone.run.seconds - side.seen.run.seconds):.0f} s longer; "
        + ("the report on standard error" if report else f"`{_short(side.alone.run.stderr)}`"),
    }


def _short(text: str) -> str:
    line = text.strip().splitlines()[0].replace("`", "'")
    return line if len(line) <= 120 else f"{line[:119]}…"


PAGE = """# Stock OpenTelemetry and dbsight, side by side

A plain script, [`examples/orders.py`](../examples/orders.py), lists 25 orders and loads the customer of each with a
separate query. It ran unchanged, with SQLAlchemy {sqlalchemy} on SQLite, Python {python}:

```sh
# stock                                                   # dbsight
pip install opentelemetry-distro \\                        pip install dbsight
    opentelemetry-exporter-otlp
opentelemetry-bootstrap -a install
opentelemetry-instrument python orders.py                 opentelemetry-instrument python orders.py
```

An OTLP receiver recorded the following (instrumentations {stock} and {ours}; without the statements that create and
fill the tables, and with selected attributes):

```
{trees}
```

The same in numbers:

| | stock | dbsight {version} |
|---|---|---|
{rows}

OpenTelemetry's SQLAlchemy instrumentation requires a version below 2.1 and skips the version that
`pip install sqlalchemy` installs today. Only the spans of the SQLite driver remain, each in its own trace, because a
script has no parent span. dbsight supports SQLAlchemy up to 2.1, creates a root span for the script, suppresses the
driver's duplicate span for each query, and reports the N+1.

This page is generated by `python docs/generate_comparison.py`.
"""


def main() -> None:
    """Make the environments, run the script, write the page."""
    receiver = Receiver().start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            where = Path(directory)
            # The last one settles the release: a new one is not served whole from its first day on.
            packages = [f"opentelemetry-{name}" for name in ("distro", "exporter-otlp", "instrumentation-sqlalchemy")]
            stock = run(environment(where / "stock", *packages, bootstrap=True), receiver)
            # The drivers' instrumentations are there as well: what dbsight leaves out is left out by choice.
            drivers = "opentelemetry-instrumentation-sqlite3"
            ours = run(environment(where / "dbsight", str(ROOT), drivers, bootstrap=False), receiver)
    finally:
        receiver.stop()
    for side in (stock, ours):
        side.seen.run.check()
    theirs, our = facts(stock), facts(ours)
    page = PAGE.format(
        sqlalchemy=ours.sqlalchemy,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        stock=stock.instrumentation,
        ours=ours.instrumentation,
        version=version("dbsight"),
        trees=side_by_side(["stock", "─" * WIDTH, *tree(stock)], ["dbsight", "─" * WIDTH, *tree(ours)]),
        rows="\n".join(f"| {what} | {theirs[what]} | {our[what]} |" for what in theirs),
    )
    (HERE / "comparison.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
