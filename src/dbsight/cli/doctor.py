"""``dbsight doctor``: the setup, the command's processes, a Redis server."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbsight import config
from dbsight.cli import diagnosis
from dbsight.cli.doctor_probe import VARIABLE
from dbsight.cli.exit_codes import FINDINGS
from dbsight.cli.redis_counts import redis_counts
from dbsight.cli.run import instrumented
from dbsight.detect.expectations import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLANS = {"OTEL_DBSIGHT_EXPLAIN": "always_once", "OTEL_DBSIGHT_EXPLAIN_PER_MINUTE": "200"}


class _Doctor(click.Group):
    """A group whose other arguments are a command to run."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if arguments[0] in self.commands:
            return super().resolve_command(context, arguments)
        return _command.name, _command, arguments


@click.group(
    cls=_Doctor, invoke_without_command=True, subcommand_metavar="[-- COMMAND …] | redis", no_args_is_help=False
)
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
@click.option("--workload", type=click.Choice(["read", "write", "mixed"]), help="Compare pools with this profile.")
@click.option("--template", type=click.Choice([*TEMPLATES]), help="Compare pools with this set of expected values.")
@click.pass_context
def doctor(context: click.Context, as_json: bool, workload: str | None, template: str | None) -> None:
    """Check the setup; with `-- COMMAND`, run the command instrumented and check it from inside.

    The exit code is 1 if a check fails; the checklist of good practice at the end does not count.

    Example: dbsight doctor -- python app.py
    """
    if context.invoked_subcommand is None:
        _check((), context.params)


@click.command(
    name="command", hidden=True, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def _command(context: click.Context, command: tuple[str, ...]) -> None:
    """Check a command from inside."""
    assert context.parent is not None  # the group
    _check(command, context.parent.params)


doctor.add_command(redis_counts, "redis")


def _check(command: tuple[str, ...], options: Mapping[str, Any]) -> None:
    evidence = diagnosis.examine(_run(command) if command else None)
    evidence.workload, evidence.template = options["workload"] or "", options["template"] or ""
    answers = diagnosis.answers(evidence)
    if options["as_json"]:
        click.echo(json.dumps([answer._asdict() for answer in answers], ensure_ascii=False, indent=1))
    else:
        for answer in answers:
            color = {"✔": "green", "✘": "red", "?": "yellow"}[answer.mark]
            click.echo(f"{click.style(answer.mark, fg=color)} {answer.check:<13} {answer.text}")
            if answer.advice:
                click.echo(f"  {'':<13} → {answer.advice}")
    if any(answer.mark == "✘" and not answer.advisory for answer in answers):
        raise SystemExit(FINDINGS)


def _run(command: tuple[str, ...]) -> list[dict[str, Any]]:
    """Run a command instrumented, and return what each of its processes reported."""
    with tempfile.TemporaryDirectory(prefix="dbsight-doctor-") as directory:
        # The plan of every statement is requested once, unless the user has decided about that.
        environ = {**_PLANS, **config.environment(), VARIABLE: directory}
        # stdout is reserved for the report, so the command's stdout goes to stderr.
        instrumented(command, environ, sys.stderr.fileno())
        return [json.loads(each.read_text(encoding="utf-8")) for each in sorted(Path(directory).glob("*.json"))]
