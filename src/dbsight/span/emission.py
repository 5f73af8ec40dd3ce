"""One span of one operation that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    SpanKind,
)
from opentelemetry.trace.status import Status, StatusCode

from dbsight.model import TextAttributes
from dbsight.span.attributes import (
    FETCH_TIME_SHOWN,
    changing_attributes,
    error_status,
    exception_event,
    finding_event,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import Event, Tracer
    from opentelemetry.trace import Span

    from dbsight.model import Operation, Verdict
    from dbsight.span.factory import PendingSpan
    from dbsight.span.template import SpanTemplate


_UNSET = Status(StatusCode.UNSET)


class _QuerySpan(ReadableSpan):
    """A span as ``ReadableSpan`` makes it, for a third of the price: what nearly all have stands on the class."""

    _kind = SpanKind.CLIENT
    _links = ()
    _status = _UNSET
    context: Any = None  # not a property: every processor asks for it twice

    def __init__(
        self,
        name: str,
        sdk: Tracer,
        operation: Operation,
        attributes: Mapping[str, Any],
        events: Sequence[Event],
        status: Status | None,
    ) -> None:
        self._name = name
        self._context = self.context = operation.context
        self._parent = operation.parent
        self._resource = sdk.resource
        self._attributes = attributes
        self._events = events
        self._instrumentation_info = sdk.instrumentation_info
        self._instrumentation_scope = sdk._instrumentation_scope
        self._start_time = operation.start_ns
        self._end_time = operation.end_ns
        if status is not None:
            self._status = status


def _query_span(
    name: str,
    sdk: Tracer,
    operation: Operation,
    attributes: Mapping[str, Any],
    events: Sequence[Event],
    status: Status | None,
) -> ReadableSpan:
    """The same by its constructor, for an SDK that keeps other things."""
    return ReadableSpan(
        name=name,
        context=operation.context,
        parent=operation.parent,
        resource=sdk.resource,
        attributes=attributes,
        events=events,
        kind=SpanKind.CLIENT,
        instrumentation_info=sdk.instrumentation_info,
        instrumentation_scope=sdk._instrumentation_scope,
        status=status or _UNSET,
        start_time=operation.start_ns,
        end_time=operation.end_ns,
    )


_KEPT = frozenset(
    (
        *("_name", "_context", "_parent", "_resource", "_attributes", "_events", "_links", "_kind", "_status"),
        *("_instrumentation_info", "_instrumentation_scope", "_start_time", "_end_time"),
    )
)
"""What a span of opentelemetry-sdk 1.42 to 1.45 keeps."""

_make = _QuerySpan if vars(ReadableSpan("")).keys() == _KEPT else _query_span


def emit(pending: PendingSpan, operation: Operation, verdict: Verdict | None, template: SpanTemplate) -> None:
    """Build the span of an operation that is over, and hand it to the processors.

    Args:
        pending: What ``SpanFactory`` decided about it.
        operation: What happened; its ``context`` and its ``parent`` are those of the span.
        verdict: What must stand on it beyond that.
        template: That of its statement and database.
    """
    if pending.span is not None:
        _end_ordinary(pending.span, pending.extra, operation, verdict)
    elif pending.tracer is not None:
        span = _built(pending, pending.tracer, operation, verdict, template)
        for receiver in pending.factory.receivers(pending.tracer):
            receiver.on_end(span)


def _built(
    pending: PendingSpan, sdk: Tracer, operation: Operation, verdict: Verdict | None, template: SpanTemplate
) -> ReadableSpan:
    events: Sequence[Event] = ()
    status: Status | None = None
    attributes: Mapping[str, Any]
    if operation.error_type is not None:
        status = error_status(operation)
        events = (exception_event(operation),)
    if (
        pending.extra
        or verdict is not None
        or status is not None
        or operation.pool_wait > 0  # these hardly any other has
        or operation.fetch_time >= FETCH_TIME_SHOWN
    ):
        known = template.known(operation.statement)
        attributes = {**known, **pending.extra, **changing_attributes(operation, verdict)}
        if verdict is not None and verdict.events:
            events = (*events, *(finding_event(found, operation.end_ns) for found in verdict.events))
    else:
        shared = template.shared(operation)
        text = operation.statement.text
        attributes = TextAttributes(shared, text) if shared.texts and text else shared
    return _make(template.name, sdk, operation, attributes, events, status)


def _end_ordinary(span: Span, extra: Mapping[str, Any], operation: Operation, verdict: Verdict | None) -> None:
    span.set_attributes({**extra, **changing_attributes(operation, verdict)})
    if operation.error_type is not None:
        event = exception_event(operation)
        span.add_event(event.name, event.attributes, event.timestamp)
        span.set_status(error_status(operation))
    if verdict is not None:
        for found in verdict.events:
            event = finding_event(found, operation.end_ns)
            span.add_event(event.name, event.attributes, event.timestamp)
    span.end(operation.end_ns)
