"""The second door: database spans that other instrumentations made, read by semantic conventions, old and new."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind

from dbsight import config, recording, scope, semconv
from dbsight.instrument import callsite, store_spans
from dbsight.model import CallSite, Database, Operation
from dbsight.safety import failed
from dbsight.span.awaited import AwaitedSpan
from dbsight.span.rebuild import enriched
from dbsight.statement import read
from dbsight.statement.parameters import hash_parameters
from dbsight.statement.redis.command import Command
from dbsight.statement.redis.text import SYSTEMS
from dbsight.statement.redis.vocabulary import KNOWN
from dbsight.statement.spelling import ELLIPSIS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from dbsight.config import Settings
    from dbsight.recording import Queue

_OLD_SYSTEMS: Final = {"mssql": "microsoft.sql_server", "oracle": "oracle.db", "other_sql": "other_sql"}
_NO_ERRORS: Final = frozenset({"CancelledError", "WatchError"})
_FETCHES: Final = frozenset(("cursor", "fetch", "fetchone", "fetchmany", "fetchall", "fetchrow"))
"""How instrumentations name the fetches of a cursor: ``CURSOR: SELECT``, ``sqlite.query.fetchall``."""
_MAX_DATABASES = 1000
_LENGTHS_OF_CUT_TEXTS: Final = frozenset(
    (1000, 1024, 2000, 2048, 4000, 4096, 5000, 8192, 10_000, 16_384, 32_768, 65_536)
)
"""Characters at which instrumentations and pipelines cut a text without a mark."""

_CONNECT: Final = "connect"

_NOT_CONNECTED: Final = (("", 0), 0.0)

_connected: ContextVar[tuple[tuple[str, int], float]] = ContextVar("dbsight_connected", default=_NOT_CONNECTED)
"""System, trace and s of connecting, until the next statement on that system in that trace."""

_MAX_EXECUTED: Final = 8

_executed: ContextVar[tuple[tuple[object, ...], ...]] = ContextVar("dbsight_executed", default=())
"""The latest statements of the thread or task, by ``Operation.execution``."""

_databases: dict[tuple[Any, ...], Database] = {}


class ExternalSpan(AwaitedSpan):
    """A database span that ended, until it goes on to the exporters; a record of the queue.

    Args:
        span: As it ended.
        operation: What was read of it.
        settings: Of the analyzer.
    """

    __slots__ = ("_recorded", "operation", "profiles", "settings")

    def __init__(self, span: ReadableSpan, operation: Operation, settings: Settings) -> None:
        super().__init__(span)
        self.operation = operation
        self.settings = settings
        self.profiles = scope.profiles() if scope.profiling else ()
        self._recorded = False

    def leave(self, queue: Queue) -> None:
        """Leave it with a queue, once: several processors may get the same span."""
        if self._recorded:
            return
        self._recorded = True
        if not queue.append(self):
            self.flush_all((self,))

    @staticmethod
    def flush_all(records: Sequence[ExternalSpan]) -> None:
        """In the drain: publish the operations, and hand the spans on with what was found. Never raises."""
        verdicts = recording.publish_all([record.operation for record in records]) or (None,) * len(records)
        for record, verdict in zip(records, verdicts, strict=True):
            made = record.span
            try:
                made = enriched(record.span, record.operation, verdict, record.settings)
            except Exception:
                failed("instrument.external_spans")
            for profile in record.profiles:
                profile.add(record.operation)
            record.settle(made)


def is_database_span(span: ReadableSpan) -> bool:
    """Whether this is the client span of a database call that another instrumentation made."""
    if span.kind is not SpanKind.CLIENT and span.kind is not SpanKind.INTERNAL:
        return False
    scope_ = span.instrumentation_scope
    if scope_ is not None and scope_.name == semconv.SCOPE:
        return False
    attributes = span.attributes or {}
    if span.kind is SpanKind.CLIENT and (semconv.DB_SYSTEM_NAME in attributes or semconv.DB_SYSTEM in attributes):
        return True
    return store_spans.is_store_span(span, attributes)


def read_span(span: ReadableSpan) -> Operation | None:
    """Read an ended database span.

    Returns:
        The operation; None for a span without a statement. The time of a ``connect`` is that of the next statement of
        the same thread or task, which had to wait for it.
    """
    attributes: Mapping[str, Any] = span.attributes or {}
    text = attributes.get(semconv.DB_QUERY_TEXT) or attributes.get(semconv.DB_STATEMENT) or _redis_text(span)
    if span.start_time is None or span.end_time is None:
        return None
    system = str(attributes.get(semconv.DB_SYSTEM_NAME) or attributes.get(semconv.DB_SYSTEM))
    system = _OLD_SYSTEMS.get(system, system)
    store = store_spans.read_store(span, system, attributes)
    if store is not None:
        return _store_operation(span, store, attributes)
    place = (system, span.context.trace_id if span.context is not None else 0)
    connected, connect_time = _connected.get()
    if connected != place:
        connect_time = 0.0
    if not text:
        if span.name.rpartition(".")[2].lower() == _CONNECT:
            _connected.set((place, connect_time + (span.end_time - span.start_time) / 1e9))
        return None
    if connect_time:
        _connected.set(_NOT_CONNECTED)
    statement = read(_marked(str(text), span), system)
    rows = attributes.get(semconv.DB_RESPONSE_RETURNED_ROWS)
    parts = statement.parts if isinstance(statement, Command) else ()
    batch = attributes.get(semconv.DB_OPERATION_BATCH_SIZE) or len(parts)
    error = error_type(span)
    code = attributes.get(semconv.DB_RESPONSE_STATUS_CODE)
    return Operation(
        statement,
        _database(system, attributes),
        span.start_time,
        (span.end_time - span.start_time) / 1e9,
        end_ns=span.end_time,
        connect_time=connect_time,
        rows=rows if isinstance(rows, int) else None,
        batch_size=batch if isinstance(batch, int) else 0,
        error_type=error,
        error_code=str(code) if code is not None else None,
        call_site=_call_site(attributes),
        context=span.context,
        parent=span.parent,
        parameters=statement.parameters if isinstance(statement, Command) else _parameters(attributes),
        thread=threading.get_ident(),
        allowed=scope.allowed(),
        foreign=True,
        cursor=span.name.partition(":")[0].rpartition(".")[2].lower() in _FETCHES,
    )


def is_further_fetch(operation: Operation) -> bool:
    """Whether this is a fetch from a cursor whose statement was seen before: it is not executed again."""
    execution, known = operation.execution, _executed.get()
    if execution in known:
        return operation.cursor
    _executed.set((execution, *known[: _MAX_EXECUTED - 1]))
    return False


def _store_operation(span: ReadableSpan, call: store_spans.StoreCall, attributes: Mapping[str, Any]) -> Operation:
    start_ns, end_ns = span.start_time or 0, span.end_time or 0
    error = error_type(span)
    code = attributes.get(semconv.DB_RESPONSE_STATUS_CODE)
    return Operation(
        call.statement,
        _database(call.system, attributes),
        start_ns,
        (end_ns - start_ns) / 1e9,
        end_ns=end_ns,
        error_type=error,
        error_code=str(code) if error is not None and code is not None else None,
        call_site=_call_site(attributes),
        context=span.context,
        parent=span.parent,
        parameters=call.parameters,
        thread=threading.get_ident(),
        allowed=scope.allowed(),
        foreign=True,
        cursor=call.cursor,
    )


def _redis_text(span: ReadableSpan) -> str | None:
    """The command of a span of Redis that has no text: the name of the span, where it is one."""
    attributes: Mapping[str, Any] = span.attributes or {}
    if (attributes.get(semconv.DB_SYSTEM_NAME) or attributes.get(semconv.DB_SYSTEM)) not in SYSTEMS:
        return None
    return span.name if span.name.partition(" ")[0] in KNOWN else None


def error_type(span: ReadableSpan) -> str | None:
    """The class of what a span failed with, ``_OTHER`` where it does not say.

    None for a span that did not fail, or whose call was cancelled or lost the race of an optimistic lock.
    """
    error = (span.attributes or {}).get(semconv.ERROR_TYPE)
    if error is None and span.status.status_code.name != "ERROR":
        return None
    raised = [event.attributes.get(semconv.EXCEPTION_TYPE) for event in span.events if event.attributes]
    names = [str(each) for each in (error, *raised) if each]
    if not _NO_ERRORS.isdisjoint(name.rpartition(".")[2] for name in names):
        return None
    return names[0] if names else "_OTHER"


def _marked(text: str, span: ReadableSpan) -> str:
    """The text, with an ellipsis where its length says that it was cut."""
    limit = getattr(span.attributes, "max_value_len", None)
    if len(text) in _LENGTHS_OF_CUT_TEXTS or len(text) == limit:
        return f"{text}{ELLIPSIS}"
    return text


def _database(system: str, attributes: Mapping[str, Any]) -> Database:
    namespace = attributes.get(semconv.DB_NAMESPACE) or attributes.get(semconv.DB_NAME)
    address = attributes.get(semconv.SERVER_ADDRESS) or attributes.get(semconv.NET_PEER_NAME)
    port = attributes.get(semconv.SERVER_PORT) or attributes.get(semconv.NET_PEER_PORT)
    key = (system, namespace, address, port)
    database = _databases.get(key)
    if database is None:
        if len(_databases) >= _MAX_DATABASES:
            _databases.clear()
        database = _databases[key] = Database(
            system,
            str(namespace) if namespace else None,
            str(address) if address else None,
            port if isinstance(port, int) else None,
        )
    return database


def _call_site(attributes: Mapping[str, Any]) -> CallSite | None:
    file, line = attributes.get(semconv.CODE_FILE_PATH), attributes.get(semconv.CODE_LINE_NUMBER)
    if isinstance(file, str) and isinstance(line, int):
        return CallSite(file, line, str(attributes.get(semconv.CODE_FUNCTION_NAME, "")))
    # Spans end inside the call that they describe, on the caller's thread: its frames are still there.
    return callsite.find() if config.current().code_location == "on" else None


def _parameters(attributes: Mapping[str, Any]) -> int | None:
    values = tuple(value for key, value in attributes.items() if key.startswith(semconv.DB_QUERY_PARAMETER))
    if not values:
        values = attributes.get("db.statement.parameters", ())
    return hash_parameters(values) if values else None
