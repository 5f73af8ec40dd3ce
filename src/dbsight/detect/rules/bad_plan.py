"""Slow queries whose plan does what another query or setting would avoid."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.identity import identity
from dbsight.detect.rule import PlanRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, ExplainedQuery, Finding, PlanIssue

_SHOWN: Final = 5
_INDEXES: Final = frozenset(("selective_filter", "missing_join_index", "automatic_index", "filter_after_index"))
"""Issues whose recommendation is an index, which is not certain to help where a better search found none."""

_ORDINARY: Final = frozenset(("automatic_index", "temp_btree"))
"""What is as good as it gets where no index would be better."""


class BadPlan(PlanRule):
    """A slow query's plan joins, sorts, reads or skips rows in a way that a better query avoids.

        [ GET /report ------------------------------------------------ ]
          [ SELECT order_lines ------------------------------------- ]  nested loop over 1 000 000 rows
            plan: Nested Loop → Seq Scan · Index Scan × 1 000 000

    Anti-pattern:
        session.execute(text("SELECT * FROM a JOIN b ON b.code = upper(a.code)")).all()

    Best practice:
        session.execute(text("SELECT * FROM a JOIN b ON b.code = a.code WHERE a.day = :day"), {"day": day}).all()

    Severity:
        error: The query is very slow.
        warning: The query is slow.
        info: A query that was not slow (``explain`` is ``always_once``).

    Not reported:
        What an index mends, where indexes could be advised: that is ``missing_index``. Small tables.
    """

    name: ClassVar[str] = "bad_plan"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("explain",)

    def judge(self, explained: ExplainedQuery) -> Iterable[Finding]:
        """One finding for all that is wrong with the plan."""
        wrong = [issue for issue in explained.issues if issue.severity == "warning" and _remains(issue, explained)]
        if not wrong:
            return
        operation = explained.operation
        names = ", ".join(dict.fromkeys(issue.name for issue in wrong))
        finding = self.about(explained, identity("bp", self.name, operation.statement.fingerprint))
        severities = {"very_slow": "error", "slow": "warning"}
        finding.severity = severities.get(explained.query_class or "", "info")  # type: ignore[assignment]
        finding.title = f"{operation.statement.summary} has a bad plan: {names}"
        finding.description = "; ".join(dict.fromkeys(str(issue) for issue in wrong[:_SHOWN])) + "."
        unsure = _INDEXES if explained.advice is not None else frozenset()
        finding.suggestion = next(
            (issue.recommendation for issue in wrong if issue.recommendation and issue.name not in unsure), ""
        )
        finding.effort = "medium"
        yield finding


def _remains(issue: PlanIssue, explained: ExplainedQuery) -> bool:
    """Whether an issue is still there with the indexes that are advised."""
    if explained.advice is None:
        return True
    if issue.name in _ORDINARY or issue.node.relation in {each.table for each in explained.advice}:
        return False
    # Without an estimate, an equality counts as selective; the search for an index knows better.
    return issue.name != "selective_filter" or issue.node.estimated_rows is not None
