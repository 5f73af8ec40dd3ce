"""What a slow statement asks for that no index serves: a deep page by OFFSET, a pattern that begins with a wildcard."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dbsight.formatting import count
from dbsight.model import PlanIssue, PlanNode
from dbsight.plans.errors import ExplainError
from dbsight.plans.issues import LARGE_TABLE
from dbsight.plans.literals import with_literals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Plan

_OFFSET: Final = re.compile(r"\bOFFSET\s+(?P<rows>\d+)|\bLIMIT\s+(?P<first>\d+)\s*,\s*\d", re.IGNORECASE)
_WILDCARD: Final = re.compile(r"(?<!\bNOT )\bI?LIKE\s*(?:\(\s*)?(?:CONCAT\s*\(\s*)?'[%_]", re.IGNORECASE)
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'")

_ADVICE: Final = {
    "postgresql": "An index of trigrams (CREATE EXTENSION pg_trgm; … USING gin (column gin_trgm_ops)), or a comparison"
    " of whole values",
    "mysql": "A FULLTEXT index and MATCH … AGAINST, or a comparison of whole values",
    "mariadb": "A FULLTEXT index and MATCH … AGAINST, or a comparison of whole values",
    "sqlite": "A full-text table (FTS5), or a comparison of whole values",
}


def smells(plan: Plan, text: str, parameters: Any, paramstyle: str) -> Iterator[PlanIssue]:
    """Issues of the statement that its plan does not name.

    Args:
        plan: Its plan.
        text: The statement as the driver takes it.
        parameters: Its values.
        paramstyle: The driver's.
    """
    if not any(node.kind in ("seq_scan", "index_scan") and _is_large(node) for node in plan.nodes()):
        return
    with suppress(ExplainError):  # for a value that cannot be written: what is in the text can be seen all the same
        text = with_literals(text, parameters, paramstyle, plan.system)
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
        advice = _ADVICE.get(plan.system, "Compare whole values")
        yield PlanIssue(
            "leading_wildcard",
            "warning",
            "compares with a pattern that begins with a wildcard, which an ordinary index cannot serve",
            advice,
            PlanNode("LIKE"),
        )


def _is_large(node: PlanNode) -> bool:
    return node.table_rows is None or node.table_rows >= LARGE_TABLE
