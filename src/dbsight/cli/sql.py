"""``dbsight sql``: SQL to run on the server, printed and never executed."""

from __future__ import annotations

import sys
from typing import Final

import click

from dbsight.statement import read

_LINES: Final = """\
-- Run as a superuser, for example: dbsight sql pg-setup | psql -U postgres -d {database}
-- Log statements that take {milliseconds} ms or longer. %Q is the query identifier, as in pg_stat_statements.
ALTER SYSTEM SET log_min_duration_statement = '{milliseconds}ms';
ALTER SYSTEM SET log_line_prefix = '%m [%p] %q%u@%d %a %Q ';
-- Compute the query identifier, for pg_stat_activity and the log.
ALTER SYSTEM SET compute_query_id = 'on';
-- Log the plans of the same statements. Without analyze, which would time every statement.
ALTER SYSTEM SET session_preload_libraries = 'auto_explain';
ALTER SYSTEM SET auto_explain.log_min_duration = '{milliseconds}ms';
ALTER SYSTEM SET auto_explain.log_format = 'json';
-- With the query identifier in the plan (PostgreSQL 16 and newer).
ALTER SYSTEM SET auto_explain.log_verbose = 'on';
ALTER SYSTEM SET auto_explain.log_nested_statements = 'on';
"""

_STATEMENTS: Final = """\
-- Totals per statement. Replaces the list of preloaded libraries: add yours. Needs a restart of the server.
ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
"""

_END: Final = """\
-- Applies what needs no restart.
SELECT pg_reload_conf();
"""


@click.group()
def sql() -> None:
    """Print SQL for the database server."""


@sql.command("pg-setup")
@click.option("--slow", default=0.5, show_default=True, type=click.FloatRange(min=0), help="Seconds.")
@click.option("--database", default="postgres", show_default=True, help="Name in the example command.")
@click.option("--statements/--no-statements", default=True, help="Include pg_stat_statements, which needs a restart.")
def pg_setup(slow: float, database: str, statements: bool) -> None:
    """Print the settings that log slow statements and their plans on PostgreSQL 14 and newer.

    Example: dbsight sql pg-setup --slow 0.2
    """
    lines = _LINES.format(milliseconds=round(slow * 1000), database=database)
    click.echo(lines + (_STATEMENTS if statements else "") + _END, nl=False)


@sql.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--system", default="postgresql", show_default=True, help="db.system.name of the database.")
def fingerprint(text: tuple[str, ...], system: str) -> None:
    """Print the fingerprint of statements, such as those of a server's log or of pg_stat_statements.

    It is what spans have as dbsight.query.fingerprint: the same for other literals, placeholders and comments. "-"
    reads one statement from standard input.

    Example: dbsight sql fingerprint "SELECT name FROM customers WHERE id = 42"
    """
    for each in text:
        statement = read(sys.stdin.read() if each == "-" else each, system)
        click.echo(f"{statement.fingerprint}  {statement.summary}")
