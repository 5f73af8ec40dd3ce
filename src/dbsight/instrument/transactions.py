"""Transactions of SQLAlchemy and of drivers: from begin to commit or rollback, with the line that began them.

Savepoints are other events and belong to the transaction around them. Every query adds to the connection's
``Checkout``, from which the transaction reads what ran. In autocommit mode SQLAlchemy begins and ends transactions that
the database never sees: those are not counted.
"""

from __future__ import annotations

from itertools import chain
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from dbsight import config, recording, scope, semconv
from dbsight.instrument import callsite
from dbsight.instrument.pools import held_on, open_connections
from dbsight.instrument.pools.pool import current_parent
from dbsight.model import OpenTransaction, TransactionEvent
from dbsight.recording import consumers
from dbsight.safety import guard
from dbsight.span import SpanFactory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.instrument.driver_call import Link
    from dbsight.instrument.pools import Checkout
    from dbsight.model import CallSite, Database, OpenedBy

_TOLD: Final = 0.1
"""s; a shorter transaction interests no rule, and its span is not looked up."""

_SAME_LINE: Final = 0.001
"""s; who begins within it after the checkout is who took the connection."""

_MAX_OPEN: Final = 20

_MAX_OPENINGS: Final = 1000

sources: list[dict[int, Link]] = []
"""Connections of drivers that report their transactions, by identity."""


class Transaction:
    """One transaction that is open, as it found its connection.

    Attributes:
        database: Where.
        site: The line that began it.
        began: On ``perf_counter``.
        busy: s of queries on the connection before it.
        queries: Those before it.
        writes: The same.
        failures: The same.
        allowed: Rules allowed when it began.
        opened_by: What opened it.
    """

    __slots__ = ("allowed", "began", "busy", "database", "failures", "opened_by", "queries", "site", "writes")

    def __init__(
        self,
        database: Database,
        site: CallSite | None,
        held: Checkout | Link,
        began: float,
        opened_by: OpenedBy = "sqlalchemy",
    ) -> None:
        self.database = database
        self.site = site
        self.opened_by = opened_by
        self.began = began
        self.busy = held.busy
        self.queries = held.queries
        self.writes = held.writes
        self.failures = held.failures
        self.allowed = scope.allowed()

    def belongs_to(self, opening: Opening) -> None:
        """A library above the connection opened it."""
        self.opened_by = opening.opened_by
        self.site = opening.site or self.site
        self.allowed |= opening.allowed

    def abandoned(self, held: Checkout | Link) -> None:
        """Its connection was lost, or given back by the garbage collector: the database rolls it back."""
        end(held, "rollback")


class Opening(NamedTuple):
    """What a library above a driver's connection said when it was about to begin a transaction on it.

    Attributes:
        opened_by: Which.
        site: Where in the application, None where it does not say.
        allowed: Rules that are allowed in it.
    """

    opened_by: OpenedBy
    site: CallSite | None
    allowed: frozenset[str] = frozenset()


_openings: dict[int, Opening] = {}


def opening(connection: Any, said: Opening) -> None:
    """A library opened a transaction on a driver's connection, which begins now or with the next statement."""
    identity = id(connection)
    for links in sources:
        link = links.get(identity)
        if link is not None and link.transaction is not None:
            link.transaction.belongs_to(said)
            return
    if len(_openings) >= _MAX_OPENINGS:
        _openings.clear()
    _openings[identity] = said


def opened(connection: Any) -> None:
    """What was said of a transaction on this connection is over, if it ever began."""
    _openings.pop(id(connection), None)


def begun(link: Link, connection: Any, site: CallSite | None, began: float) -> None:
    """A statement began a transaction on a driver's connection."""
    link.transaction = transaction = Transaction(link.database, site, link, began, "connection")
    said = _openings.pop(id(connection), None)
    if said is not None:
        transaction.belongs_to(said)


def _held(connection: Any) -> Checkout | None:
    # Not the public property: it raises where the connection was lost.
    proxy = connection._dbapi_connection
    return held_on(id(getattr(proxy, "dbapi_connection", proxy))) if proxy is not None else None


def begin(transaction: Any) -> None:
    """A transaction of SQLAlchemy begins."""
    if not (consumers.awake or _spans.live()) or scope.suppressed():
        return
    connection = transaction.connection
    held = _held(connection)
    target = connection.dialect.__dict__.get("_dbsight_target")
    if held is None or target is None or _autocommits(connection):
        return
    now = perf_counter()
    site = held.site
    if (held.queries or now - held.began > _SAME_LINE) and config.current().code_location != "off":
        site = callsite.find()
    held.transaction = Transaction(target.database, site, held, now)


def _autocommits(connection: Any) -> bool:
    asked = getattr(connection, "_is_autocommit_isolation", None)
    return asked is not None and bool(asked())


def commit(transaction: Any) -> None:
    """It was committed."""
    held = _held(transaction.connection)
    if held is not None and held.transaction is not None:
        end(held, "commit")


def rollback(transaction: Any) -> None:
    """It was rolled back, by the application or because its connection was given back."""
    held = _held(transaction.connection)
    if held is not None and held.transaction is not None:
        end(held, "rollback")


def end(held: Checkout | Link, result: Any) -> None:
    """The transaction on a connection is over, by ``commit`` or ``rollback``."""
    transaction: Transaction = held.transaction
    held.transaction = None
    seconds = perf_counter() - transaction.began
    shown = config.current().transaction_spans
    event = TransactionEvent(
        transaction.database,
        result,
        time_ns(),
        seconds,
        idle=max(0.0, seconds - (held.busy - transaction.busy)),
        queries=held.queries - transaction.queries,
        writes=held.writes - transaction.writes,
        failed=held.failures > transaction.failures,
        thread=get_ident(),
        allowed=transaction.allowed,
        opened_by=transaction.opened_by,
        call_site=transaction.site,
        parent=current_parent() if shown or seconds >= _TOLD else None,
    )
    if shown:
        _emit(event)
    recording.record(event)


_spans = SpanFactory()


def emit_with(factory: SpanFactory | None) -> None:
    """Emit the spans of transactions with an instrumentor's factory from now on; None follows the global provider."""
    global _spans  # noqa: PLW0603 - one per process, as the instrumentors
    _spans = factory or SpanFactory()


@guard
def _emit(event: TransactionEvent) -> None:
    """Make the span of a transaction; outside a trace there is none."""
    if event.parent is None:
        return
    database, site = event.database, event.call_site
    attributes: dict[str, Any] = {
        semconv.DB_SYSTEM_NAME: database.system,
        semconv.TRANSACTION_RESULT: event.result,
        semconv.TRANSACTION_QUERIES: event.queries,
        semconv.TRANSACTION_WRITES: event.writes,
        semconv.TRANSACTION_IDLE: event.idle,
    }
    if database.namespace is not None:
        attributes[semconv.DB_NAMESPACE] = database.namespace
    if site is not None:
        attributes[semconv.CODE_FILE_PATH] = site.file
        attributes[semconv.CODE_LINE_NUMBER] = site.line
        attributes[semconv.CODE_FUNCTION_NAME] = site.function
    began = event.at_ns - int(event.seconds * 1e9)
    context = set_span_in_context(NonRecordingSpan(event.parent))
    span = _spans.tracer().start_span(semconv.TRANSACTION_SPAN, context, attributes=attributes, start_time=began)
    span.end(event.at_ns)


def session_began(session: Any, transaction: Any, connection: Any) -> None:
    """An ORM session took the connection."""
    held = _held(connection)
    if held is not None:
        held.session = True


def open_transactions() -> list[OpenTransaction]:
    """The transactions that are not over, oldest first, at most 20."""
    now = perf_counter()
    found = []
    links = (link for source in sources for link in tuple(source.values()))
    connections: Iterable[Checkout | Link] = chain(open_connections(), links)
    for held in connections:
        transaction = held.transaction
        if transaction is not None:
            found.append(
                OpenTransaction(
                    transaction.database,
                    transaction.site,
                    now - transaction.began,
                    now - max(held.last, transaction.began),
                    held.queries - transaction.queries,
                    held.writes - transaction.writes,
                    transaction.opened_by,
                    transaction.allowed,
                )
            )
    found.sort(key=lambda each: -each.age)
    return found[:_MAX_OPEN]


HOOKS: Final = (
    ("_connection_begin_impl", begin),
    ("_connection_commit_impl", commit),
    ("_connection_rollback_impl", rollback),
)
"""Methods of ``RootTransaction`` and ``TwoPhaseTransaction`` of SQLAlchemy 1.4 to 2.1, and what runs before them.

Each calls one of ``Connection`` that dispatches an event; listening to it would cost every statement (see
``sqlalchemy.py``). Those of ``Connection`` name their caller in the log, which must not be a wrapper.
"""
