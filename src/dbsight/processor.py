"""The span processor: it opens and closes windows, lets foreign database spans in, and hands enriched roots on.

Private names of the SDK that are used here, known to be right for opentelemetry-sdk 1.42 to 1.45:
``TracerProvider._active_span_processor``, ``SynchronousMultiSpanProcessor._span_processors`` and ``._lock``,
``SpanProcessor._on_ending``.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext

from dbsight import engines, recording, scope, semconv
from dbsight.analyzer import Analyzer
from dbsight.export.encoding import install_encoder
from dbsight.instrument import external_spans, upstream_spans
from dbsight.report.events import root_attributes, root_events
from dbsight.safety import failed, guard
from dbsight.span import SyntheticRoot, Wrapping
from dbsight.span.awaited import AwaitedSpan
from dbsight.span.rebuild import below, enriched, rebuilt, without_values
from dbsight.span.window_sampler import ROOT_KINDS, WindowSampler

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

    from dbsight.config import Settings
    from dbsight.recording import OpenWindow, Queue

_HANDED = "_dbsight_handed"
_CLAIM = "_dbsight_claim"
_MAX_UNSAMPLED = 10_000
_NOT_SEEN = object()


class DbsightSpanProcessor(Wrapping):
    """Judges database work and hands spans, enriched where there is something to say, to the wrapped processors.

    Args:
        processors: They get every span that they would have got, database spans and local roots with what was found.
        meter_provider: For metrics of operations and findings; None follows the global one.
        logger_provider: For findings as log events; None follows the global one.
        settings: None takes those of the process.

    Example:
        >>> provider.add_span_processor(DbsightSpanProcessor(BatchSpanProcessor(exporter)))
    """

    def __init__(
        self,
        *processors: SpanProcessor,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.processors = processors
        for processor in processors:
            install_encoder(getattr(processor, "span_exporter", None))
        self.analyzer = (
            engines.shared(meter_provider, logger_provider)
            if settings is None
            else Analyzer(settings, meter_provider, logger_provider)
        )
        self.analyzer.subscribe()
        self._subscribed = True
        self._origin: SpanProcessor | None = None  # the multi-processor that calls us, once it did
        self._add_lock = threading.Lock()
        # Traces whose root was dropped by the sampler and is recorded for our sake alone.
        self.unsampled: dict[int, None] = {}

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Hand spans to one more processor."""
        install_encoder(getattr(span_processor, "span_exporter", None))
        with self._add_lock:
            self.processors = (*self.processors, span_processor)

    # -- SpanProcessor ------------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Open the window of a local root, and pass the span on."""
        exported = True
        try:
            exported = self._started(span)
        except Exception:
            failed("processor.on_start")
        if exported:
            for processor in self.processors:
                processor.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        if self.unsampled and self._is_ours_alone(span):
            return
        for processor in self.processors:
            processor._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Judge a window whose root this is, read a foreign database span, and pass the span on."""
        handed: ReadableSpan | None = span
        scope_ = span.instrumentation_scope
        if scope_ is None or scope_.name != semconv.SCOPE:
            try:
                context = span.context
                if self._is_claimed(span, context):
                    return
                # Several processors of ours get the same object: what one made of it holds for all.
                made: Any = getattr(span, _HANDED, _NOT_SEEN)
                if made is _NOT_SEEN:
                    made = self._ended(span, context)
                    if made is not span:  # one that refers to itself is freed by nothing but the garbage collector
                        setattr(span, _HANDED, made)
                if isinstance(made, AwaitedSpan):
                    self._await(span, made)
                    return
                handed = made
            except Exception:
                failed("processor.on_end")
        if handed is not None:
            for processor in self.processors:
                processor.on_end(handed)

    def _hand_on(self, span: ReadableSpan) -> None:
        for processor in self.processors:
            processor.on_end(span)

    def shutdown(self) -> None:
        """Close the windows that are left and shut the wrapped processors down."""
        if self._subscribed:
            self._subscribed = False
            self._drain()
            self._unsubscribe()
        for processor in self.processors:
            processor.shutdown()

    def force_flush(self, timeout_millis: int | None = 30_000) -> bool:
        """Flush the wrapped processors, one after the other; whether all of them could."""
        self._drain()
        flushed = True
        for processor in self.processors:
            flushed = processor.force_flush(30_000 if timeout_millis is None else timeout_millis) and flushed
        return flushed

    @guard
    def _drain(self) -> None:
        self.analyzer.judge_ended()

    @guard
    def _unsubscribe(self) -> None:
        self.analyzer.unsubscribe()

    # -- Starts -------------------------------------------------------------------------------------------------

    def _started(self, span: Span) -> bool:
        """Take note of a span.

        Returns:
            Whether the wrapped processors get it.
        """
        parent = span.parent
        context = span.context
        kind = span.kind
        if parent is not None and not parent.is_remote and kind not in ROOT_KINDS:
            self.analyzer.windows.adopt(context.span_id, parent)
            return True
        origin = getattr(span, "_span_processor", None)
        if origin is not None and origin is not self._origin:
            self._origin = origin
            self.analyzer.add_origin(origin)
        exported = not (self.unsampled and self._is_ours_alone(span))
        request = kind in ROOT_KINDS
        window = self.analyzer.windows.open(
            span.name, context, span.start_time or 0, request=request, exported=exported
        )
        window.live = span
        scope.window.set(window)
        if request:
            # What runs outside spans around this request is no unit of work with what ran before the one before it.
            scope.root.set(None)
        return exported

    def _is_ours_alone(self, span: ReadableSpan) -> bool:
        context = span.context
        return context is not None and not context.trace_flags.sampled and context.trace_id in self.unsampled

    def remember_unsampled(self, trace_id: int) -> None:
        """The sampler dropped this local root; it is recorded for our sake alone."""
        if len(self.unsampled) >= _MAX_UNSAMPLED:
            self.unsampled.pop(next(iter(self.unsampled)), None)
        self.unsampled[trace_id] = None

    # -- Ends ---------------------------------------------------------------------------------------------------

    def _await(self, span: ReadableSpan, awaited: AwaitedSpan) -> None:
        """Take a span once it is settled, which is now where one of our processors waits for it."""
        awaited.hand_to(span, self._hand_on)
        if isinstance(awaited, external_spans.ExternalSpan):
            queue: Queue = recording.loose
            if awaited.operation.parent is not None:
                queue = self.analyzer.windows.known(awaited.operation.parent, awaited.operation.start_ns) or queue
            awaited.leave(queue)
            if not self.batches():
                queue.drain()
        elif not self.batches():
            self.analyzer.ended.work()

    def _is_claimed(self, span: ReadableSpan, context: SpanContext | None) -> bool:
        """Whether our own instrumentation saw the query as well: then the span goes on once that is over."""
        claim: upstream_spans.Claim | None = getattr(span, _CLAIM, None)
        if claim is None:
            claim = upstream_spans.of(context.span_id) if context is not None else None
            if claim is None:
                return False
            setattr(span, _CLAIM, claim)
            window = self.analyzer.windows.of_root(context.span_id) if context is not None else None
            if window is not None:
                self.analyzer.windows.discard(window)
        claim.ended(span, self._hand_on_claimed)
        return True

    def _hand_on_claimed(self, claim: upstream_spans.Claim, span: ReadableSpan) -> None:
        operation = claim.operation
        assert operation is not None
        if claim.made is None:
            made = below(span, operation.parent) if claim.moved and operation.parent else span
            claim.made = enriched(made, operation, claim.verdict, self.analyzer.settings, claim.attributes)
        for processor in self.processors:
            processor.on_end(claim.made)

    def _ended(self, span: ReadableSpan, context: SpanContext | None) -> ReadableSpan | AwaitedSpan:
        if context is None:
            return span
        window = self.analyzer.windows.of_root(context.span_id)
        if external_spans.is_database_span(span):
            if window is not None:
                # A database span is never a window of its own.
                self.analyzer.windows.discard(window)
            return self._foreign(span)
        if window is None:
            return span
        return self._root(span, context, window)

    def _root(self, span: ReadableSpan, context: SpanContext, window: OpenWindow) -> AwaitedSpan:
        recording.root_ending(context)
        if scope.window.get() is window:
            scope.window.set(None)
        window.name = span.name
        if not window.exported:
            self.unsampled.pop(window.trace_id, None)
        root = AwaitedSpan(span)
        self.analyzer.end(window, partial(self._judge, root, window), later=self.batches())
        return root

    def _judge(self, root: AwaitedSpan, window: OpenWindow) -> None:
        """Judge a window whose root has ended, and hand the root on."""
        span = root.span
        made: ReadableSpan | None = span
        try:
            end_ns = span.end_time or 0
            summary = self.analyzer.close(window, end_ns, _route(span))
            if not window.exported:
                made = None
            elif summary is not None and (summary.calls or summary.findings):
                findings = window.findings.values() if self.analyzer.settings.findings != "log" else ()
                made = rebuilt(span, root_attributes(summary), root_events(findings, end_ns))
        except Exception:
            failed("processor.judge")
            self.analyzer.windows.discard(window)
        root.settle(made)

    def _foreign(self, span: ReadableSpan) -> ReadableSpan | external_spans.ExternalSpan:
        operation = external_spans.read_span(span)
        if operation is None:
            return without_values(span, external_spans.error_type(span), self.analyzer.settings)
        if scope.connecting.get():  # an application's connect listener, or the dialect's own: setup, not a query
            return enriched(span, operation, None, self.analyzer.settings)
        if span.parent is None:
            span = self._below_a_root(span)
            operation.context, operation.parent = span.context, span.parent
        if external_spans.is_further_fetch(operation):
            return enriched(span, operation, None, self.analyzer.settings)
        return external_spans.ExternalSpan(span, operation, self.analyzer.settings)

    def _below_a_root(self, span: ReadableSpan) -> ReadableSpan:
        """A parentless external span as a child of the synthetic root of its thread or task."""
        assert span.context is not None
        root: SyntheticRoot | None = scope.root.get()
        origin = self._origin or self
        if root is None or not root.serves(origin, None):
            context = SpanContext(
                span.context.trace_id,
                RandomIdGenerator().generate_span_id(),
                is_remote=False,
                trace_flags=span.context.trace_flags,
                trace_state=span.context.trace_state,
            )
            root = SyntheticRoot(context, None, origin, span.resource, span.start_time or 0).enter()
        if root.context.trace_flags.sampled is not span.context.trace_flags.sampled:
            return span  # each was sampled by itself: neither drags the other along
        return below(span, root.context)


def _route(span: ReadableSpan) -> str:
    """Name of a unit of work for people: the route with its method, else the span's name."""
    attributes = span.attributes or {}
    route = attributes.get(semconv.HTTP_ROUTE)
    method = attributes.get("http.request.method") or attributes.get("http.method")
    return f"{method} {route}" if route and method else span.name


def attach(provider: object) -> DbsightSpanProcessor | None:
    """Put a processor of ours around those of a provider, and wrap its sampler. Doing it twice is harmless.

    Args:
        provider: A tracer provider, possibly a proxy.

    Returns:
        The processor; None where it cannot be put in place: not the SDK's provider, or an SDK that changed.
    """
    from opentelemetry.sdk.trace import TracerProvider

    if not isinstance(provider, TracerProvider):
        provider = getattr(provider, "provider", None)  # logfire's stands before the SDK's
        if not isinstance(provider, TracerProvider):
            return None
    try:
        multi = provider._active_span_processor
        with multi._lock:
            old = multi._span_processors
            for present in old:
                if isinstance(present, DbsightSpanProcessor):
                    return present
            processor = DbsightSpanProcessor(*old)
            multi._span_processors = (processor,)
            # Exporters that are added later belong inside ours: they get each span once, enriched.
            multi.add_span_processor = processor.add_span_processor  # type: ignore[method-assign]
        processor.analyzer.add_origin(multi)
        if not isinstance(provider.sampler, WindowSampler):
            provider.sampler = WindowSampler(provider.sampler, processor.remember_unsampled)
    except AttributeError:
        failed("processor.attach")
        return None
    return processor
