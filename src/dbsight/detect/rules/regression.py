"""Plans that changed for the worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.identity import identity
from dbsight.detect.rule import PlanRule
from dbsight.detect.suppressions import read_plans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.model import Category, ExplainedQuery, Finding, PlanSummary

_DEARER: Final = 2.0
"""Times the cost before."""

_WORSE: Final = frozenset(
    (
        *("seq_scan", "selective_filter", "missing_join_index", "automatic_index", "large_nested_loop", "temp_btree"),
        *("sort_spill", "hash_spill", "filter_after_index"),
    )
)
"""Issues that speak for themselves where a database has no costs."""


class Regression(PlanRule):
    """The plan of a query changed for the worse, against its plan before or a stored baseline.

        [ GET /orders -- ]                                  Index Scan, cost 8
          [ SELECT orders ]
        [ GET /orders ------------------------------------------ ]
          [ SELECT orders ------------------------------------ ]  Seq Scan, cost 21 000

    Anti-pattern:
        op.drop_index("ix_orders_customer_id")  # queries still need it

    Best practice:
        op.create_index("ix_orders_customer_id", "orders", ["customer_id"])

    Severity:
        error: The query is very slow with the new plan.
        warning: Any other.

    Not reported:
        The same steps on the same tables and indexes, however much more they cost: tables grow. Other steps that cost
        less than twice as much; where the database has no costs, other steps without a new scan, sort or loop.
    """

    name: ClassVar[str] = "regression"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("explain", "explain_interval", "baseline")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._stored = read_plans(settings.baseline)

    def judge(self, explained: ExplainedQuery) -> Iterable[Finding]:
        """Compare with the plan that this process saw before, else with the baseline's."""
        statement = explained.operation.statement
        before = explained.before or self._stored.get(statement.fingerprint)
        now = explained.summary
        if before is None or not _is_worse(before, now):
            return
        finding = self.about(explained, identity("rg", self.name, statement.fingerprint))
        finding.severity = "error" if explained.query_class == "very_slow" else "warning"
        finding.title = f"The plan of {statement.summary} changed for the worse"
        new = sorted(_WORSE.intersection(now.issues) - set(before.issues))
        facts = [f"plan {before.hash} → {now.hash}"]
        if before.cost is not None and now.cost is not None:
            facts.append(f"cost {before.cost:.6g} → {now.cost:.6g}")
            finding.metric, finding.current_value, finding.threshold = "plan_cost", now.cost, before.cost
        if new:
            facts.append(f"new: {', '.join(new)}")
        since = "in this process" if explained.before is not None else "in the baseline"
        finding.description = f"Compared with the plan {since}: {'; '.join(facts)}."
        finding.effort = "medium"
        yield finding


def _is_worse(before: PlanSummary, now: PlanSummary) -> bool:
    if before.hash == now.hash:
        return False
    if before.cost is not None and now.cost is not None:
        return now.cost > before.cost * _DEARER
    return not _WORSE.isdisjoint(set(now.issues) - set(before.issues))
