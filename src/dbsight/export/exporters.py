"""Exporters for endpoints without a collector: spans are queued, metrics and logs are skipped."""

from __future__ import annotations

import threading
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from dbsight.safety import dropped, guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

    from dbsight.export.endpoint import Way
    from dbsight.export.otlp import Outlet

DROPPED = "spans waiting for a collector"


class Wrapped:
    """Common base of the wrappers of all three signals; other attributes are delegated to the wrapped exporter.

    Attributes:
        way: The state of the exporter's endpoint.
        failing: Whether the last export failed.
    """

    def __init__(self, inner: Any, way: Way, outlet: Outlet) -> None:
        self._inner = inner
        self.way = way
        self._outlet = outlet
        self.failing = False
        self._parents: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # an incomplete copy: avoid endless recursion
            raise AttributeError(name)
        return getattr(self._inner, name)

    def _shut(self) -> bool:
        if self.way.open:
            return False
        self._outlet.watch()
        return True

    def _hand_over(self, batch: Any, **kwargs: Any) -> Any:
        result = self._inner.export(batch, **kwargs)
        self.failing = result.name != "SUCCESS"  # each signal has an enumeration of its own
        if self.failing and not self.way.look():
            self._outlet.watch()
        return result

    def deliver(self) -> None:
        """Export what is queued. Only spans are queued."""

    @guard
    def forked(self) -> None:
        """Reset in a forked child, with new connections: the parent keeps using the existing ones.

        Private names of OpenTelemetry's HTTP exporters: ``_session`` up to 1.44, ``_client._transport._session`` in
        1.45. If neither is found, a child shares its parent's connections. gRPC handles its channels itself.
        """
        self.failing = False
        sender = getattr(getattr(self._inner, "_client", None), "_transport", self._inner)
        adapters = getattr(getattr(sender, "_session", None), "adapters", {})
        # Not closed, because that takes locks that another thread of the parent may have held.
        self._parents = tuple(adapters.values())
        for prefix, adapter in tuple(adapters.items()):
            adapters[prefix] = copy(adapter)

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Export what is queued, if the endpoint is open, and flush the wrapped exporter."""
        if not self.way.open:
            return True
        self.deliver()
        return bool(self._inner.force_flush(timeout_millis))

    # The SDK passes its remaining timeout if this argument has this name; its metric reader uses another name.
    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Shut down the wrapped exporter, which also ends an export that is still retrying."""
        self._outlet.forget(self)
        self._inner.shutdown()


class WaitingSpanExporter(Wrapped, SpanExporter):
    """Spans are queued in order while the endpoint is shut; beyond the capacity, the oldest are dropped and counted.

    One thread exports at a time, as the SDK guarantees to exporters, but without holding a lock: spans that arrive
    meanwhile are queued, and the same thread exports them.
    """

    def __init__(self, inner: SpanExporter, way: Way, outlet: Outlet, capacity: int, batch_size: int) -> None:
        super().__init__(inner, way, outlet)
        self._capacity = capacity
        self._batch_size = batch_size
        self._waiting: deque[ReadableSpan] = deque()
        self._turn = threading.Condition()
        self._sending = False
        self._ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export or queue; queueing counts as success."""
        with self._turn:
            if self._ended:
                return SpanExportResult.FAILURE
            if self._sending or self._waiting or not self.way.open:
                self._wait(spans)
                spans = [] if self._sending else self._next()
            self._sending = self._sending or bool(spans)
        if spans:
            return self._send(spans)
        self._shut()
        return SpanExportResult.SUCCESS

    def deliver(self) -> None:
        """Export what is queued, unless another thread does."""
        with self._turn:
            spans = [] if self._sending else self._next()
            self._sending = self._sending or bool(spans)
        if spans:
            with suppress_instrumentation():  # as the batch processor does: HTTP clients may be instrumented
                self._send(spans)

    def _send(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        done = False
        try:
            while not done:
                result = self._hand_over(spans)
                # Check and reset in one step: spans that arrive afterwards find no sender.
                with self._turn:
                    if result is not SpanExportResult.SUCCESS and not self.way.open:
                        self._wait_again(spans)
                    spans = self._next()
                    done = not spans
                    if done:
                        self._end_turn()
        finally:
            if not done:  # the exporter raised
                with self._turn:
                    self._end_turn()
        return result

    # The next four methods are called with the condition held.

    def _end_turn(self) -> None:
        self._sending = False
        self._turn.notify_all()

    def _next(self) -> list[ReadableSpan]:
        if not self.way.open or self._ended:
            return []
        return [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]

    def _wait(self, spans: Sequence[ReadableSpan]) -> None:
        self._waiting.extend(spans)
        excess = len(self._waiting) - self._capacity
        if excess > 0:
            for _ in range(excess):
                self._waiting.popleft()
            dropped(DROPPED, excess)

    def _wait_again(self, spans: Sequence[ReadableSpan]) -> None:
        later = list(self._waiting)
        self._waiting.clear()
        self._wait([*spans, *later])

    def forked(self) -> None:
        """Reset in a forked child: the parent exports what was queued."""
        super().forked()
        self._turn = threading.Condition()
        self._waiting.clear()
        self._sending = False

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Let the sender finish, discard what is still queued, and shut down the wrapped exporter."""
        if self._waiting and not self._outlet.closed and self.way.look():
            self.deliver()
        with self._turn:
            patience = min(timeout_millis / 1000, self._outlet.patience(self._outlet.SPANS))
            self._turn.wait_for(lambda: not self._sending, patience)
            self._ended = True
            self._waiting.clear()
        super().shutdown()


class SkippingMetricExporter(Wrapped, MetricExporter):
    """Metrics are skipped while the endpoint is shut; cumulative ones lose no data."""

    def __init__(self, inner: MetricExporter, way: Way, outlet: Outlet) -> None:
        # Readers use these two attributes of an exporter; they have no public names (SDK 1.42 to 1.45).
        MetricExporter.__init__(
            self,
            preferred_temporality=getattr(inner, "_preferred_temporality", None),
            preferred_aggregation=getattr(inner, "_preferred_aggregation", None),
        )
        Wrapped.__init__(self, inner, way, outlet)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Export or skip; skipping counts as success."""
        if self._shut():
            return MetricExportResult.SUCCESS
        result: MetricExportResult = self._hand_over(metrics_data, timeout_millis=timeout_millis, **kwargs)
        return result


class SkippingLogExporter(Wrapped, LogRecordExporter):
    """Log records are skipped while the endpoint is shut."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export or skip; skipping counts as success."""
        if self._shut():
            return LogRecordExportResult.SUCCESS
        result: LogRecordExportResult = self._hand_over(batch)
        return result
