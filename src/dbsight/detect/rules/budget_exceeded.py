"""Units of work that exceed the budget of their route."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from dbsight.detect.rule import WindowRule
from dbsight.formatting import seconds
from dbsight.model import BudgetEvent, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbsight.detect.window import Window
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
        /api/*``. An exact route takes precedence over patterns. A function has its own budget with
        ``@dbsight.budget(max_queries=5, max_time="200ms")``. Suppressed queries are not counted.
    """

    name: ClassVar[str] = "budget_exceeded"
    category: ClassVar[Category] = "workload"
    of_events: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = ("budgets",)

    def conclude(self, window: OpenWindow, route: str) -> Iterable[Finding]:
        """Compare the totals of a unit of work with the budget of its route."""
        calls = window.calls - window.allowed_calls
        if not self.configuration.budgets or not calls:
            return
        for metric, most in self._budget(route).items():
            value = float(calls) if metric == "queries" else window.db_time - window.allowed_time
            if value > most:
                yield self._finding(route, metric, value, most, trace=f"{window.trace_id:032x}", route=route)

    def complete(self, window: Window) -> Iterable[Finding]:
        """Report the functions of the application that exceeded the budgets which it gave them."""
        for event in window.events:
            if isinstance(event, BudgetEvent):
                yield self._finding(event.name, event.metric, event.value, event.most, call_site=event.call_site)

    def _budget(self, route: str) -> Mapping[str, float]:
        budgets = self.configuration.budgets
        if route in budgets:
            return budgets[route]
        return next((limits for pattern, limits in budgets.items() if fnmatchcase(route, pattern)), {})

    def _finding(self, name: str, metric: str, value: float, most: float, **about: Any) -> Finding:
        if metric == "queries":
            title = f"{name} exceeds its query budget"
            description = f"{value:.0f} queries; the budget of {name} is {most:.0f}."
        else:
            title = f"{name} exceeds its database time budget"
            description = f"{seconds(value)} in the database; the budget of {name} is {seconds(most, exact=True)}."
        return self.finding(
            ("be", name, metric),
            severity="error" if value >= 2 * most else "warning",
            title=title,
            description=description,
            impact=max(0.0, value - most) if metric == "time" else 0.0,
            effort="medium",
            metric=metric,
            current_value=value,
            threshold=most,
            **about,
        )
