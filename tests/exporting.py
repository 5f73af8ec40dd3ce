"""OTLP exporters without a network, and ports that listen when a test says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRPC, HTTP = 4317, 4318
PATIENT = 10.0
"""s; how long a test waits for another thread before it fails."""


class Ports:
    """The ports of this machine.

    Attributes:
        listening: Those that somebody listens on.
        looks: Those that were looked at, in order.
    """

    def __init__(self) -> None:
        self.listening: set[int] = set()
        self.looks: list[int] = []

    def __call__(self, port: int) -> bool:
        """Look at a port."""
        self.looks.append(port)
        return port in self.listening


class Sent:
    """OpenTelemetry's own exporter, but for the network.

    Args:
        answer: Called with each batch; False is a failure, and what it raises is raised.

    Attributes:
        batches: What was exported.
        suppressed: For each batch, whether instrumentation was suppressed.
        shutdowns: How often it was shut down.
    """

    results: Any

    def __init__(self, answer: Callable[[Any], object] = lambda _: True, **options: Any) -> None:
        super().__init__(**options)
        self.answer = answer
        self.batches: list[Any] = []
        self.suppressed: list[bool] = []
        self.shutdowns = 0

    def export(self, batch: Any, **_: Any) -> Any:
        """Keep the batch, and do as ``answer`` says."""
        self.batches.append(batch)
        self.suppressed.append(not is_instrumentation_enabled())
        return self.results.SUCCESS if self.answer(batch) else self.results.FAILURE

    def shutdown(self, **_: Any) -> None:
        """Count."""
        self.shutdowns += 1

    @property
    def names(self) -> list[list[str]]:
        """The names of the spans of each batch."""
        return [[span.name for span in batch] for batch in self.batches]


class SentSpans(Sent, OTLPSpanExporter):
    """For spans."""

    results = SpanExportResult


class SentMetrics(Sent, OTLPMetricExporter):
    """For metrics."""

    results = MetricExportResult


class SentLogs(Sent, OTLPLogExporter):
    """For log records."""

    results = LogRecordExportResult


def spans(*names: str) -> Sequence[ReadableSpan]:
    """Ended, sampled spans of these names."""
    context = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return [ReadableSpan(name, context, resource=Resource({})) for name in names]


def watchers() -> list[threading.Thread]:
    """The threads that look for a collector now."""
    return [thread for thread in threading.enumerate() if thread.name == "dbsight-outlet"]
