"""One span of one operation that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    SpanKind,
)
from opentelemetry.trace.status import Status, StatusCode

from dbsight.model import SharedAttributes, TextAttributes
from dbsight.span.attributes import (
    FETCH_TIME_SHOWN,
    base_attributes,
    changing_attributes,
    error_status,
    exception_event,
    finding_event,
    text_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import Event, Tracer
    from opentelemetry.trace import Span

    from dbsight.model import Database, Operation, Statement, Verdict
    from dbsight.span.attributes import Attributes
    from dbsight.span.pipeline import Started


_UNSET = Status(StatusCode.UNSET)
_SHARED_PER_STATEMENT = 64
_DATABASES_PER_STATEMENT = 64


class Prepared:
    """What every span of one statement on one database has in common.

    Attributes:
        name: Name of the span.
        attributes: Known before the call, but for a text that is the statement's own.
        texts: Names of attributes that hold such a text.
        shared: Complete attributes of ordinary operations, one dictionary for all that are alike; never changed.
        depth: How deep in the stack its latest place was; ``callsite.py``'s.
        moves: How often that changed.
    """

    __slots__ = ("attributes", "depth", "moves", "name", "shared", "texts")

    def __init__(self, name: str, attributes: Attributes, texts: tuple[str, ...] = ()) -> None:
        self.name = name
        self.attributes = attributes
        self.texts = texts
        self.shared: dict[Any, SharedAttributes] = {}
        self.depth = self.moves = 0

    def known(self, statement: Statement) -> Attributes:
        """What is known of the statement before the call: the sampler sees it."""
        if not self.texts or not statement.text:
            return self.attributes
        return {**self.attributes, **dict.fromkeys(self.texts, statement.text)}


def prepare(statement: Statement, database: Database) -> Prepared:
    """What the spans of this statement on this database have in common, made once."""
    prepared: Prepared | None = statement.prebuilt.get(database)
    if prepared is None:
        if len(statement.prebuilt) >= _DATABASES_PER_STATEMENT:
            statement.prebuilt.clear()
        prepared = statement.prebuilt[database] = Prepared(
            statement.summary or database.system,
            base_attributes(statement, database),
            text_names() if statement.own_text else (),
        )
    return prepared


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


def emit(started: Started, operation: Operation, verdict: Verdict | None, prepared: Prepared) -> None:
    """Make the span of an operation that is over.

    Args:
        started: What was noted before the call.
        operation: What happened; its ``context`` and its ``parent`` are those of the span.
        verdict: What the analysers said of it.
        prepared: What ``prepare`` gave for its statement and database.
    """
    if started.span is not None:
        _emit_ordinary(started.span, started.extra, operation, verdict)
    elif started.tracer is not None:
        span = _made(started, started.tracer, operation, verdict, prepared)
        for receiver in started.pipeline.receivers(started.tracer):
            receiver.on_end(span)


def _made(
    started: Started, sdk: Tracer, operation: Operation, verdict: Verdict | None, prepared: Prepared
) -> ReadableSpan:
    events: Sequence[Event] = ()
    status: Status | None = None
    attributes: Mapping[str, Any]
    if operation.error_type is not None:
        status = error_status(operation)
        events = (exception_event(operation),)
    if (
        started.extra
        or verdict is not None
        or status is not None
        or operation.pool_wait > 0  # these hardly any other has
        or operation.fetch_time >= FETCH_TIME_SHOWN
    ):
        known = prepared.known(operation.statement)
        attributes = {**known, **started.extra, **changing_attributes(operation, verdict)}
        if verdict is not None and verdict.events:
            events = (*events, *(finding_event(found, operation.end_ns) for found in verdict.events))
    else:
        shared = _shared(prepared, operation)
        text = operation.statement.text
        attributes = TextAttributes(shared, text) if shared.texts and text else shared
    return _make(prepared.name, sdk, operation, attributes, events, status)


def _emit_ordinary(span: Span, extra: Mapping[str, Any], operation: Operation, verdict: Verdict | None) -> None:
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


def _shared(prepared: Prepared, operation: Operation) -> SharedAttributes:
    key = (
        operation.call_site,
        operation.rows,
        operation.affected,
        operation.relationship,
        operation.load,
        operation.batch_size,
    )
    attributes = prepared.shared.get(key)
    if attributes is None:
        changing = changing_attributes(operation, None)
        attributes = SharedAttributes({**prepared.attributes, **changing}, prepared.texts)
        if len(prepared.shared) < _SHARED_PER_STATEMENT:
            prepared.shared[key] = attributes
    return attributes
