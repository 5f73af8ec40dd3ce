"""Slow queries that an index would serve, as their plan and the planner say."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.identity import identity
from dbsight.detect.rule import PlanRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, ExplainedQuery, Finding, IndexAdvice


def _columns(columns: tuple[str, ...], where: str) -> str:
    return ", ".join(columns) + (f" WHERE {where}" if where else "")


def _identity(table: str, columns: str) -> str:
    """The same for all statements that the index serves."""
    return identity("mi", MissingIndex.name, table, columns)


def superseded(advice: IndexAdvice) -> tuple[str, list[str]]:
    """The id of what is found of an advised index, and those of the indexes that it takes the place of."""
    return _identity(advice.table, _columns(advice.columns, advice.where)), [
        _identity(advice.table, _columns(*each)) for each in advice.instead_of
    ]


class MissingIndex(PlanRule):
    """A slow query reads or sorts a whole table because an index is missing.

        [ GET /orders ------------------------------------------------ ]
          [ SELECT orders ------------------------------------------ ]  reads 1 000 000 rows to return 7
            with the index: [ SELECT orders ]                           the planner uses it

    Anti-pattern:
        session.scalars(select(Order).where(Order.customer_id == customer)).all()  # no index on customer_id

    Best practice:
        Index("ix_orders_customer_id", Order.customer_id)

    Severity:
        error: The query is very slow, and the planner was seen to use the index.
        warning: Any other slow query.
        info: A query that was not slow (``explain`` is ``always_once``).

    Not reported:
        Tables below 1 000 rows, conditions that keep more than 10 % of the rows, and what an existing index serves.
    """

    name: ClassVar[str] = "missing_index"
    category: ClassVar[Category] = "index"
    settings: ClassVar[tuple[str, ...]] = ("explain", "index_proof")

    def judge(self, explained: ExplainedQuery) -> Iterable[Finding]:
        """One finding per index that is advised."""
        for advice in explained.advice or ():
            yield self._finding(explained, advice)

    def _finding(self, explained: ExplainedQuery, advice: IndexAdvice) -> Finding:
        operation = explained.operation
        statement = operation.statement
        columns = _columns(advice.columns, advice.where)
        proved = advice.proof == "proved"
        text = f"{statement.summary} has no index on {advice.table} ({columns})"
        if proved:
            text += "; proved: the planner uses it"
            if advice.cost_before is not None and advice.cost_after is not None:
                text += f", cost {advice.cost_before:.6g} → {advice.cost_after:.6g}"
        else:
            text += "; likely: the planner was not asked"
        if advice.also_serves:
            text += f". It also serves {', '.join(advice.also_serves)}"
        if advice.replaces:
            text += f". It makes {advice.replaces} superfluous"
        if advice.write_cost:
            text += f". {advice.write_cost}"
        severity = "error" if proved and explained.query_class == "very_slow" else "warning"
        finding = self.about(explained, _identity(advice.table, columns))
        finding.severity = severity if explained.query_class else "info"  # type: ignore[assignment]
        finding.title = f"{advice.table} has no index on ({columns})"
        finding.description = f"{text}."
        finding.suggestion = advice.ddl
        finding.effort = "low"
        if advice.cost_before is not None and advice.cost_after is not None:
            finding.impact = operation.duration * max(0.0, 1 - advice.cost_after / (advice.cost_before or 1.0))
            finding.metric = "plan_cost"
            finding.current_value, finding.threshold = advice.cost_before, advice.cost_after
        finding.details = {
            "proof": advice.proof,
            "sqlalchemy": advice.sqlalchemy,
            "alembic": advice.alembic,
            "django": advice.django,
            "also_serves": list(advice.also_serves),
        }
        return finding
