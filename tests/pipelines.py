"""Span pipelines on providers of their own, and what they exported."""

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from builders import make_span_context
from dbsight import span


class Starts(SpanProcessor):
    """A processor of the application that wants to see the start of every span."""

    def on_start(self, span, parent_context=None):
        """Any; what counts is that it is there."""


class Pipelines:
    """Providers, pipelines and what they exported.

    Attributes:
        exporter: Of the provider made last.
        provider: The same.
        pipeline: On that provider.
    """

    def __init__(self):
        self.made = []

    def make(self, *processors, **options):
        """A pipeline on a new provider with an exporter in memory, and these processors beside it."""
        self.exporter = InMemorySpanExporter()
        options.setdefault("resource", Resource({"service.name": "tests"}))
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        for processor in processors:
            self.provider.add_span_processor(processor)
        self.made.append(self.provider)
        self.pipeline = span.Pipeline(self.provider)
        return self.pipeline

    def run(self, operation, verdict=None, parent=None):
        """Start and emit one operation below a parent; what was noted and the exported spans."""
        parent = parent or NonRecordingSpan(make_span_context())
        current = set_span_in_context(parent, Context())
        prepared = span.prepare(operation.statement, operation.database)
        started = self.pipeline.start(prepared.name, prepared.known(operation.statement), operation.start_ns, current)
        operation.context, operation.parent = started.context, started.parent
        span.emit(started, operation, verdict, prepared)
        return started, self.spans()

    def spans(self):
        """What was exported since the last question."""
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return spans

    def close(self):
        """Shut all providers down."""
        for provider in self.made:
            provider.shutdown()
