"""Units of work that exceed the budget of their route."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.identity import identity
from dbsight.detect.rule import WindowRule
from dbsight.formatting import seconds
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbsight.model import Category
    from dbsight.recording import OpenWindow


class BudgetExceeded(WindowRule):
    """A request exceeds the number of queries, or the database time, configured for its route.

        [ GET /orders ------------------------------------------------ ]
          [ SELECT orders ]  [ SELECT customers ]  × 200   budget: 5 queries, 0.2 s

    Anti-pattern:
        for order in session.scalars(select(Order)):
            print(order.customer.name)

    Best practice:
        for order in session.scalars(select(Order).options(joinedload(Order.customer))):
            print(order.customer.name)

    Severity:
        error: Twice the budget or more.
        warning: More than the budget.

    Not reported:
        Routes without a budget. ``GET /orders=queries:5,time:0.2`` sets one; the route may be a pattern such as ``GET
        /api/*``. An exact route takes precedence over patterns. Suppressed queries are not counted.
    """

    name: ClassVar[str] = "budget_exceeded"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = ("budgets",)

    def conclude(self, window: OpenWindow, route: str) -> Iterable[Finding]:
        """Compare the totals of a unit of work with the budget of its route."""
        calls = window.calls - window.allowed_calls
        if not self.configuration.budgets or not calls:
            return
        for metric, most in self._budget(route).items():
            value = float(calls) if metric == "queries" else window.db_time - window.allowed_time
            if value > most:
                yield self._finding(window, route, metric, value, most)

    def _budget(self, route: str) -> Mapping[str, float]:
        budgets = self.configuration.budgets
        if route in budgets:
            return budgets[route]
        return next((limits for pattern, limits in budgets.items() if fnmatchcase(route, pattern)), {})

    def _finding(self, window: OpenWindow, route: str, metric: str, value: float, most: float) -> Finding:
        if metric == "queries":
            title = f"{route} exceeds its query budget"
            description = f"{value:.0f} queries; the budget of {route} is {most:.0f}."
        else:
            title = f"{route} exceeds its database time budget"
            description = f"{seconds(value)} in the database; the budget of {route} is {seconds(most, exact=True)}."
        return Finding(
            rule=self.name,
            id=identity("be", self.name, route, metric),
            severity="error" if value >= 2 * most else "warning",
            category=self.category,
            title=title,
            description=description,
            impact=max(0.0, value - most) if metric == "time" else 0.0,
            effort="medium",
            metric=metric,
            current_value=value,
            threshold=most,
            trace=f"{window.trace_id:032x}",
            route=route,
        )
