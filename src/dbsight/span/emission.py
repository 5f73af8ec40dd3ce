"""One span of one operation that is over, and how spans that were drained together reach the processors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.version import __version__ as sdk_release
from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import Status, StatusCode

from dbsight.model import TextAttributes
from dbsight.safety import failed
from dbsight.span.attributes import (
    PART_SHOWN,
    changing_attributes,
    error_status,
    span_events,
)

try:
    from opentelemetry.sdk._shared_internal import BatchProcessor
except ImportError:  # another SDK: spans are handed over one by one
    BatchProcessor = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import SpanProcessor, Tracer
    from opentelemetry.trace import Span

    from dbsight.model import Operation, Verdict
    from dbsight.span.factory import PendingSpan
    from dbsight.span.template import SpanTemplate


_UNSET = Status(StatusCode.UNSET)
_FLAGS = 3
"""Where the trace flags stand in a ``SpanContext``, which is a tuple: to ask for the property costs a call."""
_IS_VERIFIED = sdk_release.startswith(("1.42.", "1.43.", "1.44.", "1.45."))
"""Whether the queue of this SDK's ``BatchProcessor`` is the one that was looked at."""


class _QuerySpan(ReadableSpan):
    """A span as ``ReadableSpan`` makes it, for a fifth of the price: what nearly all have stands on the class."""

    _kind = SpanKind.CLIENT
    _status = _UNSET
    _events = ()
    _links = ()


_KEPT = frozenset(
    (
        *("_name", "_context", "_parent", "_resource", "_attributes", "_events", "_links", "_kind", "_status"),
        *("_instrumentation_info", "_instrumentation_scope", "_start_time", "_end_time"),
    )
)
"""What a span of opentelemetry-sdk 1.42 to 1.45 keeps."""

_IS_KNOWN = vars(ReadableSpan("")).keys() == _KEPT
_new = object.__new__


def span_class(sdk: Tracer) -> type[ReadableSpan] | None:
    """The class of the spans of one tracer, which have its resource and scope in common; None for an unknown SDK."""
    if not _IS_KNOWN:
        return None
    common = {
        "_resource": sdk.resource,
        "_instrumentation_info": sdk.instrumentation_info,
        "_instrumentation_scope": sdk._instrumentation_scope,
    }
    return type(_QuerySpan.__name__, (_QuerySpan,), {"__module__": __name__, "__doc__": _QuerySpan.__doc__, **common})


def emit(
    pending: PendingSpan, operation: Operation, verdict: Verdict | None, template: SpanTemplate
) -> ReadableSpan | None:
    """Build the span of an operation that is over, or end it on the ordinary path.

    Args:
        pending: What ``SpanFactory`` decided about it.
        operation: What happened; its ``context`` and its ``parent`` are those of the span.
        verdict: What must stand on it beyond that.
        template: That of its statement and database.

    Returns:
        The span, to be handed to the processors by ``hand_over``; None where none is made, or it has ended.
    """
    sdk = pending.tracer
    if sdk is None:
        if pending.span is not None:
            _end_ordinary(pending.span, pending.extra, operation, verdict)
        return None
    made = pending.span_class
    if (
        made is None
        or verdict is not None
        or pending.extra
        or operation.error_type is not None
        or operation.pool_wait > 0  # these hardly any other has
        or operation.connect_time >= PART_SHOWN
        or operation.fetch_time >= PART_SHOWN
    ):
        return _constructed(pending, sdk, operation, verdict, template)
    shared = template.shared(operation)
    text = operation.statement.text
    span: Any = _new(made)
    span._name = template.name
    span._context = operation.context
    span._parent = operation.parent
    span._attributes = TextAttributes(shared, text) if shared.texts and text else shared
    span._start_time = operation.start_ns
    span._end_time = operation.end_ns
    return span  # type: ignore[no-any-return]


def _constructed(
    pending: PendingSpan, sdk: Tracer, operation: Operation, verdict: Verdict | None, template: SpanTemplate
) -> ReadableSpan:
    """The same by the SDK's constructor, for one that has more, and for an SDK that keeps other things."""
    known = template.known(operation.statement)
    return ReadableSpan(
        name=template.name,
        context=operation.context,
        parent=operation.parent,
        resource=sdk.resource,
        attributes={**known, **pending.extra, **changing_attributes(operation, verdict)},
        events=span_events(operation, verdict),
        kind=SpanKind.CLIENT,
        instrumentation_info=sdk.instrumentation_info,
        instrumentation_scope=sdk._instrumentation_scope,
        status=error_status(operation) if operation.error_type is not None else _UNSET,
        start_time=operation.start_ns,
        end_time=operation.end_ns,
    )


def hand_over(spans: Sequence[ReadableSpan], receivers: Sequence[SpanProcessor]) -> None:
    """Hand spans to processors, in their order. Never raises."""
    for receiver in receivers:
        try:
            if not _put_all(receiver, spans):
                for span in spans:
                    receiver.on_end(span)
        except Exception:  # noqa: PERF203 - the others get them all the same
            failed("span.hand_over")


def _put_all(receiver: SpanProcessor, spans: Sequence[ReadableSpan]) -> bool:
    """Put spans into the queue of the SDK's own batch processor, as its ``on_end`` would one by one.

    Returns:
        Whether it was done: not with another processor, nor where ``on_end`` would do anything else than that, as for
        a queue that is full, or in a forked child.
    """
    batch: Any = getattr(receiver, "_batch_processor", None)
    if type(batch) is not BatchProcessor or type(receiver).on_end is not BatchSpanProcessor.on_end or not _IS_VERIFIED:
        return False
    queue = batch._queue
    if batch._shutdown or batch._pid != os.getpid() or len(queue) + len(spans) > batch._max_queue_size:
        return False
    queue.extendleft([span for span in spans if span._context[_FLAGS] & 1])  # type: ignore[index, operator]
    if len(queue) >= batch._max_export_batch_size and not batch._worker_awaken.is_set():
        batch._worker_awaken.set()
    return True


def _end_ordinary(span: Span, extra: Mapping[str, Any], operation: Operation, verdict: Verdict | None) -> None:
    span.set_attributes({**extra, **changing_attributes(operation, verdict)})
    for event in span_events(operation, verdict):
        span.add_event(event.name, event.attributes, event.timestamp)
    if operation.error_type is not None:
        span.set_status(error_status(operation))
    span.end(operation.end_ns)
