"""Plans that changed for the worse, and statements that became slower."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.identity import identity
from dbsight.detect.rule import PlanRule, SnapshotRule
from dbsight.detect.suppressions import ENOUGH, read_plans, read_times
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.detect.suppressions import BaselineTimes
    from dbsight.model import Category, ExplainedQuery, Finding, PlanSummary, Snapshot, StatementTotals

_WORSE: Final = frozenset(
    (
        *("seq_scan", "selective_filter", "missing_join_index", "automatic_index", "large_nested_loop", "temp_btree"),
        *("sort_spill", "hash_spill", "filter_after_index"),
    )
)
"""Issues that speak for themselves where a database has no costs."""


class Regression(PlanRule, SnapshotRule):
    """The plan of a query changed for the worse, or a query became slower than in a stored baseline.

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
        warning: Any other plan; a query whose median and 95th percentile are twice those of the baseline
        (``regression_factor``), of 20 executions each.

    Not reported:
        The same steps on the same tables and indexes, however much more they cost: tables grow. Other steps that cost
        less than twice as much; where the database has no costs, other steps without a new scan, sort or loop. A median
        that grew by less than 5 ms (``regression_threshold``).
    """

    name: ClassVar[str] = "regression"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "explain",
        "explain_interval",
        "baseline",
        "regression_factor",
        "regression_threshold",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._stored = read_plans(settings.baseline)
        self._times = read_times(settings.baseline)

    def judge(self, explained: ExplainedQuery) -> Iterable[Finding]:
        """Compare with the plan that this process saw before, else with the baseline's."""
        statement = explained.operation.statement
        before = explained.before or self._stored.get(statement.fingerprint)
        now = explained.summary
        if before is None or not _is_worse(before, now, self.configuration.regression_factor):
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

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the times of each statement with the baseline's."""
        for totals in snapshot.statements if self._times else ():
            before = self._times.get(totals.statement.fingerprint)
            if before is not None and _is_slower(before, totals, self.configuration):
                yield self._slower(before, totals)

    def _slower(self, before: BaselineTimes, totals: StatementTotals) -> Finding:
        statement = totals.statement
        return self.finding(
            ("rg", "times", statement.fingerprint),
            severity="warning",
            title=f"{statement.summary} became slower",
            description=(
                f"Compared with the baseline: median {seconds(before.p50)} → {seconds(totals.p50)}, 95th percentile"
                f" {seconds(before.p95)} → {seconds(totals.p95)}, of {counted(totals.count, 'execution')}."
            ),
            effort="medium",
            impact=(totals.p50 - before.p50) * totals.count,
            metric="p50",
            current_value=totals.p50,
            threshold=before.p50 * self.configuration.regression_factor,
            statement=statement,
            database=totals.database,
            call_site=totals.call_site,
            plan=totals.plan,
        )


def _is_slower(before: BaselineTimes, now: StatementTotals, settings: Settings) -> bool:
    """Both the median and the 95th percentile, so that neither outliers nor a quiet minute count."""
    return (
        min(before.executions, now.count) >= ENOUGH
        and now.p50 >= before.p50 * settings.regression_factor
        and now.p95 >= before.p95 * settings.regression_factor
        and now.p50 - before.p50 >= settings.regression_threshold
    )


def _is_worse(before: PlanSummary, now: PlanSummary, factor: float) -> bool:
    if before.hash == now.hash:
        return False
    if before.cost is not None and now.cost is not None:
        return now.cost > before.cost * factor
    return not _WORSE.isdisjoint(set(now.issues) - set(before.issues))
