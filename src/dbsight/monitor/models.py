"""Totals of ORM classes over the life of the process."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from dbsight import semconv
from dbsight.model import ModelTotals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Operation, OrmEvent

_MAX_MODELS = 500


class Models:
    """Totals by class; threads may call everything at any time."""

    def __init__(self) -> None:
        self._lock = RLock()  # a finaliser that runs a query while this thread is inside must not hang
        self._totals: dict[str, ModelTotals] = {}

    def take(self, event: OrmEvent) -> None:
        """Count objects."""
        with self._lock:
            totals = self._of(event.model)
            name = f"{event.operation}s"
            setattr(totals, name, getattr(totals, name) + event.count)

    def took(self, model: str, operations: Sequence[Operation]) -> None:
        """Count the time of statements of one kind that the ORM sent for a class."""
        seconds = sum([operation.duration for operation in operations])
        with self._lock:
            totals = self._of(model)
            if operations[0].statement.kind == "select":
                totals.reads += len(operations)
                totals.read_time += seconds
            else:
                totals.writes += len(operations)
                totals.write_time += seconds

    def _of(self, model: str) -> ModelTotals:
        if model not in self._totals and len(self._totals) >= _MAX_MODELS:
            model = semconv.OTHER
        return self._totals.setdefault(model, ModelTotals(model))

    def totals(self) -> Sequence[ModelTotals]:
        """A copy, most time first."""
        with self._lock:
            copied = [totals.copy() for totals in self._totals.values()]
        return sorted(copied, key=lambda totals: (-totals.read_time - totals.write_time, totals.model))

    def reset(self) -> None:
        """Forget everything, the lock included: in a forked child it may belong to a thread that is not there."""
        self._lock = RLock()
        self._totals = {}
