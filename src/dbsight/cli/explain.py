"""``dbsight explain``: the plan of a statement, and what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dbsight.plans.errors import ExplainError
from dbsight.plans.explain import explain as ask
from dbsight.plans.issues import ExplainAnalyzer
from dbsight.plans.rendering import as_json, as_text, as_tree

if TYPE_CHECKING:
    from dbsight.model import Plan


@click.command()
@click.argument("sql")
@click.option("--url", required=True, envvar="DATABASE_URL", help="Database URL of SQLAlchemy; default: DATABASE_URL.")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="Value of :NAME in the SQL; repeatable.")
@click.option("--analyze", is_flag=True, help="Execute the statement for actual rows and times; refused if it writes.")
@click.option("--rollback", is_flag=True, help="With --analyze: execute it even if it writes, and roll it back.")
@click.option("--format", "form", type=click.Choice(["tree", "text", "json"]), default="tree", show_default=True)
@click.option("--timeout", default=10.0, show_default=True, help="Seconds that the statement may run.")
def explain(
    sql: str, url: str, param: tuple[str, ...], analyze: bool, rollback: bool, form: str, timeout: float
) -> None:
    """Print how the database executes SQL, and what is wrong with that. Literals are hidden."""
    if rollback and not analyze:
        raise click.UsageError("--rollback needs --analyze")
    plan = _plan(sql, url, _values(param), analyze=analyze, rollback=rollback, timeout=timeout)
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


def _values(pairs: tuple[str, ...]) -> dict[str, Any] | None:
    """Parameters from the command line: numbers, true, false and null as in JSON, everything else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--param must be NAME=VALUE, not {pair}")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        values[name] = value if isinstance(parsed, (dict, list)) else parsed
    return values or None


def _plan(sql: str, url: str, params: dict[str, Any] | None, **options: Any) -> Plan:
    try:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool
    except ImportError as error:
        raise click.ClickException("dbsight explain needs SQLAlchemy: pip install sqlalchemy") from error
    try:
        engine = create_engine(url, poolclass=NullPool)
    except Exception as error:
        # SQLAlchemy's message quotes the URL, and with it a password.
        raise click.ClickException(f"invalid --url: {type(error).__name__}") from error
    try:
        plan: Plan = ask(sql, engine, params=params, **options)
    except ExplainError as error:
        raise click.ClickException(str(error)) from error
    except Exception as error:
        raise click.ClickException(f"the statement cannot be explained: {type(error).__name__}") from error
    finally:
        engine.dispose()
    return plan
