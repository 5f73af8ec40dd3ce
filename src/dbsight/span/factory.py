"""Where a span belongs, noted in place; and which of the two paths it takes to the processors, decided in the drain."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current_span,
    propagation,
)

from dbsight import recording, scope, semconv
from dbsight.recording import consumers
from dbsight.safety import failed
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace import Tracer as SDKTracer
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.trace.span import TraceState

    from dbsight.span.pending import PendingQuery
    from dbsight.span.sdk_tracer import Wrapping
    from dbsight.span.synthetic_root import SyntheticRoot

    Begin = Callable[[PendingQuery], tuple["PendingSpan", SpanContext | None]]

_make = tuple.__new__
_NOTHING: Mapping[str, Any] = {}
_IS_SAMPLED = int(TraceFlags.SAMPLED)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
_RANDOM = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)  # since API 1.40

_api = vars(trace)
_GLOBAL: Final = "_TRACER_PROVIDER"
"""Private name of the API's global provider, None until one is set; without it, ``get_tracer_provider`` is asked."""
_get_tracer_provider = trace.get_tracer_provider

_SPAN_KEY = getattr(propagation, "_SPAN_KEY", "")
_spans: frozenset[type] = frozenset((NonRecordingSpan,))
"""What is in a context nearly always; of other classes, ``get_current_span`` is asked."""


class PendingSpan:
    """What is decided about the span of an operation that is over, before it is built.

    Attributes:
        factory: Whose.
        tracer: The SDK's tracer on the fast path, else None.
        span: The live span on the ordinary path, else None.
        span_class: Of its span on the fast path.
        extra: Attributes of the sampler, or of this operation alone.
        origin: Identity of the span pipeline: the tracer's multi-processor.
    """

    __slots__ = ("extra", "factory", "origin", "span", "span_class", "tracer")

    def __init__(self, factory: SpanFactory, origin: object | None, tracer: SDKTracer | None = None) -> None:
        self.factory = factory
        self.origin = origin
        self.tracer = tracer
        self.span_class = factory.span_class
        self.span: Span | None = None
        self.extra: Mapping[str, Any] = _NOTHING

    def hand_over(self, spans: Sequence[ReadableSpan]) -> None:
        """Hand spans of this tracer to its processors. Never raises."""
        if self.tracer is not None:
            self.factory.sdk_path.hand_over(spans, self.factory.receivers(self.tracer))


class SpanFactory:
    """Makes the spans of one provider, or of whichever provider is the global one, and hands them to its processors.

    Args:
        provider: The provider; None follows the global one, also when it is set or replaced later.
        scope_name: Instrumentation scope.

    Attributes:
        sdk_path: The module ``sdk_tracer``, which is imported with the first tracer; None until then.
    """

    sdk_path: Any = None

    def __init__(self, provider: TracerProvider | None = None, scope_name: str = semconv.SCOPE) -> None:
        self._fixed = provider
        self._scope_name = scope_name
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self._sdk: SDKTracer | None = None  # the same tracer, when it is the SDK's and healthy
        self.span_class: type[ReadableSpan] | None = None  # of its spans
        self._limited = False
        self._processors: tuple[SpanProcessor, ...] | None = None
        self._wrapping: Wrapping | None = None
        self._wrapped: tuple[SpanProcessor, ...] = ()
        self._fast = False
        self._batched = False
        self._sampler: Sampler | None = None
        self._follows_parent = False
        self._asked = False
        self._lock = threading.Lock()

    def tracer(self) -> Tracer:
        """The tracer in force: fetched again when the global provider changed, never a proxy that went stale."""
        provider = self._fixed or trace.get_tracer_provider()
        if provider is not self._provider:
            self._follow(provider)
        assert self._tracer is not None
        return self._tracer

    def _latest(self) -> Tracer:
        """The tracer that was in force when the latest query began: what is pending belongs to its provider."""
        return self._sdk if self._sdk is not None else self.tracer()

    def _follow(self, provider: TracerProvider) -> None:
        """Make spans of this provider from now on; what is pending belongs to the one before."""
        if self._sdk is not None:
            recording.drain()
        self._fetch(provider)

    def _fetch(self, provider: TracerProvider) -> None:
        global _spans
        from dbsight.span import sdk_tracer  # it imports the SDK

        self.sdk_path, _spans = sdk_tracer, sdk_tracer.SPANS
        with self._lock:
            tracer = provider.get_tracer(self._scope_name, __version__, schema_url=semconv.SCHEMA_URL)
            sdk = tracer if type(tracer) is sdk_tracer.SDKTracer else None
            if sdk is not None:
                try:
                    limits = sdk._span_limits
                    self._limited = (
                        limits.max_span_attribute_length is not None
                        or (limits.max_span_attributes or 128) < 64
                        or sdk_tracer.measures_itself(sdk)
                    )
                    sdk._is_enabled()
                except AttributeError:
                    failed("span.factory")
                    sdk = None
            self._tracer = tracer
            self._sdk = sdk
            self.span_class = sdk_tracer.span_class(sdk) if sdk is not None else None
            self._processors = None
            self._wrapping = None
            self._sampler = None
            self._provider = provider

    def live(self) -> bool:
        """Whether spans that are made here can go anywhere."""
        provider = self._fixed
        if provider is None:
            known = self._asked and trace.get_tracer_provider is _get_tracer_provider  # tests replace it
            provider = _api[_GLOBAL] if known else self._ask()
        return provider is not None and not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider))

    def _ask(self) -> TracerProvider:
        """The global provider, which is made here if the environment names one.

        While there is none, each call reads the environment, which takes longer than all else that is asked before a
        query: it need not be read again.
        """
        provider = trace.get_tracer_provider()
        self._asked = _GLOBAL in _api
        return provider

    def idle(self) -> bool:
        """Whether nothing would become of a query that begins now: asked before a record of it is made."""
        return not recording.listening() and not self.live()

    # -- Processors ---------------------------------------------------------------------------------------------

    def _is_fast(self, sdk: SDKTracer) -> bool:
        """Whether all processors can do without the start of a query span."""
        processors = getattr(sdk.span_processor, "_span_processors", None)
        wrapping = self._wrapping
        if processors is not self._processors or (wrapping is not None and wrapping.processors is not self._wrapped):
            self._look_at(processors)
        return self._fast and sdk._is_enabled()

    def _look_at(self, processors: tuple[SpanProcessor, ...] | None) -> None:
        ours = [each for each in processors or () if isinstance(each, self.sdk_path.Wrapping)]
        wrapped = [inner for each in ours for inner in each.processors]
        self._processors = processors
        self._wrapping = ours[0] if ours else None
        self._wrapped = ours[0].processors if ours else ()
        self._fast = (
            processors is not None
            and not self._limited
            and len(ours) <= 1  # of several made by hand, only the first is looked at again
            and all(map(self.sdk_path.is_benign, (*processors, *wrapped)))
        )
        self._batched = (
            self._fast and self._wrapping is not None and len(self._processors or ()) == 1 and self._wrapping.batches()
        )

    def receivers(self, sdk: SDKTracer) -> Sequence[SpanProcessor]:
        """The processors of a query span: those in ours, for ours has nothing to do with spans of our own."""
        wrapping = self._wrapping
        if wrapping is not None and len(self._processors or ()) == 1:
            return wrapping.processors
        return (sdk.span_processor,)

    # -- In place -----------------------------------------------------------------------------------------------

    def locate(self, record: PendingQuery) -> bool:
        """Note on a record where its span belongs: parent, context, and the queue that takes it when it is over.

        Returns:
            Whether it is watched at all; False while instrumentation is suppressed, and where it could go nowhere.
        """
        if scope.profiling:
            record.profiles = scope.profiles()
        current = scope.current_context()
        window = scope.window.get()
        if window is not None:
            place = window.place
            # In the same context as the latest, everything is as it was then.
            if place is not None and place[0] is current and place[1] is self:
                record.current = current
                record.parent = place[2]
                record.queue = window
                return True
        return self._locate(record, current, window)

    def _locate(self, record: PendingQuery, current: Context, window: Any) -> bool:
        if current and (current.get(_SUPPRESS_INSTRUMENTATION_KEY) or current.get("suppress_instrumentation")):
            return False
        live = self.live()
        if not live and not recording.listening():
            return False
        if live or self._sdk is not None:
            provider = self._fixed or trace.get_tracer_provider()
            if provider is not self._provider:
                self._follow(provider)
        record.current = current
        # ``get_current_span`` asks an abstract class, for half of what reading a command costs.
        span: Any = current.get(_SPAN_KEY)
        if type(span) not in _spans:
            span = get_current_span(current)
        parent: SpanContext | None = span.get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        sdk = self._sdk
        if sdk is not None and consumers.awake and (parent is None or parent.is_remote):  # else nobody would end it
            root = self._synthetic_root(sdk, parent, record.start_ns)
            record.current = root.current
            parent, window = root.context, root.window
        record.parent = parent
        if sdk is None and not live:
            record.queue = recording.loose  # there will be no span, and those who listen take records in batches
            return True
        if sdk is None or parent is None or not self._is_deferrable(sdk):
            return True
        if window is not None and window.trace_id == parent.trace_id and not window.sealed:
            record.queue = window
            if record.current is current:
                window.place = (current, self, parent)
        else:
            record.queue = recording.loose
        return True

    def _is_deferrable(self, sdk: SDKTracer) -> bool:
        """Whether a span may as well be made a little later: all processors export in batches."""
        return recording.listening() and self._is_fast(sdk) and self._batched

    def _synthetic_root(self, sdk: SDKTracer, parent: SpanContext | None, start_ns: int) -> SyntheticRoot:
        root: SyntheticRoot | None = scope.root.get()
        if root is None or not root.serves(sdk.span_processor, parent):
            made: SyntheticRoot = self.sdk_path.SyntheticRoot.make(sdk, parent, start_ns)
            root = made.enter()
        return root

    # -- In the drain -------------------------------------------------------------------------------------------

    def spans_below(self, parent: SpanContext | None) -> Begin:
        """What decides about the spans of records below one parent: called with each, once it is over.

        It gives a ``PendingSpan``, which records may share, and the context of the span; None where no span is made.
        """
        sdk = self._sdk
        if sdk is None and not self.live():
            nothing = PendingSpan(self, None)
            return lambda _: (nothing, None)
        tracer = self._latest()
        sdk = self._sdk
        if sdk is None or parent is None or not self._is_fast(sdk):
            return functools.partial(self._begin_ordinary, tracer)
        if sdk.sampler is not self._sampler:
            self._sampler = sdk.sampler
            self._follows_parent = self.sdk_path.follows_parent(sdk.sampler)
        if not self._follows_parent:
            return functools.partial(self._begin_sampled, sdk)
        # What the sampler would answer, without asking: a quarter of what a query span costs.
        trace_id, _, _, of_parent, trace_state, _ = parent
        if not of_parent & _IS_SAMPLED:
            dropped = PendingSpan(self, sdk.span_processor)
            return lambda _: (dropped, None)
        pending = PendingSpan(self, sdk.span_processor, sdk)
        flags = _child_flags(_SAMPLED, of_parent)
        span_id = sdk.id_generator.generate_span_id
        known = DEFAULT_TRACE_STATE if trace_state is None else trace_state
        # Of ids that are known to be valid, a tuple is made without another look at them.
        return lambda _: (pending, _make(SpanContext, (trace_id, span_id(), False, flags, known, True)))

    def _begin_sampled(self, sdk: SDKTracer, record: PendingQuery) -> tuple[PendingSpan, SpanContext | None]:
        """Ask the sampler, as for any span."""
        parent = record.parent
        assert parent is not None
        pending = PendingSpan(self, sdk.span_processor)
        template = record.template
        known = template.known(record.statement)
        sampling = sdk.sampler.should_sample(record.current, parent.trace_id, template.name, SpanKind.CLIENT, known, ())
        decisions = self.sdk_path.Decision
        if sampling.decision is decisions.DROP:
            return pending, None
        flags = _SAMPLED if sampling.decision is decisions.RECORD_AND_SAMPLE else _UNSAMPLED
        if sampling.attributes and len(sampling.attributes) != len(known):
            pending.extra = {key: value for key, value in sampling.attributes.items() if key not in known}
        pending.tracer = sdk
        flags = _child_flags(flags, parent.trace_flags)
        return pending, _child(sdk, parent.trace_id, flags, sampling.trace_state)

    def _begin_ordinary(self, tracer: Tracer, record: PendingQuery) -> tuple[PendingSpan, SpanContext | None]:
        """Start a span through the SDK's ordinary path, for processors with ``on_start``."""
        pending = PendingSpan(self, getattr(tracer, "span_processor", None))
        template = record.template
        known = template.known(record.statement)
        span = tracer.start_span(template.name, record.current, SpanKind.CLIENT, known, start_time=record.start_ns)
        if not span.is_recording():
            return pending, None
        pending.span = span
        return pending, span.get_span_context()

    def no_span(self) -> PendingSpan:
        """For a query of which another instrumentation makes the span."""
        return PendingSpan(self, getattr(self._latest(), "span_processor", None))


def _child_flags(flags: TraceFlags, of_parent: TraceFlags) -> TraceFlags:
    """The flags of a new span: what was decided about it, and whether its trace id is random."""
    return TraceFlags(flags | _RANDOM) if of_parent & _RANDOM else flags


def _child(sdk: SDKTracer, trace_id: int, flags: TraceFlags, trace_state: TraceState | None) -> SpanContext:
    """The context of a new span below a parent."""
    span_id = sdk.id_generator.generate_span_id()
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=trace_state)
