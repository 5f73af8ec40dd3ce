"""Several errors of one kind in a short time: deadlocks, timeouts, lost connections."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.errors import ADVICE, error_class
from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.rule import WindowRule
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation


_SHOWN: Final = 3


class ErrorBurst(WindowRule):
    """Several queries of one request fail with a deadlock, a timeout, or a lost connection.

        [ POST /orders -------------------------------- ]
          [ UPDATE stock ]✘  [ UPDATE stock ]✘  [ UPDATE stock ]✘   deadlock detected

    Anti-pattern:
        for item in basket:  # in the order in which it was filled
            session.execute(update(Stock).where(Stock.id == item.id).values(pieces=Stock.pieces - 1))

    Best practice:
        for item in sorted(basket, key=lambda item: item.id):
            session.execute(update(Stock).where(Stock.id == item.id).values(pieces=Stock.pieces - 1))

    Severity:
        error: 10 or more errors of one class (``error_burst_error_threshold``).
        warning: 3 or more (``error_burst_threshold``).

    Not reported:
        Errors that do not pass by themselves (syntax, constraints, privileges); single errors; what a library handles
        itself; and suppressed queries.
    """

    name: ClassVar[str] = "error_burst"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = ("error_burst_threshold", "error_burst_error_threshold")

    def concerns(self, shape: Shape) -> bool:
        """Failures."""
        return shape.error_type is not None

    def complete(self, window: Window) -> Iterable[Finding]:
        """Group the errors of the window by class and database."""
        failed = [each for each in window.operations if each.error_type is not None]
        if len(failed) < self.configuration.error_burst_threshold:
            return
        groups: dict[tuple[str, str], list[Operation]] = {}
        for operation in failed:
            kind = error_class(operation)
            if kind is not None and not is_allowed(self.name, operation):
                groups.setdefault((kind, operation.database.key), []).append(operation)
        for (kind, _), operations in groups.items():
            if len(operations) >= self.configuration.error_burst_threshold:
                yield self._finding(kind, operations, window)

    def _finding(self, kind: str, operations: list[Operation], window: Window) -> Finding:
        first = operations[0]
        queries = Counter(operation.statement.summary for operation in operations)
        most = ", ".join(f"{summary} ({number})" for summary, number in queries.most_common(_SHOWN))
        return self.finding_in(
            window,
            first,
            ("eb", kind, first.statement.fingerprint),
            severity="error" if len(operations) >= self.configuration.error_burst_error_threshold else "warning",
            title=f"Queries fail repeatedly with a {kind}",
            description=f"{counted(len(operations), 'query', 'queries')} failed with a {kind}: {most}"
            f"{where(first.call_site)}.",
            suggestion=ADVICE[kind],
            effort="medium",
            impact=sum(operation.duration for operation in operations),
            count=len(operations),
            metric="count",
            current_value=float(len(operations)),
            threshold=float(self.configuration.error_burst_threshold),
        )
