"""``@dbsight.budget(max_queries=5)``: what a function may cost, in production as in tests."""

from __future__ import annotations

from copy import copy
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbsight import analyzer, recording, scope
from dbsight.config import parsers
from dbsight.model import BudgetEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from dbsight.model import Operation

_F = TypeVar("_F", bound="Callable[..., Any]")

_MOST: Final = 1_000_000


class budget(scope.Block):  # noqa: N801 - reads as a statement: @budget(max_queries=5)
    """Report a block or function that sends more queries, or spends more time in the database, than it may.

    A context manager and a decorator, for sync and async code; what threads do that the block starts counts, too. A
    block that exceeds its budget is the finding ``budget_exceeded`` of the request in which it ran. Nothing is raised.
    Without dbsight's processor it does nothing.

    Args:
        max_queries: Most queries and commands; pings, connection set-up and statements of transactions do not count.
        max_time: Most time in the database, s, or text with a unit: ``200ms``.
        name: Of the block in the finding; by default the name of the decorated function, else ``block``.

    Raises:
        ValueError: Neither limit was given, or one is not a number above zero.

    Example:
        >>> @budget(max_queries=5, max_time="200ms")
        ... def list_orders():
        ...     return []
    """

    def __init__(self, *, max_queries: int | None = None, max_time: float | str | None = None, name: str = "") -> None:
        if max_queries is None and max_time is None:
            raise ValueError("budget() needs max_queries= or max_time=")
        if max_queries is not None and not 0 < max_queries <= _MOST:
            raise ValueError(f"max_queries is a number above zero, not {max_queries}")
        self.name = name
        self._max_queries = max_queries
        self._max_time = None if max_time is None else float(parsers.positive_duration.read(max_time))
        self._queries = 0
        self._seconds = 0.0
        self._latest: Operation | None = None
        self._watching = False

    def _again(self) -> Self:
        return copy(self)

    def __call__(self, function: _F) -> _F:
        """Decorate a function or a coroutine function: each call has the budget."""
        named = copy(self)
        named.name = self.name or getattr(function, "__qualname__", "")
        return super(budget, named).__call__(function)

    def __enter__(self) -> Self:
        self._queries, self._seconds, self._latest = 0, 0.0, None
        self._watching = analyzer.engine() is not None
        if self._watching:
            scope.profile(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        engine = analyzer.engine()
        if not self._watching or engine is None:
            return
        engine.collect()  # the last queries are still in the queue
        scope.stop_profiling(self)
        self._report()

    def add(self, operation: Operation, _: Mapping[str, Any] | None = None) -> None:
        """Take in one query; called in the drain."""
        if not operation.statement.is_work or operation.allowed & {"budget_exceeded", "all"}:
            return
        self._queries += 1
        self._seconds += operation.duration
        self._latest = operation

    def _report(self) -> None:
        latest = self._latest
        if latest is None:
            return
        for metric, value, most in (
            ("queries", float(self._queries), self._max_queries),
            ("time", self._seconds, self._max_time),
        ):
            if most is not None and value > most:
                recording.record(
                    BudgetEvent(
                        self.name or "block",
                        metric,  # type: ignore[arg-type]
                        value,
                        float(most),
                        time_ns(),
                        latest.call_site,
                        latest.parent,
                        latest.origin,
                    )
                )
