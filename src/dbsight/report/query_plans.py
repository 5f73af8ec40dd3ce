"""Plans of slow queries on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.formatting import counted
from dbsight.report.layout import code_lines, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from dbsight.model import PlanSummary

MAX_PLAN_LINES: Final = 20
"""Lines of a query plan."""


def plan_lines(plan: PlanSummary, indent: str) -> Iterator[Text]:
    """The plan of a slow query as a tree."""
    lines = code_lines(plan.tree)
    issues = ", ".join(plan.issues)
    yield text(indent, ("plan", "dim"), f"  {plan.hash}", (f"  {issues}" if issues else "", "dim"))
    for number, line in enumerate(lines[:MAX_PLAN_LINES]):
        if number == plan.costly and len(lines) > 1:
            yield text(indent, "    ", (line, "bold"), ("  ← costs most", "yellow"))
        else:
            yield text(indent, "    ", line)
    if len(lines) > MAX_PLAN_LINES:
        yield text(indent, f"    … and {counted(len(lines) - MAX_PLAN_LINES, 'line')} more")
