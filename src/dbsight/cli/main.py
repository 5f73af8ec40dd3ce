"""The command line: each command is a file beside this one."""

from __future__ import annotations

import click

from dbsight.cli.baseline import baseline
from dbsight.cli.bench import queries, records
from dbsight.cli.compare import compare
from dbsight.cli.completion import completion
from dbsight.cli.doctor import doctor
from dbsight.cli.explain import explain
from dbsight.cli.health import health
from dbsight.cli.load import load
from dbsight.cli.mcp import mcp
from dbsight.cli.redis_presets import redis_presets
from dbsight.cli.report import report
from dbsight.cli.rules import rules
from dbsight.cli.run import run
from dbsight.cli.serve import serve
from dbsight.cli.settings import settings
from dbsight.cli.sql import sql
from dbsight.cli.top import top
from dbsight.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbsight")
def main() -> None:
    """Show why the database is slow: which query, which line, what to change."""


@main.group()
def bench() -> None:
    """Measure queries, a database, or settings."""


bench.add_command(queries)
bench.add_command(records)
bench.add_command(redis_presets, "redis")
_COMMANDS = (
    *(baseline, compare, completion, doctor, explain, health, load, mcp),
    *(report, rules, run, serve, settings, sql, top),
)
for command in _COMMANDS:
    main.add_command(command)
