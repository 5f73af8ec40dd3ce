"""One statement of SQLAlchemy, from the driver call to the end of its result."""

from __future__ import annotations

from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from dbsight import config, scope, semconv
from dbsight.instrument import callsite, orm, upstream_spans
from dbsight.instrument.dialects import error_of
from dbsight.instrument.outcomes import was_cancelled
from dbsight.instrument.pools import held_on
from dbsight.instrument.results import follow
from dbsight.safety import failed, guard
from dbsight.span import PendingQuery
from dbsight.statement.parameters import parameter_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight.instrument.pools import Checkout
    from dbsight.instrument.sqlalchemy import Engine, Watcher
    from dbsight.model import Operation, Verdict
    from dbsight.span import PendingSpan

_WRITES = frozenset({"insert", "update", "delete"})

compiled_cache: Callable[[int, int], None] | None = None
"""Counts hits and misses in the cache of compiled statements if that is instrumented; set by ``cache_libraries.py``."""

_initialize = PendingQuery.__init__


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
        reading: Whether a fetch of its result is in progress.
        closing: Whether that fetch closed the result.
        streamed: Whether rows are fetched in parts.
        cache_hit: How SQLAlchemy came by the compiled statement, an ``engine.interfaces.CacheStats`` or None.
        claim: The span of another instrumentation for the same statement, if any.
    """

    watcher: Watcher
    engine: Engine
    key: int
    affected: int | None
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
        "engine",
        "entity",
        "executed",
        "fetching",
        "flush",
        "held",
        "key",
        "last",
        "loading",
        "model",
        "quiet",
        "reading",
        "streamed",
        "watcher",
    )

    def __init__(self) -> None:
        _initialize(self)  # not by super(): that costs as much again
        self.affected = self.loading = self.entity = self.model = self.flush = self.held = self.claim = None
        self.last = self.executed = 0.0
        self.blocked_loop = self.fetching = self.quiet = self.reading = self.closing = False
        self.streamed = False

    @classmethod
    def begin(
        cls, watcher: Watcher, engine: Engine, cursor: Any, text: str, parameters: Any, context: Any
    ) -> Self | None:
        """Begin to record a statement that is about to be passed to the driver.

        Returns:
            The pending query; None while instrumentation is suppressed.
        """
        if watcher.factory.idle():
            return None
        call = cls()
        call.factory = watcher.factory
        call.start_ns = time_ns()
        if not watcher.factory.locate(call):
            return None
        call.watcher = watcher
        call.engine = engine
        call.database = engine.database
        call.statement, call.template = _, template = engine.known.get(text) or engine.learn(text)
        connection = context.root_connection
        proxy = connection._dbapi_connection
        try:
            call.key = key = id(proxy.dbapi_connection)
        except AttributeError:  # no pool has made it
            call.key = key = id(proxy)
        unfinished = watcher.open.get(key) if watcher.open else None
        if unfinished is not None:
            unfinished.finish()
        call.thread = get_ident()
        allowed = scope.allowed()
        if allowed:
            call.allowed = allowed
        settings = config.current()
        if settings.code_location == "on":
            call.call_site = callsite.find_near(template)
        call._note_parameters(text, parameters, context, settings)
        if not engine.asynchronous and _get_running_loop() is not None:
            call.blocked_loop = True
        call._note_orm(context)
        if upstream_spans.are_made_elsewhere(connection):
            call.own_span = False
        call.cache_hit = getattr(context, "cache_hit", None)
        quiet = engine.suppresses_driver()  # nothing below can fail and need to be undone
        call._cursor = cursor
        call._context = context
        held = held_on(key)
        if held is not None:
            call.held = held
            held.inside += 1
        if quiet:
            call.quiet = True
            call._suppressing = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        scope.covered.set(id(context))
        call.began = perf_counter()
        return call

    def _note_parameters(self, text: str, parameters: Any, context: Any, settings: Any) -> None:
        if context.executemany:
            self.batch_size = _batch_size(parameters, context)
        elif settings.parameters != "off":
            self.keep_parameters(parameters)
            if settings.parameters == "full":
                self.extra = parameter_attributes(parameters)
        if settings.query_text == "raw":
            self.extra = {**(self.extra or {}), semconv.DB_QUERY_TEXT: text}

    def _note_orm(self, context: Any) -> None:
        """Record what the ORM was doing: the relationship that it loaded, or the class and flush that it wrote."""
        invoked = getattr(context, "invoked_statement", None)
        if invoked is None:
            return
        if context.isinsert or context.isupdate or context.isdelete:
            self.entity = self.model = orm.written(context)
            self.flush = orm.flush.get()
            if self.flush is None and len(context.compiled_parameters) > 1:
                self.flush = orm.Flush(orm.number_of(context), auto=False)
        elif invoked._propagate_attrs:  # else it is no query of the ORM
            self.loading = orm.loading(context)
            subject = invoked._propagate_attrs.get("plugin_subject")
            if subject is not None:
                self.model = subject.class_.__name__

    # -- The driver call ----------------------------------------------------------------------------------------

    def returned(self, _: Any) -> None:
        """The driver returned: the query ends if the driver fetched all rows, or there are none."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        cursor, context = self._cursor, self._context
        self._left_driver(context)  # whatever fails afterwards
        try:
            self._look_at_result(cursor, context)
        except Exception:  # a cursor may be anything; the query ran, whatever it says of itself
            failed("sqlalchemy.returned")
        if not self.fetching:
            self.finish()

    def _look_at_result(self, cursor: Any, context: Any) -> None:
        """Record the number of rows, and follow a result that is fetched later."""
        if not self.own_span:
            self.claim = upstream_spans.claim(context, self)
        if cursor.description is None:
            if self.statement.kind in _WRITES:
                self.affected = _row_count(cursor)
        elif context._is_server_side or context.execution_options.get("stream_results"):
            self.streamed = True
            self._follow_when_made(context)
        elif self.engine.buffers:
            self.rows = _row_count(cursor)
        elif not context.executemany and context.cursor_fetch_strategy.alternate_cursor_description is None:
            context.cursor_fetch_strategy = follow(context.cursor_fetch_strategy, self)
            self._keep_open()

    def raised(self, error: BaseException) -> None:
        """The driver raised: the query ends."""
        self.last = now = perf_counter()
        self.duration = self.executed = now - self.began
        context = self._context
        self._left_driver(context)
        try:
            if not self.own_span:
                self.claim = upstream_spans.claim(context, self)
        except Exception:
            failed("sqlalchemy.raised")
        self.finish(error)

    def _left_driver(self, _: Any) -> None:
        """Undo what was done for the time of the driver call. The record must not keep cursor and context alive."""
        if self.quiet:
            token, self._suppressing = self._suppressing, None
            detach(token)
        scope.covered.set(False)
        self._cursor = self._context = None
        held = self.held
        if held is not None:
            held.inside -= 1
            held.last = self.last

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
        self.rows = 0
        self.fetching = True
        self.watcher.keep_open(self)

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
        self.end()

    # -- In the drain -------------------------------------------------------------------------------------------

    def operation(self) -> Operation:
        """As a record of ``dbsight.model``."""
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
