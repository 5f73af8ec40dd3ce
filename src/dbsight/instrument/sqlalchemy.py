"""SQLAlchemy: all statements of all engines, sync and async, Core and ORM.

The methods by which a dialect calls its driver are wrapped on the classes that define them, so that existing
engines and connections are instrumented, too. Events of ``Engine`` are the public API, but a single listener makes
SQLAlchemy prepare and dispatch events for every statement, which adds a fifth to its time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import catalog, config, recording, span
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
from dbsight.instrument.results import following
from dbsight.instrument.sqlalchemy_call import SetUp, StatementCall, begin
from dbsight.instrument.sqlalchemy_replay import ReplayableCall
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches
from dbsight.recording import consumers
from dbsight.statement import read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

    from opentelemetry.trace import TracerProvider

    from dbsight.config import Settings
    from dbsight.model import Database, Statement

_MAX_KNOWN = 1000
_EXECUTES: Final = {"do_execute": (1, 4), "do_executemany": (1, 4), "do_execute_no_params": (1, 3)}
"""Methods of a dialect that execute a statement, and the places of cursor and context among their parameters."""

_SETS_UP: Final = ("do_commit", "do_rollback", "do_ping", "set_isolation_level")
"""Methods of a dialect that call the driver to keep or set up a connection."""


class Engine:
    """Facts about one engine, stored on its dialect, of which every engine has its own.

    Attributes:
        database: The database of its statements.
        buffers: The driver has fetched all rows when ``execute`` returns, and its rowcount counts them.
        asynchronous: The driver is an asyncio one.
        libpq: Its cursors have the result of libpq (psycopg).
        plain: The class of connections on which nothing else can report a statement; None where any may.
        single: How SQLAlchemy 2 marks an execution with one set of parameters; None before, where it is asked.
        module: The module of OpenTelemetry's instrumentor for the driver.
        known: Statement and template of texts that ran lately.
        factory: Makes the spans.
        open: Statements with open results, of all engines.
        fetch: The fetch strategy of nearly all results.
        followed: The class of what follows it.
    """

    __slots__ = (
        "__weakref__",
        "_instrumentor",
        "asynchronous",
        "buffers",
        "database",
        "factory",
        "fetch",
        "followed",
        "known",
        "libpq",
        "module",
        "open",
        "plain",
        "single",
    )

    def __init__(self, dialect: Any, database: Database, watcher: Watcher) -> None:
        self.database = database
        self.factory = watcher.factory
        self.open = watcher.open
        self.fetch = sys.modules["sqlalchemy.engine.cursor"].__dict__.get("_DEFAULT_FETCH")
        self.followed = following(type(self.fetch))
        self.known: dict[str, tuple[Statement, span.SpanTemplate]] = {}
        self.buffers = buffers_rows(dialect)
        self.asynchronous = bool(getattr(dialect, "is_async", False))
        self.module, self._instrumentor = instrumentor_of(dialect)
        self.libpq = getattr(dialect, "driver", "") == "psycopg" and not self.asynchronous
        base = sys.modules["sqlalchemy.engine.default"]
        calls_itself = any(getattr(type(dialect), name) is not getattr(base.DefaultDialect, name) for name in _EXECUTES)
        sqlite = sys.modules.get("_sqlite3")
        # Written in C, which nobody patches: a connection that somebody watches is of another class.
        self.plain = sqlite.Connection if sqlite is not None and not calls_itself else None
        self.single = getattr(base.DefaultExecutionContext, "execute_style", None)

    def learn(self, text: str) -> tuple[Statement, span.SpanTemplate]:
        """Statement and template of a text, remembered."""
        statement = read(text, self.database.system)
        if len(self.known) >= _MAX_KNOWN:
            self.known.clear()
        known = self.known[text] = (statement, span.template_of(statement, self.database))
        return known

    def suppresses_driver(self) -> bool:
        """Whether the spans of an instrumented driver (asyncpg, sqlite3 …) are suppressed."""
        loaded = sys.modules.get(self.module)
        if loaded is None:
            return False
        # A singleton: the constructor returns the existing one.
        active = getattr(loaded, self._instrumentor)().is_instrumented_by_opentelemetry
        return bool(active) and config.current().suppress_driver_spans


class Watcher:
    """The wrapped classes, and the statements with open results.

    Attributes:
        factory: Makes the spans.
        open: Statements with open results, by identity of the DBAPI connection.
        calls: The class of what is recorded of a statement.
        extended: Whether that does more as a statement enters and leaves the driver.
        settings: Those that were in force for the latest statement.
        usual: The same, if by them call sites are found, bound values are hashed, and nothing else becomes of these
            or of the text.
    """

    settings: Settings

    def __init__(self, provider: TracerProvider | None) -> None:
        self.factory = span.SpanFactory(provider)
        self.open: dict[int, StatementCall] = {}
        self._patches = Patches()
        self._known: set[type] = set()
        self.calls: type[StatementCall] = StatementCall
        self.extended = False
        self.usual: object = self
        self.is_usual(config.current())
        self.commenting = self.settings.sqlcommenter
        self._run = self._execute_commented if self.commenting else self._execute

    def keep_replays(self, policy: replays.Policy | None) -> None:
        """Keep what plans are asked for with, and list what runs, or no longer."""
        plans = policy is not None and policy.plans
        ReplayableCall.policy = policy if plans else None
        if policy is None or not policy.blocking:
            blocking.watch.stop()
            self.calls = ReplayableCall if plans else StatementCall
        else:
            blocking.watch.slow = policy.lowest
            self.calls = blocking.RunningReplayableCall if plans else blocking.RunningCall
        self.extended = self.calls is not StatementCall

    def is_usual(self, settings: Settings) -> bool:
        """Note the settings in force, and whether they are the usual ones."""
        usual = settings.code_location == "on" and settings.parameters == "hash" and settings.query_text != "raw"
        self.usual = settings if usual else self
        self.settings = settings
        return usual

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
                    self._patches.wrap(kind, name, begin=hook, given=_EXECUTES.get(name, ()))

    _execute = begin

    def _execute_commented(
        self, dialect: Any, cursor: Any, statement: str, parameters: Any, context: Any = None
    ) -> StatementCall | SetUp | None:
        """As ``_execute`` while comments are added: they differ, and the statement is looked up by its text."""
        known = context.__dict__ if context is not None else {}
        call = self._execute(dialect, cursor, known.get(sql_comments.PLAIN) or statement, parameters, context)
        if sql_comments.MARKS in known and isinstance(call, StatementCall):
            call.add(known[sql_comments.MARKS])
        return call

    def _execute_plain(
        self, dialect: Any, cursor: Any, statement: str, context: Any = None
    ) -> StatementCall | SetUp | None:
        return self._run(dialect, cursor, statement, (), context)

    def engine(self, dialect: Any, context: Any) -> Engine:
        """Make the facts about an engine that runs its first statement here."""
        target = dialect.__dict__.get("_dbsight_target")
        if target is not None and not target.asked:  # the engine was connected before it was instrumented
            proxy = context.root_connection._dbapi_connection
            target.learn(getattr(proxy, "dbapi_connection", proxy))
            aim_pool(context.engine.pool, target)
        database = target.database if target is not None else database_of(dialect, context.engine.url)
        dialect._dbsight = engine = Engine(dialect, database, self)
        return engine

    @staticmethod
    def _initialize(dialect: Any) -> SetUp:
        """Mark the queries that a dialect runs on its first connection as setup."""
        if getattr(dialect, "driver", "") == "aiosqlite":
            aiosqlite.carry_context()
        return SetUp(suppressing=True)

    def _set_up(self, dialect: Any) -> SetUp | None:
        if not consumers.awake and self.factory.idle():
            return None  # nothing is recorded of what the driver is asked
        engine = dialect.__dict__.get("_dbsight")  # made by the first query, which a ping may precede
        return SetUp(suppressing=engine is None or engine.suppresses_driver())

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
        recording.finish_with_roots(watcher.open)
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
            recording.leave_at_roots(self._watcher.open)
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
