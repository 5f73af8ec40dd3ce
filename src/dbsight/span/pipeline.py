"""Where spans go: which processors they are handed to, which of the two paths they take, and the roots that we draw."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import opentelemetry.sdk.trace
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Tracer as SDKTracer
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current_span,
    propagation,
    set_span_in_context,
)
from opentelemetry.trace.status import Status, StatusCode

from dbsight import scope, semconv
from dbsight.safety import failed
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.trace.span import TraceState

    from dbsight.span.attributes import Attributes


_UNSET = Status(StatusCode.UNSET)
_OUR_SCOPE = InstrumentationScope(semconv.SCOPE, __version__, semconv.SCHEMA_URL)
_NOTHING: Mapping[str, Any] = {}
_IS_SAMPLED = int(TraceFlags.SAMPLED)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
_RANDOM = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)  # since API 1.40

_SPAN_KEY = getattr(propagation, "_SPAN_KEY", "")
_SPANS = frozenset((NonRecordingSpan, getattr(opentelemetry.sdk.trace, "_Span", NonRecordingSpan)))
"""What is in a context nearly always; private names, without which ``get_current_span`` is asked."""

_HARMLESS = (SpanProcessor, BatchSpanProcessor, SimpleSpanProcessor)
"""Processors that do nothing when a span starts, nor as it is ending."""


class Wrapping(SpanProcessor):
    """A processor of ours around others: what it does at the start of a span does not concern query spans.

    Attributes:
        processors: The wrapped ones; replaced whole when one is added.
    """

    processors: tuple[SpanProcessor, ...] = ()


class DrawnRoot:
    """The root of operations that run outside any span: drawn by the first of them in a thread or task.

    Attributes:
        context: Its span context.
        parent: The remote parent, when the work was called from another process without a local span.
        origin: The span pipeline that it is handed to, when its window is over.
        resource: Of the provider.
        start_ns: ns since the epoch.
        recording: Whether a span is made of it.
        current: Context in which its children are sampled.
        closed: Its window was closed; the next operation draws a new one.
        window: The analyser's window for it.
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
    def draw(cls, tracer: SDKTracer, parent: SpanContext | None, start_ns: int) -> DrawnRoot:
        """Draw ids and ask the sampler, once for all operations below it."""
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


class Started:
    """What is noted before a driver call.

    Attributes:
        pipeline: Where its span will go.
        tracer: The SDK's tracer on the fast path, else None.
        context: Context of the span to be, None when it is not made, or is started later.
        parent: Context of its parent, None when there is none.
        span: The live span on the ordinary path, else None.
        extra: Attributes that the sampler added.
        origin: Identity of the span pipeline: the tracer's multi-processor.
    """

    __slots__ = ("context", "extra", "origin", "parent", "pipeline", "span", "tracer")

    def __init__(self, pipeline: Pipeline, parent: SpanContext | None) -> None:
        self.pipeline = pipeline
        self.parent = parent
        self.tracer: SDKTracer | None = None
        self.context: SpanContext | None = None
        self.span: Span | None = None
        self.extra: Mapping[str, Any] = _NOTHING
        self.origin: object | None = None


class Pipeline:
    """The tracer of one provider, or of whichever provider is the global one, and how spans reach its processors.

    Args:
        provider: The provider; None follows the global one, also when it is set or replaced later.
        scope_name: Instrumentation scope.
    """

    def __init__(self, provider: TracerProvider | None = None, scope_name: str = semconv.SCOPE) -> None:
        self._fixed = provider
        self._scope_name = scope_name
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self._sdk: SDKTracer | None = None  # the same tracer, when it is the SDK's and healthy
        self._limited = False
        self._processors: tuple[SpanProcessor, ...] | None = None
        self._wrapping: Wrapping | None = None
        self._wrapped: tuple[SpanProcessor, ...] = ()
        self._fast = False
        self._batched = False
        self._sampler: Sampler | None = None
        self._follows_parent = False
        self._lock = threading.Lock()

    def tracer(self) -> Tracer:
        """The tracer in force: fetched again when the global provider changed, never a proxy that went stale."""
        provider = self._fixed or trace.get_tracer_provider()
        if provider is not self._provider:
            self._fetch(provider)
        assert self._tracer is not None
        return self._tracer

    def _fetch(self, provider: TracerProvider) -> None:
        with self._lock:
            tracer = provider.get_tracer(self._scope_name, __version__, schema_url=semconv.SCHEMA_URL)
            sdk = tracer if type(tracer) is SDKTracer else None
            if sdk is not None:
                try:
                    limits = sdk._span_limits
                    self._limited = (
                        limits.max_span_attribute_length is not None
                        or (limits.max_span_attributes or 128) < 64
                        or _measures_itself(sdk)
                    )
                    sdk._is_enabled()
                except AttributeError:
                    failed("span.pipeline")
                    sdk = None
            self._tracer = tracer
            self._sdk = sdk
            self._processors = None
            self._wrapping = None
            self._sampler = None
            self._provider = provider

    def live(self) -> bool:
        """Whether spans that are made here can go anywhere."""
        provider = self._fixed or trace.get_tracer_provider()
        return not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider))

    def _is_fast(self, sdk: SDKTracer) -> bool:
        processors = getattr(sdk.span_processor, "_span_processors", None)
        wrapping = self._wrapping
        if processors is not self._processors or (wrapping is not None and wrapping.processors is not self._wrapped):
            self._look_at(processors)
        return self._fast and sdk._is_enabled()

    def _look_at(self, processors: tuple[SpanProcessor, ...] | None) -> None:
        """Decide anew whether all processors can do without the start of a query span."""
        ours = [each for each in processors or () if isinstance(each, Wrapping)]
        wrapped = [inner for each in ours for inner in each.processors]
        self._processors = processors
        self._wrapping = ours[0] if ours else None
        self._wrapped = ours[0].processors if ours else ()
        self._fast = (
            processors is not None
            and not self._limited
            and len(ours) <= 1  # of several made by hand, only the first is looked at again
            and all(map(_is_benign, (*processors, *wrapped)))
        )
        self._batched = (
            self._fast
            and self._wrapping is not None
            and len(self._processors or ()) == 1
            and all(type(each).on_end is BatchSpanProcessor.on_end for each in wrapped)
        )

    def receivers(self, sdk: SDKTracer) -> Sequence[SpanProcessor]:
        """The processors of a query span: those in ours, for ours has nothing to do with spans of our own."""
        wrapping = self._wrapping
        if wrapping is not None and len(self._processors or ()) == 1:
            return wrapping.processors
        return (sdk.span_processor,)

    def parent_of_later(self, current: Context) -> SpanContext | None:
        """The parent of a span that may as well be started when it is over.

        Nobody misses such a span before its local root ends: the sampler follows the parent, which is local, and the
        processors export in batches.

        Args:
            current: The current context.

        Returns:
            What ``start_later`` takes; None where ``start`` has to be called before the query runs.
        """
        sdk = self._sdk
        wrapping = self._wrapping
        if (
            sdk is None
            or wrapping is None
            or not self._batched
            or not self._follows_parent
            or (self._fixed or getattr(trace, "_TRACER_PROVIDER", None)) is not self._provider
            or sdk.span_processor._span_processors is not self._processors
            or wrapping.processors is not self._wrapped
            or sdk.sampler is not self._sampler
            or not sdk._is_enabled()
        ):
            return None
        span: Any = current.get(_SPAN_KEY)
        if type(span) not in _SPANS:
            return None
        parent: SpanContext | None = span.get_span_context()
        if parent is None:
            return None
        _, _, remote, _, _, valid = parent
        return parent if valid and not remote else None

    def start_later(self, parent: SpanContext) -> Started:
        """What ``start`` notes, after the queries: for a parent that ``parent_of_later`` gave before them.

        It serves all spans below that parent; their contexts come from ``contexts``.
        """
        sdk = self._sdk
        started = Started(self, parent)
        if sdk is not None:
            started.origin = sdk.span_processor
            if parent.trace_flags & _IS_SAMPLED:
                started.tracer = sdk
        return started

    @staticmethod
    def contexts(started: Started) -> Callable[[], SpanContext | None]:
        """Gives the context of one span after the other below the parent of ``started``; None where none is made."""
        sdk, parent = started.tracer, started.parent
        if sdk is None or parent is None:
            return _no_context
        trace_id, _, _, of_parent, trace_state, _ = parent
        return functools.partial(_child, sdk, trace_id, _child_flags(_SAMPLED, of_parent), trace_state)

    def start(self, name: str, attributes: Attributes, start_ns: int, current: Context) -> Started:
        """Note what the span of a query needs, before the query runs.

        Args:
            name: ``db.query.summary``.
            attributes: What is known before the call; the sampler sees it.
            start_ns: ns since the epoch.
            current: The current context.
        """
        provider = self._fixed or trace.get_tracer_provider()
        if provider is not self._provider:
            self._fetch(provider)
        sdk = self._sdk
        context: Context | None = current
        # ``get_current_span`` asks an abstract class, for half of what reading a command costs.
        span: Any = current.get(_SPAN_KEY)
        if type(span) not in _SPANS:
            span = get_current_span(current)
        parent: SpanContext | None = span.get_span_context()
        if parent is None:
            parent = INVALID_SPAN_CONTEXT
        # A tuple: to unpack it costs less than to ask for one of its properties.
        trace_state: TraceState | None
        trace_id, _, remote, trace_flags, trace_state, valid = parent
        if not valid:
            parent = None
        if sdk is not None and (parent is None or remote):
            root = self._drawn(sdk, parent, start_ns)
            context, parent = root.current, root.context
            trace_id, _, remote, trace_flags, trace_state, valid = parent
        started = Started(self, parent)
        if sdk is None or not self._is_fast(sdk):
            self._start_ordinary(started, self.tracer(), name, attributes, start_ns, context)
            return started
        started.origin = sdk.span_processor
        if sdk.sampler is not self._sampler:
            self._sampler = sdk.sampler
            self._follows_parent = _follows_parent(sdk.sampler)
        if self._follows_parent:
            # What the sampler would answer, without asking: a quarter of what a query span costs.
            if not trace_flags & _IS_SAMPLED:
                return started
            flags = _SAMPLED
        else:
            sampling = sdk.sampler.should_sample(context, trace_id, name, SpanKind.CLIENT, attributes, ())
            if sampling.decision is Decision.DROP:
                return started
            flags = _SAMPLED if sampling.decision is Decision.RECORD_AND_SAMPLE else _UNSAMPLED
            trace_state = sampling.trace_state
            if sampling.attributes and len(sampling.attributes) != len(attributes):
                started.extra = {key: value for key, value in sampling.attributes.items() if key not in attributes}
        started.tracer = sdk
        started.context = _child(sdk, trace_id, _child_flags(flags, trace_flags), trace_state)
        return started

    def place(self, name: str, attributes: Attributes, start_ns: int, current: Context) -> Started:
        """As ``start`` for a query of which another instrumentation makes the span: note where it belongs, no more."""
        tracer = self.tracer()
        parent: SpanContext | None = get_current_span(current).get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        sdk = self._sdk
        if sdk is not None and (parent is None or parent.is_remote):
            parent = self._drawn(sdk, parent, start_ns).context
        started = Started(self, parent)
        started.origin = getattr(tracer, "span_processor", None)
        return started

    def _start_ordinary(
        self,
        started: Started,
        tracer: Tracer,
        name: str,
        attributes: Attributes,
        start_ns: int,
        context: Context | None,
    ) -> None:
        span = tracer.start_span(name, context, SpanKind.CLIENT, attributes, start_time=start_ns)
        started.origin = getattr(tracer, "span_processor", None)
        if span.is_recording():
            started.span = span
            started.context = span.get_span_context()

    def _drawn(self, sdk: SDKTracer, parent: SpanContext | None, start_ns: int) -> DrawnRoot:
        root: DrawnRoot | None = scope.root.get()
        if (
            root is None
            or root.closed
            or root.origin is not sdk.span_processor
            or (parent is not None and root.context.trace_id != parent.trace_id)
        ):
            root = DrawnRoot.draw(sdk, parent, start_ns)
            scope.root.set(root)
        return root


def _child_flags(flags: TraceFlags, of_parent: TraceFlags) -> TraceFlags:
    """The flags of a new span: what was decided about it, and whether its trace id is random."""
    return TraceFlags(flags | _RANDOM) if of_parent & _RANDOM else flags


def _child(sdk: SDKTracer, trace_id: int, flags: TraceFlags, trace_state: TraceState | None) -> SpanContext:
    """The context of a new span below a parent."""
    span_id = sdk.id_generator.generate_span_id()
    if trace_state is None:
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)
    # Of ids that are known to be valid, a tuple is made without another look at them.
    return tuple.__new__(SpanContext, (trace_id, span_id, False, flags, trace_state, True))


def _no_context() -> None:
    """Of a span that is not made."""


def _follows_parent(sampler: Sampler) -> bool:
    """Whether below a local parent this sampler always decides as for the parent: parent based, as by default.

    Private names of ``ParentBased`` are read; without them, the sampler is asked every time.
    """
    sampler = getattr(sampler, "inner", sampler)  # ours around the provider's: it changes nothing below a parent
    return (
        isinstance(sampler, ParentBased)
        and type(sampler).should_sample is ParentBased.should_sample
        and getattr(sampler, "_local_parent_sampled", None) is ALWAYS_ON
        and getattr(sampler, "_local_parent_not_sampled", None) is ALWAYS_OFF
    )


def _measures_itself(sdk: SDKTracer) -> bool:
    """Whether the SDK counts the spans that it starts; it can only count those that it makes."""
    metrics = getattr(sdk, "_tracer_metrics", None)
    return metrics is not None and not type(metrics).__name__.startswith("NoOp")


def _is_benign(processor: SpanProcessor) -> bool:
    """Whether nobody misses the start of a span: the hooks are those of the base class, of Batch, Simple or ours."""
    kind = type(processor)
    return issubclass(kind, Wrapping) or (
        any(kind.on_start is known.on_start for known in _HARMLESS)
        and any(kind._on_ending is known._on_ending for known in _HARMLESS)
    )
