"""sqlite3: connections and cursors of the standard library.

Its types are written in C and cannot be patched: ``connect`` makes connections of a subclass of the class that the
application asks for, by the library's own ``factory``, and those make cursors of a subclass. Both are called as their
base is: ``isinstance``, ``repr`` and errors are the same, ``type(connection) is sqlite3.Connection`` is not.
Connections that SQLAlchemy or aiosqlite open are left alone while those are instrumented, and so are connections that
were open before.

SQLite runs a statement while its rows are fetched: it ends with its rows, or when its cursor executes again, is closed
or is no longer referred to.
"""

from __future__ import annotations

import functools
import sqlite3
import sys
from time import perf_counter
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote
from weakref import ref

from dbsight import scope
from dbsight.instrument import dbapi
from dbsight.instrument.dbapi import Driver, DriverInstrumentor
from dbsight.instrument.dialects import sqlite_database
from dbsight.instrument.driver_call import WRITES, DriverCall
from dbsight.model import Database
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches

_MAKES_CURSORS: Final = sys.version_info >= (3, 11)
"""Whether ``execute`` of a connection makes its cursor without asking the method ``cursor``."""

_FACTORY: Final = 5
"""Position of ``factory`` among the arguments of ``connect``."""

driver: _SQLite | None = None
"""While it is instrumented."""

_still: dict[int, DriverCall] = {}
"""Its statements whose rows are being fetched, by the identity of the cursor."""


class _SQLite(Driver):
    system = "sqlite"
    upstream = ("opentelemetry.instrumentation.sqlite3", "SQLite3Instrumentor")

    def in_transaction(self, connection: Any) -> bool:
        return bool(connection.in_transaction)


def look(call: DriverCall, cursor: Any) -> None:
    """Note the rows of a statement that has run, or keep it open."""
    if cursor.description is not None:
        call.keep_open(cursor)
    elif call.statement.kind in WRITES and cursor.rowcount >= 0:
        call.affected = count = cursor.rowcount
        if call.many and not call.noted("batch_size") and count >= 2:
            call.have(batch_size=count)


def database_at(path: Any, *, uri: bool, identity: int) -> Database:
    """The database that ``connect`` is asked for; one in memory is told from the others by its connection."""
    name = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
    if uri and name.startswith("file:"):
        name, _, options = name[5:].partition("?")
        if "mode=memory" in options:
            name = ""
        name = unquote(name)
    if name and name != ":memory:":
        return sqlite_database(name)
    database = Database("sqlite", ":memory:")
    database.key = f"sqlite:///:memory:#{identity}"
    return database


# -- The subclasses ---------------------------------------------------------------------------------------------------


def _running(name: str, *, many: bool = False) -> Callable[..., Any]:
    """The method of cursors that executes: one function for each, without another call in it."""

    def run(self: Any, *arguments: Any) -> Any:
        execute = getattr(super(_Cursor, self), name)
        watching = driver
        if watching is None or not arguments:
            return execute(*arguments)
        try:
            connection = self.connection
            values = arguments[1] if len(arguments) > 1 else ()
            call = watching.begin(connection, self, arguments[0], values, many, False, True)
        except Exception:
            failed("sqlite3.begin")
            call = None
        if call is None:
            return execute(*arguments)
        try:
            result = execute(*arguments)
        except BaseException as error:
            call._cursor, call._connection = self, connection
            _guarded(call.raised, error)
            raise
        # ``DriverCall.returned`` written out, with the functions that it calls: each statement comes here.
        try:
            call.last = now = perf_counter()
            call.duration = call.executed = now - call.began
            if call.held is not None:
                call.held.inside -= 1
            if self.description is not None:
                call.rows = 0
                call.key = key = id(self)
                watching.open[key] = call
                call._dropped = ref(self, call.collected)
            else:
                look(call, self)
            if connection.in_transaction is (call.link.transaction is None):
                call.transaction_changed(connection)
        except Exception:  # a cursor may be anything; the statement ran, whatever it says of itself
            failed("sqlite3")
        if not call.key:
            _guarded(call.finish)
        return result

    run.__name__ = name
    run.__qualname__ = f"_Cursor.{name}"
    run.__doc__ = None
    return run


class _Cursor:
    """What a subclass of a class of cursors adds."""

    __slots__ = ()

    execute = _running("execute")
    executemany = _running("executemany", many=True)
    executescript = _running("executescript")

    def __next__(self) -> Any:
        call = _still.get(id(self))
        if call is None:
            return super().__next__()  # type: ignore[misc]
        began = perf_counter()
        try:
            row = super().__next__()  # type: ignore[misc]
        except BaseException as error:
            _stopped(call, began, error)
            raise
        # ``fetched`` written out: results are read row by row.
        call.last = now = perf_counter()
        call.duration += now - began
        call.rows = 1 + (call.rows or 0)
        return row

    def fetchone(self) -> Any:
        call = _still.get(id(self)) if _still else None
        if call is None:
            return super().fetchone()  # type: ignore[misc]
        began = perf_counter()
        try:
            row = super().fetchone()  # type: ignore[misc]
        except BaseException as error:
            _stopped(call, began, error)
            raise
        try:
            call.last = now = perf_counter()  # ``fetched`` written out here, too, and in ``fetchmany``
            call.duration += now - began
            if row is None:
                call.finish()
            else:
                call.rows = 1 + (call.rows or 0)
        except Exception:
            failed("sqlite3")
        return row

    def fetchmany(self, *arguments: Any, **named: Any) -> Any:
        call = _still.get(id(self)) if _still else None
        if call is None:
            return super().fetchmany(*arguments, **named)  # type: ignore[misc]
        began = perf_counter()
        try:
            rows = super().fetchmany(*arguments, **named)  # type: ignore[misc]
        except BaseException as error:
            _stopped(call, began, error)
            raise
        try:
            call.last = now = perf_counter()
            call.duration += now - began
            count = len(rows)
            call.rows = count + (call.rows or 0)
            # SQLite gives fewer rows than it was asked for only at the end.
            size: Any = arguments[0] if arguments else named.get("size", self.arraysize)  # type: ignore[attr-defined]
            if count < (size if size > 0 else 1):
                call.finish()
        except Exception:
            failed("sqlite3")
        return rows

    def fetchall(self) -> Any:
        call = _still.get(id(self)) if _still else None
        if call is None:
            return super().fetchall()  # type: ignore[misc]
        began = perf_counter()
        try:
            rows = super().fetchall()  # type: ignore[misc]
        except BaseException as error:
            _stopped(call, began, error)
            raise
        _guarded(call.fetched, began, len(rows), over=True)
        return rows

    def close(self) -> None:
        if _still:
            call = _still.get(id(self))
            if call is not None:
                _guarded(call.finish)
        super().close()  # type: ignore[misc]


class _Connection:
    """What a subclass of a class of connections adds."""

    __slots__ = ()

    def cursor(self, factory: Any = None) -> Any:
        if factory is None:
            factory = sqlite3.Cursor
        if driver is not None:
            wanted, kind = _latest  # nearly always the same
            if wanted is not factory:
                kind = _cursors_of(factory)
            factory = kind or factory
        return super().cursor(factory)  # type: ignore[misc]

    # Since Python 3.11 these make a cursor without asking ``cursor``; an application's own methods are left alone.

    def execute(self, *arguments: Any) -> Any:
        return _shortcut(self, "execute", super().execute, arguments)  # type: ignore[misc]

    def executemany(self, *arguments: Any) -> Any:
        return _shortcut(self, "executemany", super().executemany, arguments)  # type: ignore[misc]

    def executescript(self, *arguments: Any) -> Any:
        return _shortcut(self, "executescript", super().executescript, arguments)  # type: ignore[misc]

    def commit(self) -> None:
        _end(self, super().commit, "commit")  # type: ignore[misc]

    def rollback(self) -> None:
        _end(self, super().rollback, "rollback")  # type: ignore[misc]

    def close(self) -> None:
        _end(self, super().close, "rollback")  # type: ignore[misc]

    def __exit__(self, *error: object) -> Any:
        return _end(self, super().__exit__, "rollback" if error and error[0] else "commit", *error)  # type: ignore[misc]


@functools.lru_cache(maxsize=1000)
def _made(base: Any, adds: Any) -> Any:
    names = {
        "__slots__": () if base.__weakrefoffset__ else ("__weakref__",),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (adds, base), names)


_latest: tuple[Any, type | None] = (None, None)
"""The class of cursors that was asked for last, and the subclass of it."""


def _cursors_of(wanted: Any) -> type | None:
    global _latest  # noqa: PLW0603 - replaced whole: readers need no lock
    kind = _subclass(wanted, sqlite3.Cursor, _Cursor)
    _latest = (wanted, kind)
    return kind


def _subclass(wanted: Any, of: type, adds: Any) -> type | None:
    """A subclass of what the application asked for; None where that is no class of these."""
    if not isinstance(wanted, type) or not issubclass(wanted, of):
        return None
    if issubclass(wanted, adds):
        return wanted
    try:
        made: type = _made(wanted, adds)  # type: ignore[arg-type,unused-ignore]
    except Exception:  # a metaclass, or a class that allows no subclasses
        failed("sqlite3.subclass")
        return None
    return made


# -- What they do -----------------------------------------------------------------------------------------------------


def _shortcut(connection: Any, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if driver is None or not _MAKES_CURSORS or not isinstance(original, BuiltinMethodType):
        return original(*arguments)
    cursor = sqlite3.Connection.cursor(connection, _made(sqlite3.Cursor, _Cursor))
    return getattr(cursor, name)(*arguments)


def _stopped(call: DriverCall, began: float, error: BaseException) -> None:
    if isinstance(error, StopIteration):
        _guarded(call.fetched, began, 0, over=True)
    else:
        _guarded(call.fetch_failed, began, error)


def _end(connection: Any, function: Callable[..., Any], result: str, *arguments: Any) -> Any:
    ending = None
    if driver is not None:
        link = driver.links.get(id(connection))
        if link is not None and link.transaction is not None:
            ending = driver.ending(result)(connection)
    if ending is None:
        return function(*arguments)
    try:
        returned = function(*arguments)
    except BaseException as error:
        _guarded(ending.raised, error)
        raise
    _guarded(ending.returned, returned)
    return returned


def _guarded(function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    try:
        function(*arguments, **named)
    except Exception:
        failed("sqlite3")


# -- Connecting -------------------------------------------------------------------------------------------------------


def _connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement of ``connect``."""

    @functools.wraps(original)
    def connect(*arguments: Any, **named: Any) -> Any:
        kind = None
        # Of a ``creator``, too: what is asked of the connection later is SQLAlchemy's to report.
        if driver is not None and dbapi.above.isdisjoint((_caller(), scope.connecting.get())):
            wanted = arguments[_FACTORY] if len(arguments) > _FACTORY else named.get("factory", sqlite3.Connection)
            kind = _subclass(wanted, sqlite3.Connection, _Connection)
        if kind is None:
            return original(*arguments, **named)
        if len(arguments) > _FACTORY:
            arguments = (*arguments[:_FACTORY], kind, *arguments[_FACTORY + 1 :])
        else:
            named["factory"] = kind
        connection = original(*arguments, **named)
        try:
            if driver is not None:
                path = arguments[0] if arguments else named["database"]
                uri = arguments[7] if len(arguments) > 7 else named.get("uri", False)
                driver.adopt(connection, database_at(path, uri=bool(uri), identity=id(connection)))
        except Exception:
            failed("sqlite3.connect")
        return connection

    return connect


def _caller() -> str:
    """The package that connects."""
    return str(sys._getframe(2).f_globals.get("__name__")).partition(".")[0]


class SQLite3Instrumentor(DriverInstrumentor):
    """Instruments sqlite3; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one.

    Connections that were opened before are not instrumented.
    """

    library = "sqlite3"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Replace ``connect``."""
        global driver, _still  # noqa: PLW0603 - the subclasses outlive what instruments
        driver = _SQLite(provider)
        _still = driver.open
        driver.watch(patches)
        patches.at_undo(_stop)
        connect = _connecting(module.connect)
        for each in (module, module.dbapi2, sys.modules["_sqlite3"]):  # it is pickled by the name in the last one
            patches.replace(each, "connect", connect)


def _stop() -> None:
    global driver  # noqa: PLW0603 - as above
    driver = None
