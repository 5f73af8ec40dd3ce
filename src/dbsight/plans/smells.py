"""What a slow statement asks for that no index serves: a deep page, a leading wildcard, a column as another type."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dbsight.formatting import count
from dbsight.model import PlanIssue, PlanNode
from dbsight.plans.casts import casts
from dbsight.plans.errors import ExplainError
from dbsight.plans.issues import LARGE_TABLE
from dbsight.plans.literals import with_literals
from dbsight.plans.sessions import SQLAlchemySession
from dbsight.plans.text_search import advice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dbsight.model import Plan

_OFFSET: Final = re.compile(r"\bOFFSET\s+(?P<rows>\d+)|\bLIMIT\s+(?P<first>\d+)\s*,\s*\d", re.IGNORECASE)
_WILDCARD: Final = re.compile(
    r"(?<!\bNOT )\bI?LIKE\s*(?:\(\s*)?(?:(?:CONCAT|LOWER|UPPER)\s*\(\s*)?'[%_]", re.IGNORECASE
)
_LACKING: Final = frozenset(("selective_filter", "missing_join_index"))
"""Issues whose advice is an index."""
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'")


def smells(plan: Plan, text: str, parameters: Any, connection: Any) -> Iterator[PlanIssue]:
    """Issues of the statement that its plan does not name.

    Args:
        plan: Its plan.
        text: The statement as the driver takes it.
        parameters: Its values.
        connection: SQLAlchemy's, where it runs; one of our own.
    """
    if not any(node.kind in ("seq_scan", "index_scan") and _is_large(node) for node in plan.nodes()):
        return
    session = SQLAlchemySession(connection)
    yield from casts(plan, session)
    with suppress(ExplainError):  # for a value that cannot be written: what is in the text can be seen all the same
        text = with_literals(text, parameters, connection.dialect.paramstyle, plan.system)
    skipped = max(
        (int(match["rows"] or match["first"]) for match in _OFFSET.finditer(_QUOTED.sub("''", text))), default=0
    )
    if skipped >= LARGE_TABLE:
        yield PlanIssue(
            "deep_offset",
            "warning",
            f"reads and discards {count(skipped)} rows in front of its page",
            ".where(key > last_seen).order_by(key).limit(n)  # the last row of the page before, instead of .offset(…)",
            PlanNode("OFFSET"),
        )
    if _WILDCARD.search(text):
        statements, proof = advice(plan, text, session)
        how = "proved: SQLite's planner uses the full-text table" if proof == "proved" else f"{proof}: it was not tried"
        yield PlanIssue(
            "leading_wildcard",
            "warning",
            "compares with a pattern that begins with a wildcard: no ordinary index serves it, but what the statements"
            f" of the suggestion create does ({how})",
            statements,
            PlanNode("LIKE"),
        )


def with_smells(issues: list[PlanIssue], found: Iterable[PlanIssue]) -> list[PlanIssue]:
    """All issues of a plan; where a column is converted, without the index that would not serve it.

    Args:
        issues: The plan's.
        found: The smells of its statement.
    """
    found = list(found)
    converted = {id(each.node) for each in found if each.name == "implicit_cast"}
    return [each for each in issues if each.name not in _LACKING or id(each.node) not in converted] + found


def _is_large(node: PlanNode) -> bool:
    return node.table_rows is None or node.table_rows >= LARGE_TABLE
