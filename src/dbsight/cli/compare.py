"""``dbsight compare BASE HEAD``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table

from dbsight.bench.compared import compare_files, more_queries, told
from dbsight.cli.exit_codes import CLEAN, FINDINGS
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from dbsight.bench.compared import Comparison

_HEAD = ("query", "n", "mean", "p95", "improvement", "")
_SIGNS = {"faster": "✔ faster", "slower": "✘ slower", "no difference": "no difference", "new": "new", "gone": "gone"}


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("head", type=click.Path(path_type=Path))
@click.option(
    "--threshold", type=click.FloatRange(0), default=10.0, show_default=True, help="Smallest change of a mean, percent."
)
@click.option("--all", "everything", is_flag=True, help="List queries without a difference, too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="Output.",
)
@click.option("--json", "as_json", is_flag=True, help="Output JSON; short for --format json.")
def compare(base: Path, head: Path, threshold: float, everything: bool, form: str, as_json: bool) -> None:
    """Compare two saved runs (OTEL_DBSIGHT_REPORT=json) or two benchmarks (dbsight bench queries --save).

    A query is faster or slower if its mean changed by more than the threshold, and by more than noise: zero must lie
    outside the bootstrap interval (95 %) of the difference. The exit code is 1 if a query is slower, a route sends more
    queries, or a finding at warning or above is new; 2 if a file cannot be compared.

    Example: dbsight compare before.json run.json
    """
    try:
        found = compare_files(base, head, threshold)
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json or form == "json":
        click.echo(json.dumps(_plain(found), ensure_ascii=False, indent=1))
    else:
        _print(found, everything=everything, markdown=form == "markdown")
    raise SystemExit(FINDINGS if found.regressed else CLEAN)


def _plain(found: Comparison) -> dict[str, object]:
    return {
        "regressed": found.regressed,
        "changes": [asdict(change) for change in found.changes],
        "routes": [asdict(route) for route in found.routes],
        "gone": [
            {"id": each.finding.id, "rule": each.finding.rule, "title": each.finding.title} for each in found.gone
        ],
        "new": [{"id": each.finding.id, "rule": each.finding.rule, "title": each.finding.title} for each in found.new],
    }


def _print(found: Comparison, *, everything: bool, markdown: bool) -> None:
    rows = [
        (
            change.name,
            f"{change.base_count} → {change.head_count}",
            f"{seconds(change.base_mean)} → {seconds(change.head_mean)}",
            f"{seconds(change.base_p95)} → {seconds(change.head_p95)}",
            f"{change.improvement:+.1f} %" if change.base_count and change.head_count else "",
            _SIGNS[change.verdict],
        )
        for change in found.changes
        if everything or change.verdict != "no difference"
    ]
    if rows:
        table = Table(*_HEAD, box=box.MARKDOWN if markdown else box.SIMPLE_HEAD, pad_edge=markdown)
        for row in rows:
            table.add_row(*row)
        Console(width=None if not markdown else 400, soft_wrap=True, highlight=False, markup=False).print(table)
    mark = "* " if markdown else ""
    for route in found.routes:
        sign = "✘" if more_queries(route, found.threshold) else "✔" if route.head < route.base else " "
        click.echo(f"{mark}{sign} {route.route}: {route.base:.4g} → {route.head:.4g} queries per request")
    for sign, word, findings in (("✔", "gone", found.gone), ("✘", "new", found.new)):
        for line in told(findings):
            click.echo(f"{mark}{sign} {word}: {line}")
    same = sum(change.verdict == "no difference" for change in found.changes)
    click.echo(f"{'**' if markdown else ''}{verdict(found)}{'**' if markdown else ''}; {same} without a difference")


def verdict(found: Comparison) -> str:
    """``worse``, ``better`` or ``no difference``."""
    if found.regressed:
        return "worse"
    better = found.gone or any(change.verdict == "faster" for change in found.changes)
    return "better" if better or any(route.head < route.base for route in found.routes) else "no difference"
