"""Metrics of the classes of an ORM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight import semconv
from dbsight.report.capped import Capped
from dbsight.report.preaggregation import AccumulatedCounter, histogram

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from dbsight.model import Operation, OrmEvent
    from dbsight.report.preaggregation import Series


class ModelMetrics:
    """``dbsight.orm.operations`` and ``dbsight.orm.duration``.

    Attributes:
        accumulated: Instruments that have to be flushed before a collection.
    """

    def __init__(self, meter: Meter) -> None:
        self._objects = AccumulatedCounter(
            meter.create_counter(
                semconv.METRIC_ORM_OPERATIONS,
                unit="{object}",
                description="Objects that the ORM loaded, inserted, updated or deleted, by class.",
            )
        )
        self._durations = histogram(
            meter,
            semconv.METRIC_ORM_DURATION,
            "s",
            "Duration of the statements that the ORM sent for a class.",
            semconv.DURATION_BUCKETS,
        )
        self.accumulated = (self._objects, self._durations)
        self._capped = Capped()

    def objects(self, event: OrmEvent) -> None:
        """Count objects."""
        attributes = {semconv.ORM_MODEL: self._capped(event.model), semconv.ORM_OPERATION: event.operation}
        self._objects.bind(attributes).add(event.count)

    def duration_of(self, operation: Operation) -> Series:
        """The series of the statements for a class, read or write."""
        kind = "read" if operation.statement.kind == "select" else "write"
        model = self._capped(operation.model or semconv.OTHER)
        return self._durations.bind({semconv.ORM_MODEL: model, semconv.ORM_OPERATION: kind})
