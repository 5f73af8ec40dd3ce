"""A whole OpenTelemetry SDK in memory, with dbsight put in by hand, beside the global one and untouched by it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import dbsight
from otlp.records import Received

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span


class Telemetry(Received):
    """Providers, exporters and readers of one test.

    What was exported is read as records of ``otlp.records``, encoded by the OTLP exporter's own encoder: a span that
    could not be sent cannot be read here either.

    Args:
        sampler: The provider's; samples everything by default.
        resource: Attributes of the resource besides ``service.name``.
        instrument: Whether SQLAlchemy is instrumented.
        batched: Spans are exported in batches, as in production, and at the latest when they are asked for.
        options: Further arguments of ``DbsightSpanProcessor``.

    Attributes:
        tracer_provider: With dbsight's processor as the only one.
        meter_provider: What dbsight records metrics with.
        logger_provider: What dbsight emits log events with.
        processor: dbsight's.
        exporter: Holds the SDK's own spans.
        tracer: The application's.
    """

    def __init__(
        self,
        *,
        sampler: Sampler | None = None,
        resource: dict[str, Any] | None = None,
        instrument: bool = True,
        batched: bool = False,
        **options: Any,
    ) -> None:
        about = Resource({"service.name": "tests", **(resource or {})})
        self.exporter = InMemorySpanExporter()
        self._log_exporter = InMemoryLogRecordExporter()
        self._reader = InMemoryMetricReader()
        self._metrics: list[ExportMetricsServiceRequest] = []
        self.tracer_provider = TracerProvider(sampler=sampler, resource=about, shutdown_on_exit=False)
        self.meter_provider = MeterProvider([self._reader], resource=about, shutdown_on_exit=False)
        self.logger_provider = LoggerProvider(resource=about, shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._log_exporter))
        self.processor = dbsight.DbsightSpanProcessor(
            (BatchSpanProcessor if batched else SimpleSpanProcessor)(self.exporter),
            meter_provider=self.meter_provider,
            logger_provider=self.logger_provider,
            **options,
        )
        self.tracer_provider.add_span_processor(self.processor)
        self.tracer = self.tracer_provider.get_tracer("application")
        self._instrumentor = dbsight.SQLAlchemyInstrumentor() if instrument else None
        if self._instrumentor:
            self._instrumentor.instrument(
                tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, skip_dep_check=True
            )

    def close(self) -> None:
        """Uninstrument and shut down."""
        if self._instrumentor:
            self._instrumentor.uninstrument()
        self.tracer_provider.shutdown()
        self.logger_provider.shutdown()
        self.meter_provider.shutdown()

    @contextlib.contextmanager
    def root(self, name: str = "GET /", kind: SpanKind = SpanKind.SERVER, **attributes: Any) -> Iterator[Span]:
        """One unit of work: a root span, current for the time of the block.

        Args:
            name: Its name.
            kind: A server's by default.
            attributes: With ``_`` for ``.``: ``http_route="/orders"``.
        """
        dotted = {key.replace("_", "."): value for key, value in attributes.items()}
        with self.tracer.start_as_current_span(name, kind=kind, attributes=dotted) as span:
            yield span

    def readable_spans(self) -> tuple[ReadableSpan, ...]:
        """The SDK's spans in the order in which they were exported."""
        self.tracer_provider.force_flush()
        return self.exporter.get_finished_spans()

    def trace_requests(self) -> list[ExportTraceServiceRequest]:
        """The spans as the OTLP exporter would send them, each in a request of its own to keep their order."""
        return [encode_spans([span]) for span in self.readable_spans()]

    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """Every collection so far, and a new one; sums and histograms are cumulative."""
        data = self._reader.get_metrics_data()
        if data is not None:
            self._metrics.append(encode_metrics(data))
        return list(self._metrics)

    def log_requests(self) -> list[ExportLogsServiceRequest]:
        """The log records as the OTLP exporter would send them."""
        records = self._log_exporter.get_finished_logs()
        return [encode_logs([record]) for record in records]

    def clear(self) -> None:
        """Forget the spans and log records so far; metrics are cumulative and stay."""
        self.tracer_provider.force_flush()
        self.exporter.clear()
        self._log_exporter.clear()
