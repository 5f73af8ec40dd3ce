"""Plans of slow queries on the terminal, and in which order what is said of them is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.formatting import counted
from dbsight.report.layout import code_lines, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from dbsight.model import Finding, MergedFinding, PlanSummary

MAX_PLAN_LINES: Final = 20
"""Lines of a query plan."""

_ABOUT_PLANS: Final = frozenset(("missing_index", "bad_plan", "regression"))


def with_their_plans(findings: Sequence[MergedFinding]) -> list[MergedFinding]:
    """Put what is said of a query's plan behind the finding that shows the plan: what it saves is often unknown."""
    about: dict[tuple[str, str], list[MergedFinding]] = {}
    slow = {_query(each.finding) for each in findings if each.finding.rule == "slow_query"}
    for each in findings:
        if each.finding.rule in _ABOUT_PLANS and _query(each.finding) in slow:
            about.setdefault(_query(each.finding), []).append(each)
    moved = {id(each) for followers in about.values() for each in followers}
    ordered = []
    for each in findings:
        if id(each) not in moved:
            ordered.append(each)
            if each.finding.rule == "slow_query":
                ordered += about.get(_query(each.finding), ())
    return ordered


def _query(finding: Finding) -> tuple[str, str]:
    """Fingerprint and database of a finding; empty where it is about no statement."""
    statement, database = finding.statement, finding.database
    return (statement.fingerprint, database.key) if statement is not None and database is not None else ("", "")


def plan_lines(plan: PlanSummary, indent: str) -> Iterator[Text]:
    """The plan of a slow query as a tree."""
    lines = code_lines(plan.tree)
    issues = ", ".join(plan.issues)
    yield text(indent, ("plan", "dim"), f"  {plan.hash}", (f"  {issues}" if issues else "", "dim"))
    for line in lines[:MAX_PLAN_LINES]:
        yield text(indent, "    ", line)
    if len(lines) > MAX_PLAN_LINES:
        yield text(indent, f"    … and {counted(len(lines) - MAX_PLAN_LINES, 'line')} more")
