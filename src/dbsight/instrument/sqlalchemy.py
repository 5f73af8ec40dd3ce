"""SQLAlchemy: all statements of all engines, sync and async, Core and ORM.

The methods by which a dialect calls its driver are wrapped on the classes that define them, so that existing
engines and connections are instrumented, too. Events of ``Engine`` are the public API, but a single listener makes
SQLAlchemy prepare and dispatch events for every statement, which adds a fifth to its time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import catalog, config, recording, scope, span
from dbsight.instrument import (
    aiosqlite,
    blocking,
    dbapi,
    loads,
    models,
    orm,
    replays,
    sql_comments,
    sqlalchemy_loads,
    transactions,
)
from dbsight.instrument.dialects import buffers_rows, database_of, instrumentor_of
from dbsight.instrument.pools.sqlalchemy import PoolWatcher, aim_pool
from dbsight.instrument.sqlalchemy_call import StatementCall
from dbsight.instrument.sqlalchemy_replay import ReplayableCall
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches
from dbsight.statement import read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

    from opentelemetry.trace import SpanContext, TracerProvider

    from dbsight.model import Database, Statement

_MAX_OPEN = 10_000
_MAX_KNOWN = 1000
_SETS_UP: Final = ("do_commit", "do_rollback", "do_ping", "set_isolation_level")
"""Methods of a dialect that call the driver to keep or set up a connection."""


class Engine:
    """Facts about one engine, stored on its dialect, of which every engine has its own.

    Attributes:
        database: The database of its statements.
        buffers: The driver has fetched all rows when ``execute`` returns, and its rowcount counts them.
        asynchronous: The driver is an asyncio one.
        known: Statement and template of texts that ran lately.
    """

    __slots__ = ("__weakref__", "_instrumentor", "_module", "asynchronous", "buffers", "database", "known")

    def __init__(self, dialect: Any, database: Database) -> None:
        self.database = database
        self.known: dict[str, tuple[Statement, span.SpanTemplate]] = {}
        self.buffers = buffers_rows(dialect)
        self.asynchronous = bool(getattr(dialect, "is_async", False))
        self._module, self._instrumentor = instrumentor_of(dialect)

    def learn(self, text: str) -> tuple[Statement, span.SpanTemplate]:
        """Statement and template of a text, remembered."""
        statement = read(text, self.database.system)
        if len(self.known) >= _MAX_KNOWN:
            self.known.clear()
        known = self.known[text] = (statement, span.template_of(statement, self.database))
        return known

    def suppresses_driver(self) -> bool:
        """Whether the spans of an instrumented driver (asyncpg, sqlite3 …) are suppressed."""
        loaded = sys.modules.get(self._module)
        if loaded is None:
            return False
        # A singleton: the constructor returns the existing one.
        active = getattr(loaded, self._instrumentor)().is_instrumented_by_opentelemetry
        return bool(active) and config.current().suppress_driver_spans


class _SetUp:
    """One call, of which no driver reports anything."""

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


class Watcher:
    """The wrapped classes, and the statements with open results."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self.factory = span.SpanFactory(provider)
        self.open: dict[int, StatementCall] = {}  # by identity of the DBAPI connection
        self._patches = Patches()
        self._known: set[type] = set()
        self._calls: type[StatementCall] = StatementCall
        self.commenting = config.current().sqlcommenter
        self._run = self._execute_commented if self.commenting else self._execute

    def keep_replays(self, policy: replays.Policy | None) -> None:
        """Keep what plans are asked for with, and list what runs, or no longer."""
        plans = policy is not None and policy.plans
        ReplayableCall.policy = policy if plans else None
        if policy is None or not policy.blocking:
            blocking.watch.stop()
            self._calls = ReplayableCall if plans else StatementCall
        else:
            blocking.watch.slow = policy.lowest
            self._calls = blocking.RunningReplayableCall if plans else blocking.RunningCall

    def watch(self, dialect: type) -> None:
        """Wrap the methods of a dialect's class, and of the classes that it is derived from, each once."""
        for kind in dialect.__mro__:
            if kind in self._known or kind is object:
                continue
            self._known.add(kind)
            hooks: tuple[tuple[str, Callable[..., Any]], ...] = (
                ("do_execute", self._run),
                ("do_executemany", self._run),
                ("do_execute_no_params", self._execute_plain),
                ("initialize", self._initialize),
                *((name, self._set_up) for name in _SETS_UP),
            )
            for name, hook in hooks:
                if callable(vars(kind).get(name)) and kind.__name__ != "Dialect":
                    self._patches.wrap(kind, name, begin=hook)

    def _execute(
        self, dialect: Any, cursor: Any, statement: str, parameters: Any, context: Any = None
    ) -> StatementCall | _SetUp | None:
        try:
            engine = dialect._dbsight
        except AttributeError:
            if context is None:
                return None
            engine = self._engine(dialect, context)
        if context is None:
            return _SetUp(suppressing=engine.suppresses_driver())
        if scope.covered.get() == id(context):  # a method that calls the same one of its base class
            return None
        return self._calls.begin(self, engine, cursor, statement, parameters, context)

    def _execute_commented(
        self, dialect: Any, cursor: Any, statement: str, parameters: Any, context: Any = None
    ) -> StatementCall | _SetUp | None:
        """As ``_execute`` while comments are added: they differ, and the statement is looked up by its text."""
        known = context.__dict__ if context is not None else {}
        call = self._execute(dialect, cursor, known.get(sql_comments.PLAIN) or statement, parameters, context)
        if sql_comments.MARKS in known and isinstance(call, StatementCall):
            call.extra = {**(call.extra or {}), **known[sql_comments.MARKS]}
        return call

    def _execute_plain(
        self, dialect: Any, cursor: Any, statement: str, context: Any = None
    ) -> StatementCall | _SetUp | None:
        return self._run(dialect, cursor, statement, (), context)

    @staticmethod
    def _engine(dialect: Any, context: Any) -> Engine:
        target = dialect.__dict__.get("_dbsight_target")
        if target is not None and not target.asked:  # the engine was connected before it was instrumented
            proxy = context.root_connection._dbapi_connection
            target.learn(getattr(proxy, "dbapi_connection", proxy))
            aim_pool(context.engine.pool, target)
        database = target.database if target is not None else database_of(dialect, context.engine.url)
        dialect._dbsight = engine = Engine(dialect, database)
        return engine

    @staticmethod
    def _initialize(dialect: Any) -> _SetUp:
        """Mark the queries that a dialect runs on its first connection as setup."""
        if getattr(dialect, "driver", "") == "aiosqlite":
            aiosqlite.carry_context()
        return _SetUp(suppressing=True)

    @staticmethod
    def _set_up(dialect: Any) -> _SetUp:
        engine = dialect.__dict__.get("_dbsight")  # made by the first query, which a ping may precede
        return _SetUp(suppressing=engine is None or engine.suppresses_driver())

    def keep_open(self, call: StatementCall) -> None:
        """Keep a statement until its result ends."""
        if len(self.open) >= _MAX_OPEN:
            next(iter(self.open.values())).finish()
        self.open[call.key] = call

    def root_ending(self, root: SpanContext | None) -> None:
        """A local root, or the process, is about to end: finish results that are still open in its trace."""
        if self.open:
            for call in list(self.open.values()):
                parent = call.parent
                if root is None or (parent is not None and parent.trace_id == root.trace_id):
                    call.finish()

    def forget(self) -> None:
        """Restore the wrapped methods."""
        for call in list(self.open.values()):
            call.finish()
        self._patches.undo()
        aiosqlite.leave_context()


class SQLAlchemyInstrumentor(BaseInstrumentor):
    """Instruments all SQLAlchemy engines of the process; see ``opentelemetry.instrumentation`` for the interface.

    ``instrument(tracer_provider=…, meter_provider=…)`` sends spans and the states of pools to those providers, else to
    the global ones.
    """

    _watcher: Watcher | None = None
    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Supported versions of SQLAlchemy."""
        return catalog.requirements("sqlalchemy")

    def _instrument(self, **kwargs: Any) -> None:
        watcher = self._watcher = Watcher(kwargs.get("tracer_provider"))
        patches = self._patches = Patches()
        transactions.emit_with(watcher.factory)
        patches.at_undo(lambda: transactions.emit_with(None))
        carry_windows(patches)
        dbapi.above.add("sqlalchemy")
        recording.on_root_ending(watcher.root_ending)
        replays.follow(watcher.keep_replays)
        loads.follow(sqlalchemy_loads.switch)

        first = "sqlalchemy" not in sys.modules

        def core_imported(_: ModuleType) -> None:
            patches.at_undo(watcher.forget)
            watcher.watch(sys.modules["sqlalchemy.engine.default"].DefaultDialect)
            engine = sys.modules["sqlalchemy.engine.base"]
            if watcher.commenting:
                patches.change(engine.Engine, "before_cursor_execute", sql_comments.comment)
            for kind in (engine.RootTransaction, engine.TwoPhaseTransaction):
                for name, hook in transactions.HOOKS:
                    patches.wrap(kind, name, before=hook)
            pools = PoolWatcher(watcher.open, StatementCall.finish, watcher.watch)
            patches.at_undo(pools.uninstall)
            pools.install(kwargs.get("meter_provider"), first=first)

        patches.when_imported("sqlalchemy", core_imported)
        patches.when_imported("sqlalchemy.orm", lambda orm: _listen(orm, patches))

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._watcher is not None:
            dbapi.above.discard("sqlalchemy")
            recording.off_root_ending(self._watcher.root_ending)
            replays.unfollow(self._watcher.keep_replays)
            loads.unfollow(sqlalchemy_loads.switch)
            self._watcher.keep_replays(None)
            self._watcher = None
        if self._patches is not None:
            self._patches.undo()
            self._patches = None


def _listen(module: Any, patches: Patches) -> None:
    models.listen(module.Mapper, patches)
    session = module.Session
    patches.listen(session, "before_flush", orm.before_flush)
    patches.listen(session, "after_flush", orm.after_flush)
    patches.listen(session, "after_soft_rollback", orm.after_flush)
    patches.listen(session, "after_begin", transactions.session_began)
