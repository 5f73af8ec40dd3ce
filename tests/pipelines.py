"""Span factories on providers of their own, and what they exported."""

from types import SimpleNamespace

from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from builders import make_span_context
from dbsight import span
from dbsight.model import Operation


class Starts(SpanProcessor):
    """A processor of the application that wants to see the start of every span."""

    def on_start(self, span, parent_context=None):
        """Any; what counts is that it is there."""


class Record(span.PendingQuery):
    """One whose operation is known; as its class has no slots, anything can be set."""


class Pipelines:
    """Providers, factories and what they exported.

    Attributes:
        exporter: Of the provider made last.
        provider: The same.
        factory: On that provider.
    """

    def __init__(self):
        self.made = []

    def make(self, *processors, **options):
        """A factory on a new provider with an exporter in memory, and these processors beside it."""
        self.exporter = InMemorySpanExporter()
        options.setdefault("resource", Resource({"service.name": "tests"}))
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        for processor in processors:
            self.provider.add_span_processor(processor)
        self.made.append(self.provider)
        self.factory = span.SpanFactory(self.provider)
        return self.factory

    def begin(self, operation, current):
        """A query that begins in a context: its record, None where nobody watches it."""
        record = Record()
        record.factory = self.factory
        record.statement = operation.statement
        record.database = operation.database
        record.template = span.template_of(operation.statement, operation.database)
        record.start_ns = operation.start_ns
        token = attach(current)
        try:
            return record if self.factory.locate(record) else None
        finally:
            detach(token)

    def end(self, record, operation, verdict=None):
        """The same query is over, and drained at once; what was decided about its span."""
        for name in Operation.__slots__:
            if name not in ("parent", "foreign", "cursor"):
                setattr(record, name, getattr(operation, name))
        (pending,) = span.pending.decide([record])
        made = span.emit(pending, record, verdict, record.template)
        if made is not None:
            pending.hand_over([made])
        return SimpleNamespace(
            tracer=pending.tracer,
            span=pending.span,
            extra=pending.extra,
            origin=pending.origin,
            context=record.context,
            parent=record.parent,
        )

    def run(self, operation, verdict=None, parent=None):
        """Run one operation below a parent; what was decided about its span, and the exported spans."""
        parent = parent or NonRecordingSpan(make_span_context())
        record = self.begin(operation, set_span_in_context(parent, Context()))
        return self.end(record, operation, verdict), self.spans()

    def spans(self):
        """What was exported since the last question."""
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return spans

    def close(self):
        """Shut all providers down."""
        for provider in self.made:
            provider.shutdown()
