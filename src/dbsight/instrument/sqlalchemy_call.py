"""One statement of SQLAlchemy, from the driver call to the end of its result."""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, ClassVar, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from dbsight import config, scope, semconv
from dbsight.config import process
from dbsight.instrument import orm, upstream_spans
from dbsight.instrument.callsite import find_near
from dbsight.instrument.dialects import error_of
from dbsight.instrument.outcomes import was_cancelled
from dbsight.instrument.pools import held_on
from dbsight.instrument.results import follow, kinds
from dbsight.recording import consumers
from dbsight.safety import failed, guard
from dbsight.span import PendingQuery
from dbsight.statement.parameters import frozen, parameter_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight.instrument.pools import Checkout
    from dbsight.instrument.sqlalchemy import Engine, Watcher
    from dbsight.model import Operation, Verdict
    from dbsight.span import PendingSpan

_WRITES = frozenset({"insert", "update", "delete"})
_NOTHING: Final[frozenset[str]] = frozenset()
_new = object.__new__
MAX_OPEN: Final = 10_000
"""Statements with open results that are followed."""

compiled_cache: Callable[[int, int], None] | None = None
"""Counts hits and misses in the cache of compiled statements if that is instrumented; set by ``cache_libraries.py``."""


class SetUp:
    """One call of the driver that sets up or keeps a connection, of which no driver reports anything."""

    __slots__ = ("_covered", "_token")

    def __init__(self, *, suppressing: bool) -> None:
        self._token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if suppressing else None
        self._covered = scope.covered.get()
        scope.covered.set(True)

    def returned(self, _: Any) -> None:
        """It returned, or raised."""
        scope.covered.set(self._covered)
        if self._token is not None:
            detach(self._token)

    raised = returned


def begin(  # noqa: C901, PLR0912, PLR0915 - see below
    watcher: Watcher, dialect: Any, cursor: Any, statement: str, parameters: Any, context: Any = None
) -> StatementCall | SetUp | None:
    """Begin to record a statement that is about to be passed to the driver: a hook, as a method of ``Watcher``.

    What other functions do elsewhere is written out here where it is short: between two queries the application's own
    code runs, and each function that is called has to be fetched into the processor's cache again.

    Returns:
        The pending query; None while instrumentation is suppressed or nothing is recorded, and for a method that calls
        that of its base class.
    """
    if consumers.asleep and watcher.factory.idle():
        return None
    try:
        engine: Engine = dialect._dbsight
    except AttributeError:
        if context is None:
            return None
        engine = watcher.engine(dialect, context)
    if context is None:
        return SetUp(suppressing=engine.suppresses_driver())
    connection = context.root_connection
    proxy = connection._dbapi_connection
    try:
        raw = proxy.dbapi_connection
    except AttributeError:  # no pool has made it
        raw = proxy
    covering = type(raw) is not engine.plain
    if covering and scope.covered.get() == id(context):
        return None
    call = watcher.calls()
    call.factory = factory = watcher.factory
    call.start_ns = time_ns()
    window = scope.window.get()
    place = window.place if window is not None else None
    # ``locate`` written out for all but the first query in a context.
    if place is not None and place[0] is scope.current_context() and place[1] is factory:
        call.current, _, call.parent = place
        call.queue = window
        if scope.profiling:
            call.profiles = scope.profiles()
    elif factory.idle() or not factory.locate(call):
        return None
    call.watcher = watcher
    call.engine = engine
    call.database = engine.database
    call.statement, call.template = _, template = engine.known.get(statement) or engine.learn(statement)
    call.key = key = id(raw)
    if key in watcher.open:
        watcher.open[key].finish()
    call.thread = get_ident()
    settings = process.in_force or config.current()
    if settings.code_location == "on":
        call.call_site = find_near(template)
    call.note(statement, parameters, context, settings)
    if upstream_spans.UPSTREAM in sys.modules and upstream_spans.are_made_elsewhere(connection):
        call.own_span = False
    quiet = engine.module in sys.modules and engine.suppresses_driver()
    # Nothing below can fail and need to be undone.
    call._cursor = cursor
    call._context = context
    call.held = held = held_on(key)
    if held is not None:
        held.inside += 1
    if quiet:
        call.quiet = True
        call._suppressing = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    if covering:
        call.covering = True
        scope.covered.set(id(context))
    if call.extended:
        call.enters()
    call.began = perf_counter()
    return call


class StatementCall(PendingQuery):
    """A statement that is running, whose result is being read, or that is queued.

    Attributes:
        watcher: The watcher that it belongs to.
        engine: The engine that it runs on.
        key: Identity of its DBAPI connection.
        last: When the latest driver call returned, on ``perf_counter``.
        executed: s of the execute call, 0 until it returned.
        fetching: Whether fetches from its result are added to it.
        held: The checkout of its connection.
        quiet: Whether spans of the driver are suppressed.
        covering: Whether drivers report nothing while it runs.
        reading: Whether a fetch of its result is in progress.
        closing: Whether that fetch closed the result.
        streamed: Whether rows are fetched in parts.
        cache_hit: How SQLAlchemy came by the compiled statement, an ``engine.interfaces.CacheStats`` or None.
        subject: The mapper of the class that the ORM asked for, until the drain.
        path: The path of the ORM to what it loads, until the drain; None for a query of the application.
        lazy: Whether the end of that path is a lazy load.
        claim: The span of another instrumentation for the same statement, if any.
        extended: Whether the class does more as a statement enters and leaves the driver.
    """

    extended: ClassVar[bool] = False

    watcher: Watcher
    engine: Engine
    key: int
    affected: int | None
    subject: Any
    path: Any
    lazy: bool
    loading: orm.Loading | None
    entity: str | None
    model: str | None
    flush: orm.Flush | None
    cache_hit: Any
    held: Checkout | None
    claim: upstream_spans.Claim | None
    _suppressing: Any
    _cursor: Any
    _context: Any

    __slots__ = (
        "_context",
        "_cursor",
        "_suppressing",
        "affected",
        "blocked_loop",
        "cache_hit",
        "claim",
        "closing",
        "covering",
        "engine",
        "entity",
        "executed",
        "fetching",
        "flush",
        "held",
        "key",
        "last",
        "lazy",
        "loading",
        "model",
        "path",
        "quiet",
        "reading",
        "streamed",
        "subject",
        "watcher",
    )

    def __init__(self) -> None:
        # What ``PendingQuery`` fills and what it does not, in one function; no slot may be left out.
        self.parent = self.queue = self.call_site = self.parameters = self.parameters_hash = self.values = None
        self.pool = self.rows = self.error_type = self.error_code = self.extra = None
        self.end_ns = self.thread = self.batch_size = 0
        self.duration = self.pool_wait = self.connect_time = self.last = self.executed = 0.0
        self.allowed = _NOTHING
        self.profiles = ()
        self.own_span = True
        self.affected = self.loading = self.entity = self.model = self.flush = self.held = self.claim = None
        self.subject = self.path = self._suppressing = None
        self.blocked_loop = self.fetching = self.quiet = self.reading = self.closing = self.lazy = False
        self.over = self.streamed = self.covering = False

    def note(self, text: str, parameters: Any, context: Any, settings: Any) -> None:
        """Note what only this moment knows: values, what is allowed, and what the ORM is doing."""
        allowed = scope.allowed()
        if allowed:
            self.allowed = allowed
        engine = self.engine
        single = engine.single
        if context.execute_style is not single if single is not None else context.executemany:
            self.batch_size = _batch_size(parameters, context)
        elif settings.parameters != "off":
            self.parameters = frozen(parameters)
            if self.parameters is None:
                self._hash(parameters)
            if settings.parameters == "full":
                self.extra = parameter_attributes(parameters)
        if settings.query_text == "raw":
            self.extra = {**(self.extra or {}), semconv.DB_QUERY_TEXT: text}
        if not engine.asynchronous and _get_running_loop() is not None:
            self.blocked_loop = True
        self.cache_hit = getattr(context, "cache_hit", None)
        invoked = getattr(context, "invoked_statement", None)
        if invoked is None:
            return
        if context.isinsert or context.isupdate or context.isdelete:
            self._note_write(context)
            return
        asked = invoked._propagate_attrs
        if not asked:
            return  # it is no query of the ORM
        self.subject = asked.get("plugin_subject")
        loads = context.execution_options.get("_sa_orm_load_options")
        path = getattr(getattr(invoked, "_compile_options", None), "_current_path", None)
        if loads is not None and loads._refresh_state is not None:
            self.loading = orm.loading(context)  # it depends on what is expired, which this query changes
        elif path is not None and path.path:  # the path of the application's own queries is empty
            self.path = path
            self.lazy = loads is not None and loads._lazy_loaded_from is not None
        elif orm.OF_SUBCLASS in getattr(context.compiled, "binds", ()):
            self.loading = orm.loading(context)

    def _note_write(self, context: Any) -> None:
        """Note the class and the flush that it writes."""
        self.entity = self.model = orm.written(context)
        self.flush = orm.flush.get()
        if self.flush is None and len(context.compiled_parameters) > 1:
            self.flush = orm.Flush(orm.number_of(context), auto=False)

    def enters(self) -> None:
        """The driver is about to be called; of ``extended`` classes. Never raises."""

    def leaves(self, context: Any) -> None:
        """The driver has returned or raised; of ``extended`` classes."""

    # -- The driver call ----------------------------------------------------------------------------------------

    def returned(self, _: Any) -> None:
        """The driver returned: the query ends if the driver fetched all rows, or there are none."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        cursor, context = self._cursor, self._context
        self._left_driver()  # whatever fails afterwards
        try:
            if self.extended:
                self.leaves(context)
            if not self.own_span:
                self.claim = upstream_spans.claim(context, self)
            engine = self.engine
            result = cursor.pgresult if engine.libpq and not context._is_server_side else None
            # To describe the columns takes psycopg longer than all of this, and their number says as much.
            if (result is None or not result.nfields) and cursor.description is None:
                if self.statement.kind in _WRITES:
                    self.affected = _row_count(cursor)
            elif context._is_server_side or context.execution_options.get("stream_results"):
                self.streamed = True
                self._follow_when_made(context)
            elif engine.buffers:
                count = cursor.rowcount  # ``_row_count`` written out
                self.rows = count if type(count) is int and count >= 0 else None
            else:
                self._follow(context)
        except Exception:  # a cursor may be anything; the query ran, whatever it says of itself
            failed("sqlalchemy.returned")
        if not self.fetching:
            self.finish()

    def _left_driver(self) -> None:
        """Undo what was done for the time of the driver call. The record must not keep cursor and context alive."""
        if self.quiet:
            token, self._suppressing = self._suppressing, None
            detach(token)
        if self.covering:
            scope.covered.set(False)
        self._cursor = self._context = None
        held = self.held
        if held is not None:
            held.inside -= 1
            held.last = self.last

    def raised(self, error: BaseException) -> None:
        """The driver raised: the query ends."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        context = self._context
        self._left_driver()
        try:
            if self.extended:
                self.leaves(context)
            if not self.own_span:
                self.claim = upstream_spans.claim(context, self)
        except Exception:
            failed("sqlalchemy.raised")
        self.finish(error)

    def _follow(self, context: Any) -> None:
        """Rows are fetched one by one or together from a cursor that steps as they are."""
        inner = context.cursor_fetch_strategy
        engine = self.engine
        single = engine.single
        many = context.execute_style is not single if single is not None else context.executemany
        if many or inner.alternate_cursor_description is not None:
            return
        kind = kinds.get(type(inner))
        if kind is None:
            followed = follow(inner, self)
        else:  # ``follow`` and ``_keep_open`` written out
            followed = _new(kind)
            followed._inner = inner
            followed._call = self
        context.cursor_fetch_strategy = followed
        running = self.watcher.open
        if len(running) >= MAX_OPEN:
            next(iter(running.values())).finish()
        running[self.key] = self
        self.rows = 0
        self.fetching = True

    def _follow_when_made(self, context: Any) -> None:
        """The fetch strategy of a server-side cursor is made with the result: follow it from then on."""
        make = context._setup_result_proxy

        def setup_result_proxy() -> Any:
            del context._setup_result_proxy
            token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if self.quiet else None
            try:
                result = make()  # it fetches the first rows
            finally:
                if token is not None:
                    detach(token)
            self._follow_result(result)
            return result

        context._setup_result_proxy = setup_result_proxy
        self._keep_open()

    @guard
    def _follow_result(self, result: Any) -> None:
        if not self.over:
            result.cursor_strategy = follow(result.cursor_strategy, self)

    def _keep_open(self) -> None:
        """Keep it until its result ends."""
        self.rows = 0
        self.fetching = True
        running = self.watcher.open
        if len(running) >= MAX_OPEN:
            next(iter(running.values())).finish()
        running[self.key] = self

    # -- Its result ---------------------------------------------------------------------------------------------

    def finish(self, error: BaseException | None = None) -> None:
        """Finish the query. Idempotent."""
        if self.over:
            return
        if self.fetching:
            self.watcher.open.pop(self.key, None)
        if error is not None and not was_cancelled(error):
            self.error_type, self.error_code = error_of(error)
        self.end_ns = self.start_ns + int((self.last - self.began) * 1e9)
        if self.held is not None:
            self.held.ran(self, self.last)
        self.over = True  # ``end`` written out
        queue = self.queue
        try:
            taken = queue is not None and queue.append(self)
        except Exception:  # no thread can be started any more that would drain it later
            failed("sqlalchemy.finish")
            taken = False
        if not taken:
            self.flush_all((self,))

    # -- In the drain -------------------------------------------------------------------------------------------

    def operation(self) -> Operation:
        """As a record of ``dbsight.model``."""
        if self.subject is not None:
            self.model = self.subject.class_.__name__
        if self.path is not None:
            self.loading = orm.of_path(self.path, lazy=self.lazy)
        self.subject = self.path = None
        if getattr(self.cache_hit, "name", "") == "CACHE_MISS":
            self.extra = {**(self.extra or {}), semconv.ORM_COMPILED_CACHE: "miss"}
        operation = super().operation()
        operation.fetch_time = self.duration - self.executed
        operation.affected = self.affected
        operation.entity = self.entity
        operation.model = self.model
        operation.streamed = self.streamed
        operation.asynchronous = self.engine.asynchronous
        if self.blocked_loop:
            operation.blocked_loop = True
        if self.loading is not None:
            operation.relationship = self.loading.relationship
            operation.load = self.loading.load
            operation.entity = self.loading.entity
            operation.to_many = self.loading.to_many
        if self.flush is not None:
            operation.flush = self.flush.number
            operation.autoflush = self.flush.auto
        return operation

    def other_span(self) -> tuple[PendingSpan, SpanContext | None]:
        """What stands for its span where upstream's instrumentation makes it, and that one's context."""
        return self.factory.no_span(), self.claim.context if self.claim is not None else None

    def settle(self, operation: Operation, verdict: Verdict | None) -> None:
        """Hand on the span that upstream's instrumentation made."""
        if self.claim is not None:
            self.claim.settle(operation, verdict)

    @classmethod
    def reported(cls, records: Sequence[Self], _: Sequence[Operation], /) -> None:
        """Count what the cache of compiled statements had. Never raises."""
        if compiled_cache is not None:
            outcomes = [getattr(record.cache_hit, "name", "") for record in records]
            compiled_cache(outcomes.count("CACHE_HIT"), outcomes.count("CACHE_MISS"))


def _row_count(cursor: Any) -> int | None:
    count = cursor.rowcount
    return count if isinstance(count, int) and count >= 0 else None  # None, or anything where it is a stand-in


def _batch_size(parameters: Any, context: Any) -> int:
    """Rows of this driver call: of an executemany, or of one statement of insertmanyvalues; 0 for a single one.

    One is no batch (semantic conventions); neither is the row-by-row form that SQLAlchemy falls back to where a
    database cannot batch.
    """
    if isinstance(parameters, list) or not hasattr(context, "execute_style"):  # 1.4: a tuple, and no insertmanyvalues
        rows = len(parameters)
    else:
        names = len(getattr(context.compiled, "bind_names", ()))
        rows = len(parameters) // names if names and parameters else 0
    return rows if rows >= 2 else 0
