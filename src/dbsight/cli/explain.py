"""``dbsight explain``: the plan of a statement, and what is wrong with it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.runs import read_run
from dbsight.formatting import count, seconds
from dbsight.plans.errors import ExplainError
from dbsight.plans.explain import explain as ask
from dbsight.plans.explain import explain_saved
from dbsight.plans.issues import ExplainAnalyzer
from dbsight.plans.rendering import as_json, as_text, as_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.model import Plan, StatementTotals

_MAX_LISTED = 20


@click.command()
@click.argument("query", nargs=-1, required=True, metavar="SQL | RUN [FINGERPRINT]")
@click.option("--url", envvar="DATABASE_URL", help="Database URL of SQLAlchemy; default: DATABASE_URL.")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="Value of :NAME in the SQL; repeatable.")
@click.option("--analyze", is_flag=True, help="Execute the statement for actual rows and times; refused if it writes.")
@click.option("--rollback", is_flag=True, help="With --analyze: execute it even if it writes, and roll it back.")
@click.option("--format", "form", type=click.Choice(["tree", "text", "json"]), default="tree", show_default=True)
@click.option("--timeout", default=10.0, show_default=True, help="Seconds that the statement may run.")
def explain(
    query: tuple[str, ...],
    url: str | None,
    param: tuple[str, ...],
    analyze: bool,
    rollback: bool,
    form: str,
    timeout: float,
) -> None:
    """Print how the database executes a statement, and what is wrong with that. Literals are hidden.

    The statement is SQL, or one of a report that was saved with OTEL_DBSIGHT_REPORT=json: RUN is its file, FINGERPRINT
    the beginning of the statement's fingerprint; without one, the statements are listed. Without --url, the plan that
    the run saw is printed. The values of a saved statement are unknown: SQLite and PostgreSQL plan without them; give
    others by name, or by position (-p 1=open).

    Example: dbsight explain "SELECT 1" --url sqlite:///shop.db
    """
    if rollback and not analyze:
        raise UsageFault("--rollback needs --analyze")
    values = _values(param)
    if len(query) == 1 and not query[0].endswith(".json"):
        plan = _plan(
            _required(url),
            lambda engine: ask(
                query[0], engine, params=values or None, analyze=analyze, rollback=rollback, timeout=timeout
            ),
        )
        _print(plan, form)
        return
    if len(query) > 2:
        raise UsageFault("quote the SQL: it must be one argument")
    if analyze:
        raise UsageFault("--analyze needs SQL with its values: those of a saved statement are unknown")
    statements = _statements(Path(query[0]))
    if len(query) == 1:
        _list(statements)
        return
    _explain_saved(_find(statements, query[1]), url, values, form, timeout)


def _required(url: str | None) -> str:
    if not url:
        raise UsageFault("which database? Pass --url, or set DATABASE_URL")
    return url


def _values(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Parameters from the command line: numbers, true, false and null as in JSON, everything else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageFault(f"--param must be NAME=VALUE, not {pair}")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        values[name] = value if isinstance(parsed, (dict, list)) else parsed
    return values


# -- A saved run --------------------------------------------------------------------------------------------------


def _statements(file: Path) -> list[StatementTotals]:
    try:
        return list(read_run(file).statements)
    except click.ClickException as error:
        raise UsageFault(error.message) from error


def _list(statements: list[StatementTotals]) -> None:
    if not statements:
        raise UsageFault("the run has no statements")
    for totals in statements[:_MAX_LISTED]:
        times = f"{count(totals.count):>8} × p95 {seconds(totals.p95):>8}"
        click.echo(f"{totals.statement.fingerprint}  {times}  {totals.statement.summary}")
    if len(statements) > _MAX_LISTED:
        click.echo(f"… and {count(len(statements) - _MAX_LISTED)} more")


def _find(statements: list[StatementTotals], fingerprint: str) -> StatementTotals:
    """The statement whose fingerprint begins so; where it ran on several databases, the one that took most time."""
    found = [each for each in statements if fingerprint and each.statement.fingerprint.startswith(fingerprint)]
    different = {each.statement.fingerprint for each in found}
    if len(different) > 1:
        raise UsageFault(f"{len(different)} statements have fingerprints that begin with {fingerprint}")
    if not found:
        raise UsageFault(f"the run has no statement with the fingerprint {fingerprint}")
    return found[0]


def _explain_saved(totals: StatementTotals, url: str | None, values: dict[str, Any], form: str, timeout: float) -> None:
    statement, before = totals.statement, totals.plan
    if not url:
        if before is None:
            raise UsageFault("the run has no plan of this statement: pass --url to ask the database for one")
        if form == "json":
            click.echo(json.dumps({"statement": statement.text, "hash": before.hash, "cost": before.cost}, indent=1))
        else:
            click.echo(f"{before.tree}\n\nthe plan {before.hash} of the run; --url asks the database again")
        return
    if not statement.text:
        raise UsageFault("the run was saved without query texts (OTEL_DBSIGHT_QUERY_TEXT=off)")
    plan = _plan(url, lambda engine: explain_saved(statement.text, engine, values, timeout=timeout))
    _print(plan, form)
    if before is not None and form != "json":
        same = plan.hash == before.hash
        click.echo(f"\n{'the same plan as in the run' if same else f'another plan than {before.hash} of the run'}")


# -- The plan -----------------------------------------------------------------------------------------------------


def _plan(url: str, get: Callable[[Any], Any]) -> Plan:
    try:
        from sqlalchemy import create_engine
        from sqlalchemy.engine import make_url
        from sqlalchemy.pool import NullPool
    except ImportError as error:
        raise UsageFault("dbsight explain needs SQLAlchemy: pip install sqlalchemy") from error
    try:
        parsed = make_url(url)
        asynchronous = bool(getattr(parsed.get_dialect(), "is_async", False))
        engine: Any = create_engine(parsed, poolclass=NullPool)
        if asynchronous:
            from sqlalchemy.ext.asyncio import AsyncEngine

            engine = AsyncEngine(engine)
    except Exception as error:
        # SQLAlchemy's message quotes the URL, and with it a password.
        raise UsageFault(f"invalid --url: {type(error).__name__}") from error
    try:
        plan: Plan = asyncio.run(_awaited(get(engine))) if asynchronous else get(engine)
    except ExplainError as error:
        raise UsageFault(str(error)) from error
    except Exception as error:
        raise UsageFault(f"the statement cannot be explained: {type(error).__name__}") from error
    return plan


async def _awaited(coroutine: Any) -> Plan:
    plan: Plan = await coroutine
    return plan


def _print(plan: Plan, form: str) -> None:
    analyzer = ExplainAnalyzer(plan)
    if form == "json":
        issues = [
            {
                "name": issue.name,
                "severity": issue.severity,
                "table": issue.node.table,
                "description": issue.description,
                "recommendation": issue.recommendation,
            }
            for issue in analyzer.issues
        ]
        click.echo(json.dumps({**as_json(plan), "issues": issues}, ensure_ascii=False, indent=1))
        return
    click.echo(as_tree(plan) if form == "tree" else as_text(plan))
    warnings = [issue for issue in analyzer.issues if issue.severity == "warning"]
    if warnings:
        click.echo()
    for issue in warnings:
        click.echo(f"{click.style(issue.name, fg='yellow')}  {issue.description}")
        if issue.recommendation:
            click.echo(f"  → {issue.recommendation}")
