"""The root span of operations that run outside any span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from dbsight import recording, scope, semconv
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, SpanProcessor
    from opentelemetry.sdk.trace import Tracer as SDKTracer

    from dbsight.span.attributes import Attributes

_UNSET = Status(StatusCode.UNSET)
_OUR_SCOPE = InstrumentationScope(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)


class SyntheticRoot:
    """Made by the first operation of a thread or task that runs outside any span, for all that follow.

    Attributes:
        context: Its span context.
        parent: The remote parent, when the work was called from another process without a local span.
        origin: The span pipeline that it is handed to, when its window is over.
        resource: Of the provider.
        start_ns: ns since the epoch.
        recording: Whether a span is made of it.
        current: Context in which its children are sampled.
        closed: Its window was closed; the next operation makes a new one.
        window: Its open window, None if windows are not recorded.
    """

    __slots__ = ("closed", "context", "current", "origin", "parent", "recording", "resource", "start_ns", "window")

    def __init__(
        self, context: SpanContext, parent: SpanContext | None, origin: SpanProcessor, resource: Resource, start_ns: int
    ) -> None:
        self.context = context
        self.parent = parent
        self.origin = origin
        self.resource = resource
        self.start_ns = start_ns
        self.recording = True
        self.current = set_span_in_context(NonRecordingSpan(context), get_current())
        self.closed = False
        self.window: Any = None

    @classmethod
    def make(cls, tracer: SDKTracer, parent: SpanContext | None, start_ns: int) -> SyntheticRoot:
        """Generate ids and ask the sampler, once for all operations below it."""
        trace_id = parent.trace_id if parent is not None else tracer.id_generator.generate_trace_id()
        sampling = tracer.sampler.should_sample(get_current(), trace_id, semconv.WINDOW_SPAN, SpanKind.INTERNAL, {}, ())
        context = SpanContext(
            trace_id,
            tracer.id_generator.generate_span_id(),
            is_remote=False,
            trace_flags=_SAMPLED if sampling.decision is Decision.RECORD_AND_SAMPLE else _UNSAMPLED,
            trace_state=sampling.trace_state,
        )
        root = cls(context, parent, tracer.span_processor, tracer.resource, start_ns)
        root.recording = sampling.decision is not Decision.DROP
        return root

    def enter(self) -> SyntheticRoot:
        """Make it the root of what follows in this thread or task, and open its window."""
        scope.root.set(self)
        recording.open_root(self)
        return self

    def serves(self, origin: object, parent: SpanContext | None) -> bool:
        """Whether an operation of this span pipeline, below this remote parent if any, belongs to it."""
        return (
            not self.closed and self.origin is origin and (parent is None or self.context.trace_id == parent.trace_id)
        )

    def emit(self, end_ns: int, attributes: Attributes, events: Sequence[Event]) -> None:
        """Hand the INTERNAL span that roots the operations to the processors."""
        if self.recording:
            self.origin.on_end(
                ReadableSpan(
                    name=semconv.WINDOW_SPAN,
                    context=self.context,
                    parent=self.parent,
                    resource=self.resource,
                    attributes=attributes,
                    events=events,
                    kind=SpanKind.INTERNAL,
                    instrumentation_scope=_OUR_SCOPE,
                    status=_UNSET,
                    start_time=self.start_ns,
                    end_time=end_ns,
                )
            )
