"""SQLAlchemy: every statement of every engine, sync and async, Core and ORM.

Class-level listeners on ``Engine``, ``Pool`` and ``Session`` cover engines and connections that exist already and those
that come, async ones included. Between ``before_cursor_execute`` and the end of the result lies one ``Running``.
"""

from __future__ import annotations

from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, get_current, set_value
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import bus, config, scope, semconv, span
from dbsight.instrument import aiosqlite, callsite, claims, orm, transactions
from dbsight.instrument.dialects import buffers_rows, database_of, driver_is_instrumented, error_of
from dbsight.instrument.outcomes import was_cancelled
from dbsight.instrument.pools import held_by_connection
from dbsight.instrument.pools.sqlalchemy import PoolWatcher, aim_pool
from dbsight.instrument.results import follow
from dbsight.instrument.wrap import Patches, bound
from dbsight.model import Operation
from dbsight.safety import failed
from dbsight.statement import read
from dbsight.statement.parameters import VALUES_MATTER, hash_parameters, separate_values

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.trace import SpanContext, TracerProvider

    from dbsight.model import Database

_MAX_OPEN = 10_000
_WRITES = frozenset({"insert", "update", "delete"})
_SHADOWED = (
    "do_execute",
    "do_executemany",
    "do_execute_no_params",
    "do_commit",
    "do_rollback",
    "do_ping",
    "initialize",
    "set_isolation_level",
)
"""Methods of a dialect that call the driver: for queries, and for what keeps or sets up a connection."""


class Engine:
    """What is known of one engine: kept on its dialect, of which every engine has its own.

    Attributes:
        database: Where its statements run.
        buffers: The driver has fetched all rows when ``execute`` returns, and its rowcount counts them.
        asynchronous: The driver is an asyncio one.
    """

    __slots__ = ("__weakref__", "asynchronous", "buffers", "database")

    def __init__(self, dialect: Any, database: Database) -> None:
        self.database = database
        self.buffers = buffers_rows(dialect)
        self.asynchronous = bool(getattr(dialect, "is_async", False))


class Running:
    """One statement between the call of the driver and the end of its result.

    Attributes:
        operation: What is known of it so far.
        started: What its span needs.
        prepared: What its span has in common with others.
        engine: Where it runs.
        key: Identity of its DBAPI connection.
        began: When it began, on ``perf_counter``, s.
        last: When the last driver call returned, on ``perf_counter``.
        executed: s; of the execute call, 0 until it returned.
        streams: A server-side cursor, whose fetch strategy does not exist yet.
        over: It was published.
        elsewhere: Another instrumentation makes its span.
        claim: On that span, once it is found.
    """

    __slots__ = (
        "began",
        "claim",
        "elsewhere",
        "engine",
        "executed",
        "key",
        "last",
        "operation",
        "over",
        "prepared",
        "started",
        "streams",
        "watcher",
    )

    began: float

    def __init__(
        self,
        watcher: Watcher,
        engine: Engine,
        key: int,
        operation: Operation,
        prepared: span.Prepared,
        started: span.Started,
    ) -> None:
        self.watcher = watcher
        self.engine = engine
        self.key = key
        self.operation = operation
        self.prepared = prepared
        self.started = started
        self.last = 0.0
        self.executed = 0.0
        self.over = False
        self.streams = False
        self.elsewhere = False
        self.claim: claims.Claim | None = None

    def fetched(self, began: float, rows: int) -> None:
        """Add one fetch call that began at ``began`` (perf_counter) and gave ``rows`` rows."""
        self.last = now = perf_counter()
        operation = self.operation
        operation.duration += now - began
        operation.rows = rows + (operation.rows or 0)

    def returned(self, now: float) -> None:
        """The execute call returned, or raised, at ``now`` (perf_counter)."""
        self.last = now
        self.operation.duration = self.executed = now - self.began

    def finish(self, error: BaseException | None = None) -> None:
        """The query is over: publish it and make its span. Finishing twice is harmless. Never raises."""
        if self.over:
            return
        self.over = True
        self.watcher.open.pop(self.key, None)
        try:
            self._publish(error)
        except Exception:
            failed("sqlalchemy.finish")

    def _publish(self, error: BaseException | None) -> None:
        operation = self.operation
        if error is not None and not was_cancelled(error):
            operation.error_type, operation.error_code = error_of(error)
        if not self.executed:
            # The driver raised and no event told us so (skip_user_error_events).
            self.returned(perf_counter())
            operation.error_type = operation.error_type or "_OTHER"
        operation.end_ns = operation.start_ns + int((self.last - self.began) * 1e9)
        operation.fetch_time = operation.duration - self.executed
        held = held_by_connection.get(self.key)
        if held is not None:
            held.ran(operation, self.last)
        verdict = bus.observe(operation)
        if self.claim is not None:
            self.claim.settle(verdict)
        else:
            span.emit(self.started, operation, verdict, self.prepared)


class Watcher:
    """The listeners, and the statements that are running."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self.pipeline = span.Pipeline(provider)
        self.open: dict[int, Running] = {}  # by identity of the DBAPI connection
        self.dialects: WeakSet[Any] = WeakSet()

    # -- What SQLAlchemy tells ----------------------------------------------------------------------------------

    def before_cursor_execute(
        self, conn: Any, cursor: Any, text: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        """A statement is about to be given to the driver."""
        if context is None:
            return
        context._dbsight = None
        if not bus.listening() and not self.pipeline.live():
            return
        current = get_current()
        if current.get(_SUPPRESS_INSTRUMENTATION_KEY) or current.get("suppress_instrumentation"):
            return
        key = id(conn.connection.dbapi_connection)
        unfinished = self.open.get(key)
        if unfinished is not None:
            unfinished.finish()
        dialect = context.dialect
        engine = dialect.__dict__.get("_dbsight")
        if engine is None:
            engine = self._watch(dialect, conn)
        database = engine.database
        statement = read(text, database.system)
        prepared = span.prepare(statement, database)
        start_ns = time_ns()
        elsewhere = claims.are_made_elsewhere(conn)
        start = self.pipeline.place if elsewhere else self.pipeline.start
        started = start(prepared.name, prepared.attributes, start_ns, current)
        operation = Operation(statement, database, start_ns, 0.0)
        operation.context = started.context
        operation.parent = started.parent
        operation.origin = started.origin
        operation.thread = get_ident()
        operation.allowed = scope.allowed()
        settings = config.current()
        if executemany:
            operation.batch_size = _batch_size(parameters, context)
        elif settings.parameters != "off":
            operation.parameters = hash_parameters(parameters)
            if statement.limit is not None or statement.offset or statement.kind in VALUES_MATTER:
                operation.values = separate_values(parameters)
        if settings.code_location == "on":
            operation.call_site = callsite.find_near(prepared)
        if not engine.asynchronous:
            operation.blocked_loop = _get_running_loop() is not None
        _describe_orm(operation, context)
        if settings.query_text == "raw":
            started.extra = {**started.extra, semconv.DB_QUERY_TEXT: text}
        if settings.parameters == "full" and not executemany:
            started.extra = {**started.extra, **_parameter_attributes(parameters)}
        context._dbsight = running = Running(self, engine, key, operation, prepared, started)
        running.elsewhere = elsewhere
        if len(self.open) >= _MAX_OPEN:
            next(iter(self.open.values())).finish()
        self.open[key] = running
        running.began = running.last = perf_counter()

    def after_cursor_execute(
        self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        """The driver returned."""
        now = perf_counter()
        running = getattr(context, "_dbsight", None)
        if running is None or running.over:
            return
        try:
            running.returned(now)
            if running.elsewhere:
                running.claim = claims.claim(context, running.operation, running.prepared.attributes)
            self._executed(running, cursor, context)
        except Exception:
            failed("sqlalchemy.after_cursor_execute")
            running.finish()

    def _executed(self, running: Running, cursor: Any, context: Any) -> None:
        """Decide whether the query is over: it is when its driver has fetched the rows, or there are none."""
        if cursor.description is None:
            if running.operation.statement.kind in _WRITES:
                count = cursor.rowcount
                running.operation.affected = count if count is not None and count >= 0 else None
            running.finish()
        elif context._is_server_side or context.execution_options.get("stream_results"):
            running.streams = True  # the fetch strategy is made later: see after_execute
            if "do_execute" in context.dialect.__dict__:
                _suppress_first_fetch(context)
        elif running.engine.buffers:
            count = cursor.rowcount
            running.operation.rows = count if count is not None and count >= 0 else None
            running.finish()
        elif context.executemany or context.cursor_fetch_strategy.alternate_cursor_description is not None:
            running.finish()
        else:
            running.operation.rows = 0
            context.cursor_fetch_strategy = follow(context.cursor_fetch_strategy, running)

    def after_execute(self, conn: Any, *arguments: Any) -> None:
        """A result exists: follow the fetches of a server-side cursor."""
        result = arguments[-1]
        running = getattr(getattr(result, "context", None), "_dbsight", None)
        if running is not None and running.streams and not running.over:
            running.streams = False
            quiet = "do_execute" in conn.dialect.__dict__
            result.cursor_strategy = follow(result.cursor_strategy, running, quiet=quiet)

    def handle_error(self, exception_context: Any) -> None:
        """The driver, another listener or the event loop raised: the query is over."""
        running = getattr(exception_context.execution_context, "_dbsight", None)
        if running is not None and not running.over:
            now = perf_counter()
            if not running.executed:
                running.returned(now)
            running.last = now
            if running.elsewhere and running.claim is None:
                execution = exception_context.execution_context
                running.claim = claims.claim(execution, running.operation, running.prepared.attributes)
            running.finish(exception_context.original_exception)

    def engine_connect(self, conn: Any, *_: Any) -> None:
        """A connection is used: from now on the spans of its driver are suppressed."""
        self._suppress_driver(conn.dialect)

    def do_connect(self, dialect: Any, *_: Any) -> None:
        """A connection is about to be made: what the dialect asks its database first is no query of anybody."""
        self._suppress_driver(dialect)

    def root_ending(self, root: SpanContext | None) -> None:
        """A local root, or the process, is about to end: results that are still open in its trace are over."""
        if self.open:
            for running in list(self.open.values()):
                parent = running.started.parent
                if running.executed and (root is None or (parent is not None and parent.trace_id == root.trace_id)):
                    running.finish()

    # -- What is ours -------------------------------------------------------------------------------------------

    def _watch(self, dialect: Any, conn: Any) -> Engine:
        target = dialect.__dict__.get("_dbsight_target")
        if target is not None and not target.asked:  # the engine was connected before it was watched
            target.learn(conn.connection.dbapi_connection)
            aim_pool(conn.engine.pool, target)
        engine = Engine(dialect, target.database if target is not None else database_of(dialect, conn.engine.url))
        dialect._dbsight = engine
        self.dialects.add(dialect)
        return engine

    def _suppress_driver(self, dialect: Any) -> None:
        if "do_execute" in dialect.__dict__ or not driver_is_instrumented(dialect):
            return
        if config.current().suppress_driver_spans:
            self.dialects.add(dialect)
            _shadow(dialect)
            if dialect.driver == "aiosqlite":
                aiosqlite.carry_context()

    def forget(self) -> None:
        """Leave nothing behind on the dialects."""
        for running in list(self.open.values()):
            running.finish()
        for dialect in list(self.dialects):
            for name in ("_dbsight", *_SHADOWED):
                dialect.__dict__.pop(name, None)
        self.dialects.clear()
        aiosqlite.leave_context()


def _describe_orm(operation: Operation, context: Any) -> None:
    """Say what the ORM was doing: which relationship it loaded, or which class it wrote in which flush."""
    loading = orm.loading(context)
    if loading is not None:
        operation.relationship = loading.relationship
        operation.load = loading.load
        operation.entity = loading.entity
        operation.to_many = loading.to_many
    elif context.isinsert or context.isupdate or context.isdelete:
        operation.entity = orm.written(context)
        flush = orm.flush.get()
        if flush is not None:
            operation.flush = flush.number
            operation.autoflush = flush.auto
        elif len(context.compiled_parameters) > 1:
            operation.flush = orm.number_of(context)


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


def _parameter_attributes(parameters: Any) -> dict[str, str]:
    """``db.query.parameter.<key>``, for those who asked for it."""
    pairs = parameters.items() if isinstance(parameters, dict) else enumerate(parameters or ())
    return {f"{semconv.DB_QUERY_PARAMETER}{key}": str(value) for key, value in pairs}


def _suppress_first_fetch(context: Any) -> None:
    """Suppress the driver's spans while the result of a server-side cursor is made: that fetches the first row."""
    make = context._setup_result_proxy

    def shadow() -> Any:
        del context._setup_result_proxy
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            return make()
        finally:
            detach(token)

    context._setup_result_proxy = shadow


def _shadow(dialect: Any) -> None:
    """Run the driver calls of this dialect with instrumentation suppressed.

    Around the call itself, never by a token carried from one event to another: that leaks when a listener of the
    application raises.
    """
    for name in _SHADOWED:
        setattr(dialect, name, bound(getattr(dialect, name), _Suppressing))


class _Suppressing:
    """One driver call, in which instrumentation is suppressed."""

    __slots__ = ("_token",)

    def __init__(self, _: Any) -> None:
        self._token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))

    def returned(self, _: Any) -> None:
        detach(self._token)

    raised = returned


class SQLAlchemyInstrumentor(BaseInstrumentor):
    """Watches every SQLAlchemy engine of the process; see ``opentelemetry.instrumentation`` for the interface.

    ``instrument(tracer_provider=…, meter_provider=…)`` sends spans and the states of pools to those providers, else to
    the global ones.
    """

    _watcher: Watcher | None = None
    _pools: PoolWatcher[Running] | None = None
    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """SQLAlchemy's versions that this works with."""
        return ("sqlalchemy >= 1.4",)

    def _instrument(self, **kwargs: Any) -> None:
        from sqlalchemy.engine import Engine as SQLAlchemyEngine
        from sqlalchemy.orm import Session

        watcher = self._watcher = Watcher(kwargs.get("tracer_provider"))
        patches = self._patches = Patches()
        for name in (
            "before_cursor_execute",
            "after_cursor_execute",
            "after_execute",
            "handle_error",
            "engine_connect",
            "do_connect",
        ):
            patches.listen(SQLAlchemyEngine, name, getattr(watcher, name))
        for name, listener in transactions.LISTENERS:
            patches.listen(SQLAlchemyEngine, name, listener)
        patches.listen(Session, "before_flush", orm.before_flush)
        patches.listen(Session, "after_flush", orm.after_flush)
        patches.listen(Session, "after_soft_rollback", orm.after_flush)
        patches.listen(Session, "after_begin", transactions.session_began)
        bus.on_root_ending(watcher.root_ending)
        self._pools = PoolWatcher(watcher.open, Running.finish)
        self._pools.install(kwargs.get("meter_provider"))

    def _uninstrument(self, **kwargs: Any) -> None:
        watcher = self._watcher
        if watcher is None:
            return
        bus.off_root_ending(watcher.root_ending)
        if self._pools is not None:
            self._pools.uninstall()
            self._pools = None
        if self._patches is not None:
            self._patches.undo()
            self._patches = None
        watcher.forget()
        self._watcher = None
