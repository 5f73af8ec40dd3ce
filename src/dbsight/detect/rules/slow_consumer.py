"""Rows of a stream that the application takes its time over, while the query stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.rule import WindowRule
from dbsight.formatting import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation

_PART: Final = 0.5
"""Share of the time from the first row to the last that the application took, from which it is the cause."""


class SlowConsumer(WindowRule):
    """The application takes its time between the rows of a stream, which keeps its transaction open.

        [ GET /export ------------------------------------------- ]
          [ SELECT lines · send · fetch · send · fetch · send · … ]   0.2 s in the database, 40 s open

    Anti-pattern:
        for line in session.scalars(select(Line).execution_options(yield_per=100)):
            upload(line)  # a call over the network

    Best practice:
        last = 0
        while lines := session.scalars(select(Line).where(Line.id > last).order_by(Line.id).limit(1000)).all():
            session.commit()
            upload_all(lines)
            last = lines[-1].id

    Severity:
        error: Six times ``long_transaction_threshold`` (``long_transaction_error_factor``).
        warning: The application spent ``long_transaction_threshold`` (5 s) or more between its rows.

    Not reported:
        Time that the database takes for the rows (``slow_query``), results that were fetched at once, and suppressed
        queries. A transaction that only such a stream keeps open is no ``long_transaction`` beside it.
    """

    name: ClassVar[str] = "slow_consumer"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("long_transaction_threshold", "long_transaction_error_factor")

    def concerns(self, shape: Shape) -> bool:
        """Streams."""
        return shape.streamed

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at streams that were open for long."""
        limit = self.configuration.long_transaction_threshold
        for operation in window.operations:
            if operation.streamed and between_rows(operation) >= limit and not is_allowed(self.name, operation):
                yield self._finding(operation, limit, window)

    def _finding(self, operation: Operation, limit: float, window: Window) -> Finding:
        idle = between_rows(operation)
        rows = f"{count(operation.rows)} rows" if operation.rows is not None else "its rows"
        return self.finding_in(
            window,
            operation,
            ("sc", operation.statement.fingerprint, operation.call_site),
            severity="error" if idle >= self.configuration.long_transaction_error_factor * limit else "warning",
            title=f"Rows of {operation.statement.summary} are consumed slowly",
            description=f"The application spent {seconds(idle)} between {rows} of a stream, which took the database"
            f" {seconds(operation.duration)}; its connection and its transaction stayed open"
            f"{where(operation.call_site)}.",
            suggestion=".where(key > last_seen).order_by(key).limit(1000)  # by page: commit, then work on it",
            effort="medium",
            impact=0.0,
            metric="duration",
            current_value=idle,
            threshold=limit,
        )


def between_rows(operation: Operation) -> float:
    """What the application took between the rows of a stream, s; 0 where most of the time was the database's."""
    whole = (operation.end_ns - operation.start_ns) / 1e9
    idle = whole - operation.duration
    return idle if operation.streamed and idle >= _PART * whole else 0.0
