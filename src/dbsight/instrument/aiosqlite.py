"""aiosqlite: statements are recorded where they are awaited, not in the thread that runs them.

Every call goes through ``Connection._execute``, which queues a function of the connection or cursor of sqlite3 for a
thread of its own; the name of the function says what it does. Private, the same in aiosqlite 0.17 to 0.22.

That thread knows nothing of the caller's context: the spans of an sqlite3 that OpenTelemetry's own instrumentor watches
become roots without a parent, and instrumentation that is suppressed for a task is not suppressed there. Below
SQLAlchemy each call that aiosqlite queues therefore takes the context of its caller along (``carry_context``).
"""

from __future__ import annotations

import functools
import sqlite3
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument import dbapi
from dbsight.instrument.dbapi import Driver, DriverInstrumentor
from dbsight.instrument.sqlite3 import database_at, look
from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.driver_call import DriverCall

_patches: Final = Patches()


class _Carried:
    """One call: ``fn`` takes the place of the function that is queued."""

    __slots__ = ("fn",)

    def __init__(self, connection: Any, fn: Any) -> None:
        self.fn = functools.partial(copy_context().run, fn)

    def returned(self, _: Any) -> None:
        """It ran."""

    raised = returned


def carry_context() -> None:
    """From now on every call of every aiosqlite connection runs in its caller's context. Doing it twice is once."""
    if not _patches:
        from aiosqlite.core import Connection

        _patches.wrap(Connection, "_execute", begin=_Carried, changes=("fn",))


def leave_context() -> None:
    """Undo ``carry_context``."""
    _patches.undo()


class _AioSQLite(Driver):
    system = "sqlite"
    upstream = ("opentelemetry.instrumentation.sqlite3", "SQLite3Instrumentor")
    asynchronous = True

    def in_transaction(self, connection: Any) -> bool:
        return bool(connection._conn.in_transaction)

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        if isinstance(result, sqlite3.Cursor):
            look(call, result)
        elif type(result) is list:  # execute_fetchall
            call.rows = len(result)
        elif result is not None:  # execute_insert
            call.affected = 1

    def made(self, connection: Any, database: Any, iter_chunk_size: Any, loop: Any, kwargs: Any) -> None:
        """``connect`` made a connection."""
        self.adopt(connection, database_at(database, uri=bool(kwargs.get("uri")), identity=id(connection)))

    def queueing(self, connection: Any, fn: Any, args: Any) -> Any:
        """A function is queued for the thread."""
        name = getattr(fn, "__name__", "")
        many = _EXECUTIONS.get(name)
        if many is not None:
            owner = getattr(fn, "__self__", None)
            values = args[1] if len(args) > 1 else ()
            cursor = owner if isinstance(owner, sqlite3.Cursor) else None
            return self.begin(connection, cursor, args[0], values, many=many)
        ending = _ENDINGS.get(name)
        if not self.open and ending is None:
            return None
        owner = getattr(fn, "__self__", None)
        if isinstance(owner, sqlite3.Cursor):
            if name == "fetchall":
                return self.fetching_all(owner)
            if name in {"fetchone", "fetchmany"}:
                return self.fetching(owner)
            if name == "close":
                self.closing(owner)
        elif ending is not None:
            return self.ending(ending)(connection)
        return None


_EXECUTIONS: Final = {
    "execute": False,
    "executescript": False,
    "_execute_insert": False,
    "_execute_fetchall": False,
    "executemany": True,
}
"""Functions that execute a statement, and whether with several sets of parameters."""

_ENDINGS: Final = {"commit": "commit", "rollback": "rollback", "close": "rollback"}


class AioSQLiteInstrumentor(DriverInstrumentor):
    """Instruments aiosqlite; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one."""

    library = "aiosqlite"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its connections."""
        driver = _AioSQLite(provider)
        driver.watch(patches)
        patches.wrap(module.core.Connection, "_execute", begin=driver.queueing)
        patches.wrap(module.core, "connect", after=driver.made)
        patches.replace(module, "connect", module.core.connect)

    def _instrument(self, **kwargs: Any) -> None:
        super()._instrument(**kwargs)
        if self._patches is not None:
            dbapi.above.add("aiosqlite")
            self._patches.at_undo(lambda: dbapi.above.discard("aiosqlite"))
