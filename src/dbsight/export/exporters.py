"""What becomes of telemetry while nobody listens: spans wait, metrics and logs are skipped."""

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
    """What the wrappers of all three signals have in common; what they do not know they ask the exporter inside.

    Attributes:
        way: The way to where the exporter sends.
        failing: Whether the last export failed.
    """

    def __init__(self, inner: Any, way: Way, outlet: Outlet) -> None:
        self._inner = inner
        self.way = way
        self._outlet = outlet
        self.failing = False
        self._parents: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # a copy that is not made yet: no endless recursion
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
        """Send what waited. Only spans wait."""

    @guard
    def forked(self) -> None:
        """Start anew in a forked child, over connections of its own: the parent goes on with those that there are.

        Private names of OpenTelemetry's HTTP exporters: ``_session`` up to 1.44, ``_client._transport._session`` in
        1.45. Where neither is found, a child shares its parent's connections. gRPC sees to its channels by itself.
        """
        self.failing = False
        sender = getattr(getattr(self._inner, "_client", None), "_transport", self._inner)
        adapters = getattr(getattr(sender, "_session", None), "adapters", {})
        # Kept, for to close them takes locks that another thread of the parent may have held.
        self._parents = tuple(adapters.values())
        for prefix, adapter in tuple(adapters.items()):
            adapters[prefix] = copy(adapter)

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Send what waited, if anybody listens, and flush the exporter inside."""
        if not self.way.open:
            return True
        self.deliver()
        return bool(self._inner.force_flush(timeout_millis))

    # The SDK passes what is left of its own timeout where it finds this argument's name; its metric reader another.
    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Shut down the exporter inside, which also ends an export that is still trying."""
        self._outlet.forget(self)
        self._inner.shutdown()


class WaitingSpanExporter(Wrapped, SpanExporter):
    """Spans wait in order while the way is shut; beyond the capacity the oldest are dropped and counted.

    One thread sends at a time, as the SDK promises to exporters, but no lock is held while it does: what comes
    meanwhile waits too, and the sender takes it along.
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
        """Send, or let wait; waiting is success."""
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
        """Send what waited, unless somebody does."""
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
                # Nothing left and the end of the turn are one step: what comes afterwards finds nobody sending.
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

    # The next four are called with the condition held.

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
        """Start anew in a forked child: what waited is the parent's to send."""
        super().forked()
        self._turn = threading.Condition()
        self._waiting.clear()
        self._sending = False

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Let the sender finish, give up what still waits, and shut down the exporter inside."""
        if self._waiting and not self._outlet.closed and self.way.look():
            self.deliver()
        with self._turn:
            patience = min(timeout_millis / 1000, self._outlet.patience(self._outlet.SPANS))
            self._turn.wait_for(lambda: not self._sending, patience)
            self._ended = True
            self._waiting.clear()
        super().shutdown()


class SkippingMetricExporter(Wrapped, MetricExporter):
    """Metrics are skipped while the way is shut; cumulative ones lose nothing by it."""

    def __init__(self, inner: MetricExporter, way: Way, outlet: Outlet) -> None:
        # Readers ask an exporter for these two; there are no public names for them (SDK 1.42 to 1.45).
        MetricExporter.__init__(
            self,
            preferred_temporality=getattr(inner, "_preferred_temporality", None),
            preferred_aggregation=getattr(inner, "_preferred_aggregation", None),
        )
        Wrapped.__init__(self, inner, way, outlet)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Send or skip; skipping is success."""
        if self._shut():
            return MetricExportResult.SUCCESS
        result: MetricExportResult = self._hand_over(metrics_data, timeout_millis=timeout_millis, **kwargs)
        return result


class SkippingLogExporter(Wrapped, LogRecordExporter):
    """Log records are skipped while the way is shut."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Send or skip; skipping is success."""
        if self._shut():
            return LogRecordExportResult.SUCCESS
        result: LogRecordExportResult = self._hand_over(batch)
        return result
