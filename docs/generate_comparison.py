"""Write ``comparison.md`` and ``comparison_django.md``: a program under stock OpenTelemetry and under dbsight.

``python docs/generate_comparison.py`` makes two virtual environments (pip must reach a package registry), runs
``examples/orders.py`` in each under ``opentelemetry-instrument`` with an OTLP receiver in another process, and runs it
once more in each without any receiver. ``--django`` does the same with the site ``examples/django_psycopg`` on a real
PostgreSQL, in environments that the tests keep. What the pages say of either is counted, not claimed.
"""
# ruff: noqa: INP001, S603 - a program beside the pages, not a package; it runs what it made itself

from __future__ import annotations

import json
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

import servers  # noqa: E402 - found by the line before
from e2e.observed import Observed, observe  # noqa: E402
from embedded import free_port  # noqa: E402
from matrix.environments import Environment  # noqa: E402
from matrix.serving import get, running  # noqa: E402
from otlp.client import Receiver  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otlp.records import Received, Span

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


def tree(seen: Received) -> Iterator[str]:
    """The spans as lines: roots with their children, equal siblings once with their number."""
    children: dict[str, list[Span]] = {}
    for span in seen.spans():
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


HEADING = "## Stock OpenTelemetry and dbsight, span by span"

PAGE = """

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

The table of tools is made by `python benchmarks/tools.py`, the rest of the page by
`python docs/generate_comparison.py`.
"""


# -- Django -----------------------------------------------------------------------------------------------------------
SITE = ("djangorestframework", "gunicorn", "psycopg[binary]", "opentelemetry-instrumentation-django")
STOCK = ("opentelemetry-distro", "opentelemetry-exporter-otlp", "opentelemetry-instrumentation-psycopg")

DJANGO_PAGE = """# Django: stock OpenTelemetry and dbsight, side by side

The site [`examples/django_psycopg`](../examples/django_psycopg/site.py) has a serializer of Django REST framework that
loads the customer of each of 25 orders by a query of its own. It was served unchanged, with Django {django} on
PostgreSQL, and requested once:

```sh
# stock                                                   # dbsight
pip install opentelemetry-distro \\                        pip install dbsight \\
    opentelemetry-exporter-otlp \\                             opentelemetry-instrumentation-django
    opentelemetry-instrumentation-django \\
    opentelemetry-instrumentation-psycopg
opentelemetry-instrument gunicorn django_psycopg.site:app opentelemetry-instrument gunicorn django_psycopg.site:app
```

An OTLP receiver recorded the following (instrumentations {instrumentation}; one trace, without the queries that create
and fill the tables, with selected attributes):

```
{trees}
```

The same in numbers:

| | stock | dbsight |
|---|---|---|
{rows}

The span of the request is OpenTelemetry's own in both. dbsight takes the place of the driver's instrumentation: each
statement has one span with summary, rows and line, the request has totals and findings, and the advice is in the words
of Django's ORM.

This page is generated by `python docs/generate_comparison.py --django`.
"""


def served(python: Path, receiver: Receiver, database: servers.Database) -> Received:
    """What arrived of the site's page, requested once."""
    names = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")
    where = (database.host, str(database.port), database.user, database.password, database.name)
    env = {"DJANGO_SETTINGS_MODULE": "django_psycopg.settings", **dict(zip(names, where, strict=True))}
    receiver.clear()
    port = free_port()
    command = ["opentelemetry-instrument", "gunicorn", "django_psycopg.site:app", "--bind", f"127.0.0.1:{port}"]
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "output.txt"
        options = {"python": str(python), "cwd": ROOT / "examples", "output": output, "env": env}
        with running(command, receiver=receiver, **options):
            json.loads(get(f"http://127.0.0.1:{port}/orders"))
            receiver.wait_for(lambda arrived: len(in_request(arrived).spans()) > ORDERS + 1, 60)
    return in_request(receiver)


ORDERS = 25


@dataclass(frozen=True)
class _Request(Observed):
    """The spans of one trace, and everything else that arrived."""

    trace_id: str = ""

    def spans(self, name: str | None = None) -> list[Span]:
        """Those of the trace."""
        return [span for span in super().spans(name) if span.trace_id == self.trace_id]


def in_request(receiver: Receiver) -> Received:
    """What arrived, with the spans of the page's request alone."""
    trace = next((span.trace_id for span in receiver.spans() if span.kind == "SERVER"), "none")
    messages = (receiver.trace_requests(), receiver.metric_requests(), receiver.log_requests())
    return _Request(None, 0.0, frozenset(), *map(tuple, messages), trace_id=trace)  # type: ignore[arg-type]


def django_facts(seen: Received) -> dict[str, str]:
    """The rows of the table."""
    spans = seen.spans()
    (root,) = [span for span in spans if span.kind == "SERVER"]
    queries = sorted([span for span in spans if span.kind == "CLIENT"], key=lambda span: span.start_ns)
    found = [event.attributes for event in root.events if event.name == "dbsight.finding"]

    def with_(*names: str) -> str:
        return f"{sum(any(name in span.attributes for name in names) for span in queries)} of {len(queries)}"

    metrics = sorted({metric.name for metric in seen.metrics() if metric.name.startswith(("db.", "dbsight."))})
    place = f"{Path(found[0]['code.file.path']).name}:{found[0]['code.line.number']}" if found else ""
    return {
        "spans of the request": str(len(spans)),
        "instrumentation scope of query spans": ", ".join(sorted({f"`{span.scope.name}`" for span in queries})),
        "names of query spans": ", ".join(f"`{name}`" for name in dict.fromkeys(span.name for span in queries)),
        "query spans with text": with_("db.query.text", "db.statement"),
        "… with a summary": with_("db.query.summary"),
        "… with the rows returned": with_("db.response.returned_rows"),
        "… with the line of code": with_("code.line.number"),
        "… with Django's relation": with_("dbsight.orm.relationship"),
        "totals on the request": f"`dbsight.db.calls` {root.attributes['dbsight.db.calls']}, `dbsight.db.time`"
        if "dbsight.db.calls" in root.attributes
        else "none",
        "the N+1 is reported": f"yes, at `{place}`, with the fix `{found[0]['dbsight.finding.suggestion']}`"
        if found
        else "no",
        "database metrics": ", ".join(f"`{name}`" for name in metrics) or "none",
    }


def django_page() -> str:
    """Serve the site in both environments; the page about it."""
    environments = (Environment((*SITE, *STOCK), dbsight=False), Environment(SITE))
    pythons = [environment.build() for environment in environments]
    receiver = Receiver().start()
    try:
        with servers.serving("postgresql") as server, servers.fresh(server) as database:
            served(pythons[0], receiver, database)  # creates the tables, which is in no trace afterwards
            seen = [served(python, receiver, database) for python in pythons]
            rows = [django_facts(each) for each in seen]
            trees = [list(tree(each)) for each in seen]
    finally:
        receiver.stop()
    said = "import importlib.metadata as m; print(m.version('django'), m.version('opentelemetry-instrumentation'))"
    answer = subprocess.run([pythons[1], "-c", said], check=True, capture_output=True, text=True).stdout
    django, instrumentation = answer.split()
    head = [["stock", "─" * WIDTH], ["dbsight", "─" * WIDTH]]
    return DJANGO_PAGE.format(
        django=django,
        instrumentation=instrumentation,
        trees=side_by_side(*(above + below for above, below in zip(head, trees, strict=True))),
        rows="\n".join(f"| {what} | {rows[0][what]} | {rows[1][what]} |" for what in rows[0]),
    )


def main() -> None:
    """Make the environments, run the script, write the page."""
    if "--django" in sys.argv[1:]:
        (HERE / "comparison_django.md").write_text(django_page(), encoding="utf-8")
        return
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
        trees=side_by_side(["stock", "─" * WIDTH, *tree(stock.seen)], ["dbsight", "─" * WIDTH, *tree(ours.seen)]),
        rows="\n".join(f"| {what} | {theirs[what]} | {our[what]} |" for what in theirs),
    )
    path = HERE / "comparison.md"
    tools = path.read_text(encoding="utf-8").partition(HEADING)[0]
    path.write_text(f"{tools}{HEADING}{page}", encoding="utf-8")


if __name__ == "__main__":
    main()
