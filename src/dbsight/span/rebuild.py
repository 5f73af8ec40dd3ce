"""Spans that ended, with more on them or less: roots with their findings, foreign database spans without values.

The SDK freezes a span before any hook can write, so what is added is written into a rebuilt ``ReadableSpan``. Private
names of the SDK that are used here, known to be right for opentelemetry-sdk 1.42 to 1.45: ``ReadableSpan._attributes``
(and their ``._dict``), ``._events`` and ``._links`` (their dropped counts have no public constructor), ``._name``,
``._status``, ``._parent`` and ``._context`` of spans that were made here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanContext
from opentelemetry.trace.status import Status

from dbsight import semconv
from dbsight.span.attributes import changing_attributes, code_attributes, finding_event, verdict_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import Event

    from dbsight.config import Settings
    from dbsight.model import Operation, Verdict

_PARAMETER_NAMES = (semconv.DB_QUERY_PARAMETER, semconv.DB_OPERATION_PARAMETER, "db.statement.parameters")


def rebuilt(
    span: ReadableSpan,
    added: Mapping[str, Any],
    events: Sequence[Event] = (),
    *,
    removed: Sequence[str] = (),
) -> ReadableSpan:
    """The same span with more on it.

    Everything else is kept: dropped counts, links, status, scope, resource. Events are added beyond the event limit,
    never pushing out the application's.

    Args:
        span: An ended span.
        added: Attributes to set.
        events: Events to add.
        removed: Names of attributes to leave out.
    """
    limits = span._attributes
    # To ask one after the other takes as long as all the rest; a class that shows others than it has is asked.
    held = getattr(limits, "_dict", None) if type(span).attributes is ReadableSpan.attributes else None
    kept = dict(held if held is not None else span.attributes or {})
    for name in removed:
        kept.pop(name, None)
    attributes: Mapping[str, Any] = {**kept, **added}
    length = getattr(limits, "max_value_len", None)
    if length is not None or span.dropped_attributes:  # else there is nothing to be cut, or to be told
        bounded = BoundedAttributes(None, attributes, immutable=True, max_value_len=length)
        bounded.dropped = span.dropped_attributes
        attributes = bounded
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=_events((*span._events, *events), span.dropped_events),
        links=span._links,
        kind=span.kind,
        instrumentation_info=span._instrumentation_info,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _events(events: tuple[Event, ...], dropped: int) -> Sequence[Event]:
    if not dropped:
        return events
    bounded = BoundedList.from_seq(None, events)
    bounded.dropped = dropped
    return bounded


def below(span: ReadableSpan, parent: SpanContext) -> ReadableSpan:
    """A root span as a child of another one, in that one's trace."""
    assert span.context is not None
    moved = rebuilt(span, {})
    moved._parent = parent
    moved._context = SpanContext(
        parent.trace_id,
        span.context.span_id,
        is_remote=False,
        trace_flags=span.context.trace_flags,
        trace_state=span.context.trace_state,
    )
    return moved


def enriched(
    span: ReadableSpan,
    operation: Operation,
    verdict: Verdict | None,
    settings: Settings,
    watched: Mapping[str, Any] | None = None,
) -> ReadableSpan:
    """A foreign database span with what we know of it, and without the values that it should not tell.

    Args:
        span: As it ended.
        operation: What we know.
        verdict: What the analysers said.
        settings: Of the analyser.
        watched: Attributes that a span of our own would have had, where our own instrumentation saw the query too.
    """
    present = span.attributes or {}
    added: dict[str, Any] = {semconv.QUERY_FINGERPRINT: operation.statement.fingerprint}
    if watched is not None:
        known = {**watched, **changing_attributes(operation, None)}
        if semconv.DB_STATEMENT in present:
            known.pop(semconv.DB_QUERY_TEXT, None)  # the same text once is enough
        added.update((name, value) for name, value in known.items() if name not in present)
    if operation.statement.summary and semconv.DB_QUERY_SUMMARY not in present:
        added[semconv.DB_QUERY_SUMMARY] = operation.statement.summary
    if operation.call_site is not None and semconv.CODE_FILE_PATH not in present:
        added.update(code_attributes(operation.call_site))
    level = settings.slowlog_level(operation.database.system, operation.duration)
    if level is not None:
        added[semconv.QUERY_SLOWLOG_LEVEL] = level
    removed: tuple[str, ...] = ()
    text = operation.statement.text
    shown = text if settings.query_text == "sanitized" else text.partition(" ")[0]
    if settings.query_text != "raw":
        removed = tuple(
            name
            for name in (semconv.DB_OPERATION, semconv.DB_OPERATION_NAME)
            if _shows_more(str(present.get(name, "")), present, shown)
        )
    if settings.query_text == "sanitized":
        for name in (semconv.DB_QUERY_TEXT, semconv.DB_STATEMENT):
            if name in present:
                added[name] = operation.statement.text
    elif settings.query_text == "off":
        removed = (*removed, semconv.DB_QUERY_TEXT, semconv.DB_STATEMENT)
    if settings.parameters != "full":
        removed = (*removed, *_values_among(present))
        added.update(_address_without_ids(present))
    events: tuple[Event, ...] = ()
    if verdict is not None:
        added.update(verdict_attributes(verdict))
        events = tuple(finding_event(found, operation.end_ns) for found in verdict.events)
    made = rebuilt(span, added, events, removed=removed)
    if settings.query_text != "raw":
        _hide_messages(made, operation.error_type, operation.error_code)
        if _shows_more(span.name, present, shown):
            made._name = operation.statement.summary or operation.statement.system
    return made


def without_values(span: ReadableSpan, error_type: str | None, settings: Settings) -> ReadableSpan:
    """A foreign database span that says no text, such as a ``connect``, without values and messages.

    Args:
        span: As it ended.
        error_type: The class of what it failed with.
        settings: Of the analyser.
    """
    parameters = _values_among(span.attributes or {})
    removed = parameters if settings.parameters != "full" else []
    hides = settings.query_text != "raw" and (span.status.description or span.events)
    if not (removed or hides):
        return span
    made = rebuilt(span, {}, removed=removed)
    if hides:
        _hide_messages(made, error_type)
    return made


def _values_among(present: Mapping[str, Any]) -> list[str]:
    """Names of the attributes that hold values of a call."""
    return [name for name in present if name.startswith(_PARAMETER_NAMES) and name != semconv.DB_OPERATION_INDEX]


def _address_without_ids(present: Mapping[str, Any]) -> dict[str, str]:
    """The address of a call of Elasticsearch without ids of documents: its index and the names of endpoints stay."""
    if semconv.DB_OPERATION_NAME not in present or semconv.URL_FULL not in present:
        return {}
    parts = urlsplit(str(present[semconv.URL_FULL]))
    index = str(present.get(semconv.DB_OPERATION_INDEX) or "")
    kept = [each if each in {"", index} or each.startswith("_") else "?" for each in parts.path.split("/")]
    address = (parts.scheme, parts.netloc.rpartition("@")[2], "/".join(kept), "", "")
    return {semconv.URL_FULL: urlunsplit(address)}


def _shows_more(name: str, present: Mapping[str, Any], shown: str) -> bool:
    """Whether a name shows more of a text than we do: some are the text up to its first blank, as ``SELECT'x'``."""
    text = str(present.get(semconv.DB_QUERY_TEXT) or present.get(semconv.DB_STATEMENT) or "")
    return name in text and name not in shown


def _hide_messages(span: ReadableSpan, error_type: str | None, error_code: str | None = None) -> None:
    """Drivers quote values in their messages: a foreign span keeps class, code and place of its errors alone."""
    if span.status.description:
        raised = [event.attributes.get(semconv.EXCEPTION_TYPE) for event in span._events if event.attributes]
        code = f" ({error_code})" if error_code else ""
        span._status = Status(span.status.status_code, f"{error_type or next(filter(None, raised), '_OTHER')}{code}")
    if any(event.name == semconv.EXCEPTION_EVENT for event in span._events):
        span._events = _events(
            tuple(
                _without_message(event) if event.name == semconv.EXCEPTION_EVENT else event for event in span._events
            ),
            span.dropped_events,
        )


def _without_message(event: Event) -> Event:
    from opentelemetry.sdk.trace import Event

    kept = {
        name: value
        for name, value in (event.attributes or {}).items()
        if name not in (semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE)
    }
    return Event(event.name, kept, event.timestamp)
