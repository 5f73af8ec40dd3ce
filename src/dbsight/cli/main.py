"""The command line: each command that is more than a few lines is a file beside this one."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from dbsight import config
from dbsight.cli import diagnosis
from dbsight.cli.bench import queries, records
from dbsight.cli.compare import compare
from dbsight.cli.doctor_probe import VARIABLE
from dbsight.cli.explain import explain
from dbsight.cli.health import health
from dbsight.cli.load import load
from dbsight.cli.redis_counts import redis_counts
from dbsight.cli.redis_presets import redis_presets
from dbsight.cli.rules import rules
from dbsight.cli.run import instrumented, run
from dbsight.cli.runs import read_run
from dbsight.cli.sql import sql
from dbsight.detect.suppressions import DEFAULT_BASELINE, write_baseline
from dbsight.formatting import counted
from dbsight.report.terminal import print_report
from dbsight.version import __version__

_PLANS = {"OTEL_DBSIGHT_EXPLAIN": "always_once", "OTEL_DBSIGHT_EXPLAIN_PER_MINUTE": "200"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbsight")
def main() -> None:
    """Show why the database is slow: which query, which line, what to change."""


@main.command(name="config")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config_(as_json: bool) -> None:
    """Print every setting, its value and its source."""
    rows = config.Settings.load().describe()
    if as_json:
        plain = [
            {
                "name": row.setting.name,
                "variable": row.setting.variable or None,
                "value": row.value,
                "source": row.source,
                "about": row.setting.about,
            }
            for row in rows
        ]
        click.echo(json.dumps(plain, ensure_ascii=False, indent=1))
        return
    wide = max(len(row.setting.name) for row in rows)
    for row in rows:
        source = "" if row.source == "default" else f"   ← {row.source}"
        click.echo(f"{row.setting.name:<{wide}}  {row.value}{source}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def report(file: Path) -> None:
    """Print a report that was saved with OTEL_DBSIGHT_REPORT=json."""
    print_report(read_run(file), sys.stdout)


@main.group()
def baseline() -> None:
    """Manage the baseline of known findings, which are not reported."""


@baseline.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(DEFAULT_BASELINE), show_default=True)
def save(run: Path, output: Path) -> None:
    """Write the findings of a saved RUN to a file that OTEL_DBSIGHT_BASELINE names."""
    try:
        snapshot = read_run(run)
        number = write_baseline((merged.finding for merged in snapshot.findings), output, snapshot.statements)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"{counted(number, 'finding')} in {output}; OTEL_DBSIGHT_BASELINE={output} suppresses them")


@main.group()
def bench() -> None:
    """Measure queries, a database, or settings."""


bench.add_command(queries)
bench.add_command(records)
bench.add_command(redis_presets, "redis")
main.add_command(compare)
main.add_command(explain)
main.add_command(load)
main.add_command(rules)
main.add_command(run)
main.add_command(health)
main.add_command(sql)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def doctor(as_json: bool, command: tuple[str, ...]) -> None:
    """Check the setup; with `-- COMMAND`, run the command instrumented and check it from inside.

    `doctor redis [URL]` compares the connection counts of a Redis server with those of its clients.
    The exit code is 1 if a check fails; the checklist of good practice at the end does not count.
    """
    if command[:1] == ("redis",):
        redis_counts.main([*command[1:], *(["--json"] if as_json else [])], prog_name="dbsight doctor redis")
    evidence = diagnosis.examine(_run(command) if command else None)
    answers = diagnosis.answers(evidence)
    if as_json:
        click.echo(json.dumps([answer._asdict() for answer in answers], ensure_ascii=False, indent=1))
    else:
        for answer in answers:
            color = {"✔": "green", "✘": "red", "?": "yellow"}[answer.mark]
            click.echo(f"{click.style(answer.mark, fg=color)} {answer.check:<13} {answer.text}")
            if answer.advice:
                click.echo(f"  {'':<13} → {answer.advice}")
    if any(answer.mark == "✘" and not answer.advisory for answer in answers):
        raise SystemExit(1)


def _run(command: tuple[str, ...]) -> list[dict[str, Any]]:
    """Run a command instrumented, and return what each of its processes reported."""
    with tempfile.TemporaryDirectory(prefix="dbsight-doctor-") as directory:
        # The plan of every statement is requested once, unless the user has decided about that.
        environ = {**_PLANS, **config.environment(), VARIABLE: directory}
        # stdout is reserved for the report, so the command's stdout goes to stderr.
        instrumented(command, environ, sys.stderr.fileno())
        return [json.loads(each.read_text(encoding="utf-8")) for each in sorted(Path(directory).glob("*.json"))]
