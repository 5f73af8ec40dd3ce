"""``dbsight report RUN…``: saved runs in every format."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dbsight.bench.compared import compare_runs, told
from dbsight.cli.compare import verdict
from dbsight.cli.exit_codes import FAIL_ON, FINDINGS, UsageFault
from dbsight.cli.runs import read_run
from dbsight.config import parsers
from dbsight.config.settings import Settings
from dbsight.monitor.merging import merged
from dbsight.report import json as saved
from dbsight.report import markdown
from dbsight.report.files import replace_file
from dbsight.report.layout import WIDTH_WITHOUT_TERMINAL
from dbsight.report.terminal import print_report, render
from dbsight.testing.results import Found, sarif

if TYPE_CHECKING:
    from dbsight.model import Snapshot
    from dbsight.report.html.comparison import Difference

FORMATS: Final = ("terminal", "html", "json", "markdown", "sarif")
_SUFFIXES: Final = {".html": "html", ".htm": "html", ".json": "json", ".md": "markdown", ".sarif": "sarif"}


@click.command()
@click.argument("run", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Format; default: by the suffix of the output file (.html, .json, .md, .sarif), else terminal.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead of standard output.")
@click.option("--base", type=click.Path(path_type=Path), help="Earlier saved run to compare with; HTML only.")
@click.option("--fail-on", help="Exit with code 3 on matching findings, as OTEL_DBSIGHT_FAIL_ON.")
@click.option("--check", is_flag=True, help="Exit with code 1 if there are findings at warning or above.")
@click.option("--json", "as_json", is_flag=True, help="Output JSON; short for --format json.")
def report(
    run: tuple[Path, ...],
    form: str | None,
    output: Path | None,
    base: Path | None,
    fail_on: str | None,
    check: bool,
    as_json: bool,
) -> None:
    """Show saved runs (OTEL_DBSIGHT_REPORT=json); several are merged, such as those of the workers of one server.

    Example: dbsight report run.json -o report.html
    """
    form = form or ("json" if as_json else _SUFFIXES.get(output.suffix.lower()) if output is not None else None)
    form = form or "terminal"
    if base is not None and form != "html":
        raise click.UsageError("--base needs --format html; `dbsight compare` prints the comparison of two runs")
    failing = _fail_on(fail_on)
    snapshot = merged([read_run(each) for each in run])
    difference = _difference(read_run(base), snapshot) if base is not None else None
    if form == "terminal" and output is None:
        print_report(snapshot, sys.stdout)
    else:
        _write(_rendered(snapshot, form, difference), output)
    _leave(snapshot, failing, check=check)


def _rendered(snapshot: Snapshot, form: str, difference: Difference | None) -> str:
    if form == "html":
        return html(snapshot, difference)
    if form == "json":
        return saved.text(snapshot)
    if form == "markdown":
        return markdown.render(snapshot)
    if form == "sarif":
        return json.dumps(_sarif(snapshot), ensure_ascii=False, indent=1) + "\n"
    return render(snapshot, width=WIDTH_WITHOUT_TERMINAL)


def html(snapshot: Snapshot, difference: Difference | None = None, *, live: bool = False) -> str:
    """The report as HTML; arguments as for ``dbsight.report.html.render``.

    Raises:
        UsageFault: Jinja2 is not installed.
    """
    try:
        from dbsight.report.html import render as rendered

        return rendered(snapshot, difference, live=live)
    except ImportError as error:
        raise UsageFault("the HTML report needs Jinja2: pip install 'dbsight[html]'") from error


def _sarif(snapshot: Snapshot) -> dict[str, Any]:
    return sarif([Found.of(each.finding, each.finding.route) for each in snapshot.findings])


def _difference(base: Snapshot, head: Snapshot) -> Difference:
    from dbsight.report.html.comparison import difference

    found = compare_runs(base, head)
    return difference(
        f"Compared with the earlier run: {verdict(found)}.",
        found.changes,
        found.routes,
        told(found.gone),
        told(found.new),
        worse=found.regressed,
    )


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        replace_file(output, lambda file: file.write(text))
    except OSError as error:
        raise UsageFault(f"{output} cannot be written: {error.strerror}") from error


def _fail_on(value: str | None) -> Settings | None:
    if value is None:
        return None
    try:
        return Settings(fail_on=parsers.fail_on.read(value))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not {parsers.fail_on.expects}", param_hint="--fail-on") from error


def _leave(snapshot: Snapshot, failing: Settings | None, *, check: bool) -> None:
    findings = [merged_finding.finding for merged_finding in snapshot.findings]
    if failing is not None and any(failing.fails_on(each.rule, each.severity) for each in findings):
        raise SystemExit(FAIL_ON)
    if check and any(each.severity != "info" for each in findings):
        raise SystemExit(FINDINGS)
