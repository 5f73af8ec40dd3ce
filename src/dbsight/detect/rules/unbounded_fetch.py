"""Queries whose many rows are all kept in memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.rule import WindowRule
from dbsight.detect.suppressions import Overrides
from dbsight.formatting import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation, Severity


class UnboundedFetch(WindowRule):
    """A query without LIMIT fetches very many rows at once.

        [ GET /ledger ------------------------------------ ]
          [ SELECT order_lines ------------------------- ]   20 000 rows in memory
          [ SELECT order_lines ]                             yield_per(1000): a thousand

    Anti-pattern:
        lines = session.execute(select(OrderLine.price)).all()

    Best practice:
        for line in session.execute(select(OrderLine.price).execution_options(yield_per=1000)):
            add(line)

    Severity:
        error: Ten times ``max_rows_threshold`` (``max_rows_error_factor``) or more.
        warning: More rows than ``max_rows_threshold`` (10 000), in a request.
        info: The same in a script or a task.

    Not reported:
        Rows that are streamed (``yield_per``, ``stream_results``, server-side cursors, fetches of a few rows), queries
        with LIMIT, ``COPY``, reads of the database's own catalogue, and suppressed queries.
    """

    name: ClassVar[str] = "unbounded_fetch"
    category: ClassVar[Category] = "memory"
    settings: ClassVar[tuple[str, ...]] = ("max_rows_threshold", "max_rows_error_factor")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._most = settings.max_rows_threshold
        self._overrides = Overrides(settings)
        self._lowest = min([self._most, *self._overrides.every("max_rows_threshold")])

    def concerns(self, shape: Shape) -> bool:
        """Those with many rows."""
        return shape.rows is not None and shape.rows > self._lowest

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at the queries with most rows."""
        lowest = self._lowest
        large = [each for each in window.operations if each.rows is not None and each.rows > lowest]
        by_query: dict[tuple[str, str], list[Operation]] = {}
        for operation in large:
            if self._is_unbounded(operation, window):
                key = (operation.statement.fingerprint, str(operation.call_site))
                by_query.setdefault(key, []).append(operation)
        for operations in by_query.values():
            yield self._finding(operations, window)

    def _is_unbounded(self, operation: Operation, window: Window) -> bool:
        statement = operation.statement
        if operation.streamed or statement.kind != "select" or statement.limit is not None:
            return False
        if statement.catalogue or statement.blocking or is_allowed(self.name, operation):
            return False
        return operation.rows is not None and operation.rows > self._limit(operation, window)

    def _limit(self, operation: Operation, window: Window) -> int:
        return int(self._overrides.value("max_rows_threshold", operation.statement, window.name, self._most))

    def _finding(self, operations: list[Operation], window: Window) -> Finding:
        largest = max(operations, key=lambda each: each.rows or 0)
        rows, limit = largest.rows or 0, self._limit(largest, window)
        far_over = rows >= self.configuration.max_rows_error_factor * limit
        severity: Severity = "error" if far_over else "warning" if window.request else "info"
        statement = largest.statement
        return self.finding_in(
            window,
            largest,
            ("uf", statement.fingerprint, largest.call_site.function if largest.call_site is not None else ""),
            severity=severity,
            title=f"{statement.summary} fetches all rows at once",
            description=f"{count(rows)} rows without LIMIT were fetched into memory{where(largest.call_site)}.",
            suggestion=_suggestion(largest),
            count=len(operations),
            metric="rows",
            current_value=float(rows),
            threshold=float(limit),
            impact=0.0,
        )


def _suggestion(operation: Operation) -> str:
    if operation.django is not None:
        return "queryset.iterator(chunk_size=1000)  # or a slice: queryset[:100]"
    if operation.model is not None:
        return f"session.scalars(select({operation.model}).execution_options(yield_per=1000))  # or .limit(100)"
    return "statement.execution_options(yield_per=1000), a server-side cursor, or LIMIT"
