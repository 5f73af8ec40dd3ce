"""What all drivers share: one statement from the driver call to the end of its result, and one connection.

A file per driver (``psycopg.py``, ``sqlite3.py``, ``pymysql.py`` …) says which methods are wrapped, where
a connection leads, whether it is in a transaction, and how many rows a cursor has. Everything else is here: begin and
end of an execution, executemany, fetches, commit and rollback, errors, parameters, call site, the connection's pool.

* Nothing about an object of the driver changes. Methods of Python classes are wrapped in place; what has to be known of
  a connection is kept in a ``Link`` beside it, found by its identity and dropped with it.
* A driver that has fetched all rows when ``execute`` returns ends its statement there. Where rows are fetched later
  (sqlite3, server-side cursors), it is kept open: fetches add their time and rows to it, and it ends when the
  result is exhausted or closed, when its cursor is garbage collected or executes again, or with the local root.
* A library above that reports the statement itself (SQLAlchemy) says so by ``scope.covered``: there is one span per
  statement, whatever is instrumented and in whatever order.
* Where OpenTelemetry's own instrumentor of the driver is active, its span is enriched: ours makes none. If it cannot be
  found as the current span, nothing is recorded here and the processor reads it when it ends.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from opentelemetry.trace import get_current_span

from dbsight import config, recording, scope, semconv, span
from dbsight.instrument import callsite, django, models, transactions, upstream_spans
from dbsight.instrument.dialects import error_of
from dbsight.instrument.django_orm import asked
from dbsight.instrument.outcomes import was_cancelled
from dbsight.instrument.pools import held_by_connection
from dbsight.instrument.pools.drivers import database_behind
from dbsight.model import Database
from dbsight.safety import failed, guard
from dbsight.span import PendingQuery
from dbsight.statement import read
from dbsight.statement.parameters import parameter_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext, TracerProvider

    from dbsight.instrument.pools import Checkout
    from dbsight.model import DjangoQuery, Operation, OrmOperation, Statement, Verdict
    from dbsight.span import PendingSpan

_MAX_OPEN: Final = 10_000
_MAX_KNOWN: Final = 1000
_MAX_DATABASES: Final = 1000
WRITES: Final = frozenset({"insert", "update", "delete"})
_COUNTED_WRITES: Final = frozenset({"insert", "update", "delete", "ddl"})
_UPSTREAM: Final = "opentelemetry.instrumentation."

above: set[str] = set()
"""Libraries that are instrumented and report what they ask of their driver: ``sqlalchemy``, ``aiosqlite``."""

drivers: list[Driver] = []
"""Those that are instrumented."""


class Link:
    """One connection of a driver.

    Attributes:
        database: Where it leads.
        known: Statement and template of texts that ran lately on that database.
        busy: s of statements on it.
        queries: How many.
        writes: How many of these wrote.
        failures: How many failed.
        last: When the latest ended, on ``perf_counter``.
        transaction: The one that is open on it, a ``transactions.Transaction``.
    """

    __slots__ = ("busy", "database", "failures", "gone", "known", "last", "queries", "transaction", "writes")

    def __init__(self, database: Database, known: dict[Any, tuple[Statement, span.SpanTemplate]]) -> None:
        self.database = database
        self.known = known
        self.busy = self.last = 0.0
        self.queries = self.writes = self.failures = 0
        self.transaction: Any = None
        self.gone: Any = None


class DriverCall(PendingQuery):
    """A statement that is running, whose result is being read, or that is queued.

    Attributes:
        driver: Whose.
        link: Its connection.
        last: When the latest driver call returned, on ``perf_counter``.
        executed: s of the execute call, 0 until it returned.
        affected: Rows written.
        fetching: Whether fetches from its result are added to it.
        many: Whether it has several sets of parameters.
        key: Identity of the cursor whose fetches belong to it.
        claim: The span of another instrumentation for the same statement, if any.
        django: What Django's ORM was doing, if it sends the statement.
    """

    driver: Driver
    link: Link
    affected: int | None
    claim: upstream_spans.Claim | None
    django: DjangoQuery | None
    held: Checkout | None
    key: int
    _dropped: ref[Any] | None

    __slots__ = (
        "_connection",
        "_cursor",
        "_dropped",
        "affected",
        "blocked_loop",
        "claim",
        "covering",
        "django",
        "driver",
        "executed",
        "fetching",
        "held",
        "key",
        "last",
        "link",
        "many",
        "streamed",
    )

    def __init__(self) -> None:
        PendingQuery.__init__(self)  # not by super(): that costs as much again
        self.affected = self.claim = self.held = self.django = self._cursor = self._connection = self._dropped = None
        self.last = self.executed = 0.0
        self.key = 0
        self.blocked_loop = self.fetching = self.many = self.covering = self.streamed = False

    # -- The driver call ----------------------------------------------------------------------------------------

    def returned(self, result: Any) -> None:
        """The driver returned: the statement ends unless its rows are fetched later."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        driver, connection, cursor = self.driver, self._connection, self._cursor
        self._left_driver()  # whatever fails afterwards
        try:
            driver.look(self, cursor, result)
            if driver.in_transaction(connection) is (self.link.transaction is None):
                self._transaction_changed()
        except Exception:  # a cursor may be anything; the statement ran, whatever it says of itself
            failed("dbapi.returned")
        if not self.fetching:
            self.finish()

    def raised(self, error: BaseException) -> None:
        """The driver raised: the statement ends."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        driver, connection = self.driver, self._connection
        self._left_driver()
        try:
            if driver.in_transaction(connection) is (self.link.transaction is None):
                self._transaction_changed()
        except Exception:  # noqa: S110 - the connection may be lost; nothing more is known of its transaction
            pass
        self.finish(error)

    def _left_driver(self) -> None:
        """The record must not keep cursor and connection alive."""
        self._cursor = self._connection = None
        if self.covering:
            scope.covered.set(False)
        if self.held is not None:
            self.held.inside -= 1

    def _transaction_changed(self) -> None:
        """It began a transaction, or ended one by its text."""
        link = self.link
        if link.transaction is None:
            link.transaction = transactions.Transaction(link.database, self.call_site, link, self.began)
        else:
            rolled_back = self.statement.summary.upper().startswith("ROLLBACK")
            transactions.end(link, "rollback" if rolled_back else "commit")

    # -- Its result ---------------------------------------------------------------------------------------------

    def keep_open(self, cursor: Any) -> None:
        """Rows are fetched later, by a cursor."""
        self.rows = 0
        self.fetching = True
        self.key = id(cursor)
        self.driver.keep_open(self)
        try:
            self._dropped = ref(cursor, self._collected)
        except TypeError:  # its driver's file sees its end in another way
            self._dropped = None

    @guard
    def _collected(self, _: Any) -> None:
        self.finish()

    def fetched(self, began: float, rows: int, *, over: bool) -> None:
        """A fetch returned.

        Args:
            began: When it began, on ``perf_counter``.
            rows: How many it gave.
            over: Whether there are no more.
        """
        self.last = now = perf_counter()
        self.duration += now - began
        self.rows = rows + (self.rows or 0)
        if over:
            self.finish()

    def fetch_failed(self, began: float, error: BaseException) -> None:
        """A fetch raised."""
        self.last = now = perf_counter()
        self.duration += now - began
        self.finish(error)

    def finish(self, error: BaseException | None = None) -> None:
        """Finish the statement. Idempotent."""
        if self.over:
            return
        if self.fetching:
            self._dropped = None
            self.driver.open.pop(self.key, None)
        if error is not None and not was_cancelled(error):
            self.error_type, self.error_code = error_of(error)
        self.end_ns = self.start_ns + int((self.last - self.began) * 1e9)
        held = self.held
        if held is not None:
            held.ran(self, self.last)
        link = self.link
        link.last = self.last
        link.busy += self.duration
        kind = self.statement.kind
        if kind != "transaction":
            link.queries += 1
            if kind in _COUNTED_WRITES:
                link.writes += 1
        if self.error_type is not None:
            link.failures += 1
        self.end()

    # -- In the drain -------------------------------------------------------------------------------------------

    def operation(self) -> Operation:
        """As a record of ``dbsight.model``."""
        operation = PendingQuery.operation(self)
        operation.fetch_time = self.duration - self.executed
        operation.affected = self.affected
        operation.streamed = self.streamed
        operation.asynchronous = self.driver.asynchronous
        django = self.django
        if django is not None:
            operation.django = django
            operation.model = django.model
            operation.relationship, operation.load = django.relationship, django.load
            operation.entity, operation.to_many = django.entity, django.to_many
            self._count_objects(operation, django)
        if self.blocked_loop:
            operation.blocked_loop = True
        return operation

    @staticmethod
    @guard
    def _count_objects(operation: Operation, django: DjangoQuery) -> None:
        kind, model = operation.statement.kind, django.model
        if model is None or operation.error_type is not None:
            return
        if kind == "select":
            if django.loads:
                models.add("load", model, operation.rows or 0)
        elif kind in WRITES:
            # INSERT … RETURNING gives a row for each object.
            rows = operation.rows if operation.affected is None else operation.affected
            models.add(cast("OrmOperation", kind), model, int(kind == "insert") if rows is None else rows)

    def other_span(self) -> tuple[PendingSpan, SpanContext | None]:
        """What stands for its span where upstream's instrumentation makes it, and that one's context."""
        return self.factory.no_span(), self.claim.context if self.claim is not None else None

    def settle(self, operation: Operation, verdict: Verdict | None) -> None:
        """Hand on the span that upstream's instrumentation made."""
        if self.claim is not None:
            self.claim.settle(operation, verdict)


class Fetch:
    """One fetch from a cursor; what a ``begin`` hook returns. It gives a list of rows, a row or None."""

    __slots__ = ("_began", "_call")

    def __init__(self, call: DriverCall) -> None:
        self._call = call
        self._began = perf_counter()

    def returned(self, result: Any) -> None:
        """A list is the end if it is empty, as is None."""
        self._call.streamed = True
        self._call.fetched(
            self._began, len(result) if type(result) is list else int(result is not None), over=not result
        )

    def raised(self, error: BaseException) -> None:
        """The fetch failed, or an iterator is exhausted."""
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            self._call.fetched(self._began, 0, over=True)
        else:
            self._call.fetch_failed(self._began, error)


class FetchAll(Fetch):
    """A fetch of all rows that are left."""

    __slots__ = ()

    def returned(self, result: Any) -> None:
        """The result is exhausted."""
        self._call.fetched(self._began, len(result), over=True)


class _Ending:
    """One commit, rollback or close of a connection with an open transaction."""

    __slots__ = ("_link", "_result")

    def __init__(self, link: Link, result: str) -> None:
        self._link = link
        self._result = result

    def returned(self, _: Any) -> None:
        """The transaction is over."""
        if self._link.transaction is not None:
            transactions.end(self._link, self._result)

    def raised(self, _: BaseException) -> None:
        """The database rolls it back."""
        if self._link.transaction is not None:
            transactions.end(self._link, "rollback")


class Covering:
    """One call of a library, which reports itself what it asks of its driver, or whose requests are setup."""

    __slots__ = ("_before",)

    def __init__(self, _: Any = None) -> None:
        self._before = scope.covered.get()
        scope.covered.set(True)

    def returned(self, _: Any) -> None:
        """It returned, or raised."""
        scope.covered.set(self._before)

    raised = returned


class Driver:
    """The hooks of one driver; a file per driver subclasses it.

    Args:
        provider: The tracer provider, None for the global one.

    Attributes:
        system: ``db.system.name``.
        upstream: Module and class of OpenTelemetry's instrumentor.
        asynchronous: Its calls are awaited.
        links: Its connections that ran something, by identity.
        open: Statements whose rows are being fetched, by the identity of the cursor.
    """

    system = ""
    upstream = ("", "")
    asynchronous = False

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.factory = span.SpanFactory(provider)
        self.links: dict[int, Link] = {}
        self.open: dict[int, DriverCall] = {}
        self._databases: dict[str, tuple[Database, dict[Any, Any]]] = {}

    # -- What a driver's file says ------------------------------------------------------------------------------

    def where(self, connection: Any) -> Database | None:
        """Where a connection leads; None or an exception where it does not say."""
        return database_behind(connection)

    def in_transaction(self, connection: Any) -> bool:
        """Whether a connection is in a transaction that began with a statement or before."""
        return False

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        """Note the rows of a statement that has run, or keep it open. By default as DB-API's cursors tell."""
        count = cursor.rowcount
        if cursor.description is not None:
            call.rows = count if count >= 0 else None
        elif call.statement.kind in WRITES:
            call.affected = count if count >= 0 else None

    # -- Statements ---------------------------------------------------------------------------------------------

    def begin(
        self, connection: Any, cursor: Any, text: Any, parameters: Any = (), *, many: bool = False, nested: bool = False
    ) -> DriverCall | None:
        """Begin to record a statement that is about to be passed to the server.

        Args:
            connection: The driver's connection.
            cursor: Given to ``look`` when it has run.
            text: str, bytes, or an object of the driver that is rendered by ``render``.
            parameters: Bound values; of ``many``, a sequence of them.
            many: Whether it is executed with several sets of parameters.
            nested: Whether the method calls others that are wrapped, too.

        Returns:
            None while it is reported by a library above, suppressed, or setup.
        """
        if scope.covered.get() or scope.connecting.get():
            return None
        if many and hasattr(parameters, "__len__") and len(parameters) == 0:
            return None
        if self.open:
            self.closing(cursor)
        call = DriverCall()
        call.factory = self.factory
        call.start_ns = time_ns()
        upstream = self._span_of_upstream() if self.upstream[0] in sys.modules else None
        if upstream is False:
            return None
        if not self.factory.locate(call):
            return None
        call.driver = self
        call.link = link = self.links.get(id(connection)) or self._adopt(connection)
        call.database = link.database
        try:
            known = link.known.get(text)
        except TypeError:  # an object of the driver
            known = None
        call.statement, call.template = known or self._learn(link, text, cursor)
        if upstream is not None:
            call.own_span = False
            call.parent = upstream.parent
            call.claim = upstream_spans.claim_span(upstream, call)
        self._note(call, text, parameters, cursor, many)
        if not self.asynchronous and _get_running_loop() is not None:
            call.blocked_loop = True
        held = held_by_connection.get(id(connection))
        if held is not None:
            call.held = held
            held.inside += 1
        call._cursor = cursor
        call._connection = connection
        if nested:
            call.covering = True
            scope.covered.set(True)
        call.began = perf_counter()
        return call

    def _note(self, call: DriverCall, text: Any, parameters: Any, cursor: Any, many: bool) -> None:
        """Record what only this moment knows."""
        call.thread = get_ident()
        call.django = asked()
        allowed = scope.allowed()
        if allowed:
            call.allowed = allowed
        settings = config.current()
        if settings.code_location == "on":
            call.call_site = callsite.find_near(call.template)
        if many:
            self._note_batch(call, parameters, settings)
        elif settings.parameters != "off":
            call.keep_parameters(parameters if parameters is not None else ())
            if settings.parameters == "full":
                call.extra = parameter_attributes(parameters)
        if settings.query_text == "raw":
            call.extra = {**(call.extra or {}), semconv.DB_QUERY_TEXT: _as_text(text) or self.render(text, cursor)}

    @staticmethod
    def _note_batch(call: DriverCall, parameters: Any, settings: config.Settings) -> None:
        """One set of parameters is no batch (semantic conventions); an iterator's length is known afterwards."""
        call.many = True
        size = len(parameters) if hasattr(parameters, "__len__") else 0
        if size >= 2:
            call.batch_size = size
        elif size == 1 and settings.parameters != "off" and isinstance(parameters, (list, tuple)):
            call.keep_parameters(parameters[0])

    def _span_of_upstream(self) -> Any:
        """The span of OpenTelemetry's instrumentor for the statement that begins.

        Returns:
            None while that instrumentor is off; False where it is on and its span is not current, or is a root.
        """
        module, name = self.upstream
        instrumentor = getattr(sys.modules[module], name, None)
        if instrumentor is None or not instrumentor().is_instrumented_by_opentelemetry:
            return None
        current: Any = get_current_span()
        made_by = getattr(getattr(current, "instrumentation_scope", None), "name", "")
        if not made_by.startswith(_UPSTREAM) or not current.is_recording() or current.parent is None:
            return False
        return current

    def _learn(self, link: Link, text: Any, cursor: Any) -> tuple[Statement, span.SpanTemplate]:
        plain = _as_text(text)
        if plain is None:
            plain = self.render(text, cursor)
        statement = read(plain, link.database.system)
        found = (statement, span.template_of(statement, link.database))
        if isinstance(text, (str, bytes)):
            if len(link.known) >= _MAX_KNOWN:
                link.known.clear()
            link.known[text] = found
        return found

    def render(self, text: Any, cursor: Any) -> str:
        """The text of an object by which the driver describes statements."""
        return str(text)

    # -- Connections --------------------------------------------------------------------------------------------

    def _adopt(self, connection: Any) -> Link:
        try:
            database = self.where(connection)
        except Exception:
            # It is closed, or says nothing: the statement that fails is reported, the next one asks again.
            database = None
        if database is None:
            return Link(Database(self.system), {})
        return self.adopt(connection, database)

    def adopt(self, connection: Any, database: Database) -> Link:
        """Remember where a connection leads."""
        shared = self._databases.get(database.key)
        if shared is None:
            if len(self._databases) >= _MAX_DATABASES:
                self._databases.clear()
            shared = self._databases[database.key] = (database, {})
        link = Link(*shared)
        identity = id(connection)

        def dropped(_: Any) -> None:
            try:
                self.links.pop(identity, None)
                if link.transaction is not None:
                    transactions.end(link, "rollback")
            except Exception:
                failed("dbapi.dropped")

        link.gone = ref(connection, dropped)
        self.links[identity] = link
        return link

    def ending(self, result: str) -> Callable[[Any], _Ending | None]:
        """The hook around a method of a connection that ends its transaction by ``commit`` or ``rollback``."""

        def begin(connection: Any) -> _Ending | None:
            link = self.links.get(id(connection))
            return _Ending(link, result) if link is not None and link.transaction is not None else None

        return begin

    # -- Results ------------------------------------------------------------------------------------------------

    def keep_open(self, call: DriverCall) -> None:
        """Keep a statement until its result ends."""
        if len(self.open) >= _MAX_OPEN:
            next(iter(self.open.values())).finish()
        self.open[call.key] = call

    def fetching(self, cursor: Any) -> Fetch | None:
        """The hook around a method that fetches some rows."""
        call = self.open.get(id(cursor)) if self.open else None
        return Fetch(call) if call is not None else None

    def fetching_all(self, cursor: Any) -> Fetch | None:
        """The hook around a method that fetches all rows."""
        call = self.open.get(id(cursor)) if self.open else None
        return FetchAll(call) if call is not None else None

    def closing(self, cursor: Any) -> None:
        """The hook before a method that closes a cursor."""
        call = self.open.get(id(cursor)) if self.open else None
        if call is not None:
            call.finish()

    def root_ending(self, root: SpanContext | None) -> None:
        """A local root, or the process, is about to end: finish results that are still open in its trace."""
        if self.open:
            for call in list(self.open.values()):
                parent = call.parent
                if root is None or (parent is not None and parent.trace_id == root.trace_id):
                    call.finish()

    # -- Its life -----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """It is instrumented from now on."""
        drivers.append(self)
        recording.on_root_ending(self.root_ending)
        transactions.sources.append(self.links)
        transactions.emit_with(self.factory)
        django.follow(self)

    def forget(self) -> None:
        """It is no longer instrumented."""
        recording.off_root_ending(self.root_ending)
        if self in drivers:
            drivers.remove(self)
            transactions.sources.remove(self.links)
            transactions.emit_with(None)
            django.unfollow(self)
        self.root_ending(None)
        self.links.clear()


def _as_text(text: Any) -> str | None:
    if isinstance(text, str):
        return text
    if isinstance(text, (bytes, bytearray)):
        return bytes(text).decode(errors="replace")
    return None
