"""Requests that send very many different queries."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed
from dbsight.detect.repetition import KEY_VALUE
from dbsight.detect.rule import WindowRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding

_COUNTED: Final = 5
"""Times that one query counts at most: loops are reported by the rules about them."""
_SHOWN: Final = 3


class FanOut(WindowRule):
    """A request sends very many queries that are not one loop.

        [ GET /home ------------------------------------------------ ]
          [ SELECT a ] [ SELECT b ] [ SELECT c ] [ SELECT d ] … × 100     each for something else

    Anti-pattern:
        for widget in page.widgets:
            widget.render(session)  # each with queries of its own

    Best practice:
        data = load_page(session)  # eager loads and IN lists, for all widgets together
        for widget in page.widgets:
            widget.render(data)

    Severity:
        warning: Twice ``fan_out_threshold`` or more.
        info: ``fan_out_threshold`` (100) queries or more, each counted five times at most.

    Not reported:
        Scripts and tasks, key-value stores, pings and connection setup, and suppressed queries. A budget for a route
        (``budgets``) is checked by ``budget_exceeded``.
    """

    name: ClassVar[str] = "fan_out"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = ("fan_out_threshold",)

    def complete(self, window: Window) -> Iterable[Finding]:
        """Count the queries by fingerprint, where there are enough of them."""
        limit = self.configuration.fan_out_threshold
        if not window.request or len(window.operations) < limit:
            return
        operations = [
            each
            for each in window.operations
            if each.statement.is_work and each.database.system not in KEY_VALUE and not is_allowed(self.name, each)
        ]
        counts = Counter(each.statement.fingerprint for each in operations)
        number = sum(min(times, _COUNTED) for times in counts.values())
        if number < limit:
            return
        summaries = Counter(each.statement.summary for each in operations)
        most = ", ".join(f"{summary} ({times})" for summary, times in summaries.most_common(_SHOWN))
        yield self.finding(
            ("fo", window.name),
            severity="warning" if number >= 2 * limit else "info",
            title=f"{window.name} sends very many queries",
            description=f"{len(operations)} queries, {len(counts)} of them different; most often {most}.",
            suggestion="load what the page needs together (eager loads, IN lists), and cache what rarely changes",
            effort="high",
            impact=0.0,
            count=len(operations),
            metric="count",
            current_value=float(number),
            threshold=float(limit),
            trace=f"{window.trace_id:032x}",
            route=window.name,
        )
