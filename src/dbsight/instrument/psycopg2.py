"""psycopg2: connections and cursors of the C extension, named cursors, COPY and the batches of ``psycopg2.extras``.

Its types are written in C and check their arguments in C, so no proxy can stand for them: connections and cursors are
of subclasses (``subclassing.py``), which ``connection_factory`` and ``cursor_factory`` make. ``isinstance`` and
``register_type`` hold; ``type(connection) is psycopg2.extensions.connection`` does not. Not watched: connections that
were opened before, whose factory is no class, that are for replication, or that are made without ``connect``.

``connect`` itself is left alone: it calls the private ``psycopg2._connect``, psycopg2 2.8 and 2.9, which is replaced.
The rows of a client-side cursor are there when ``execute`` returns; those of a named cursor are fetched later. A
statement of an asynchronous connection (``async_=True``) ends when it was sent.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument import dbapi
from dbsight.instrument.dbapi import Driver, DriverInstrumentor
from dbsight.instrument.driver_call import WRITES, DriverCall
from dbsight.instrument.pools.drivers import libpq
from dbsight.instrument.subclassing import Subclasses, run, started
from dbsight.model import Database
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches

_OPEN: Final = frozenset((1, 2, 3))
"""libpq's states of a connection in a transaction: a statement runs, none does, one failed."""

driver: _Psycopg2 | None = None
"""While it is instrumented."""


class _Psycopg2(Driver):
    system = "postgresql"
    upstream = ("opentelemetry.instrumentation.psycopg2", "Psycopg2Instrumentor")

    def __init__(self, extensions: Any, provider: TracerProvider | None) -> None:
        super().__init__(provider)
        self.connections = Subclasses(extensions.connection, _Connection)
        self.cursors = Subclasses(extensions.cursor, _Cursor)
        self.hooked = self.cursors.hooked
        self.named_cursors = Subclasses(extensions.cursor, _NamedCursor)
        self.replication = getattr(sys.modules["psycopg2._psycopg"], "ReplicationConnection", ())

    def where(self, connection: Any) -> Database:
        address, port, namespace = libpq(connection)
        return Database("postgresql", namespace, address, port)

    def in_transaction(self, connection: Any) -> bool:
        return connection.get_transaction_status() in _OPEN

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        if type(result) is list:  # execute_values with fetch=True
            call.rows = len(result)
        elif cursor is None or cursor.rowcount < 0:
            if cursor is not None and cursor.name is not None:
                call.keep_open(cursor)
        elif cursor.name is not None:
            call.keep_open(cursor)
        elif cursor.description is not None:
            call.rows = cursor.rowcount
        elif call.statement.kind in WRITES:
            call.affected = cursor.rowcount
            if call.many and not call.noted("batch_size") and call.affected >= 2:
                call.have(batch_size=call.affected)

    def render(self, text: Any, cursor: Any) -> str:
        return str(text.as_string(cursor)) if hasattr(text, "as_string") else str(text)

    # -- The hooks ----------------------------------------------------------------------------------------------

    def executing_many(self, cursor: Any, query: Any, values: Any) -> DriverCall | None:
        """One statement, with several sets of parameters."""
        connection = cursor.connection
        call = self.begin(connection, cursor, query, values, many=True)
        if call is not None and connection.async_:
            call.have(blocked_loop=False)
        return call

    def calling(self, cursor: Any, name: Any, values: Any = None) -> DriverCall | None:
        """A function of the database."""
        text = f"SELECT * FROM {name}({dbapi.placeholders(values)})"  # noqa: S608 - it is read, not sent
        return self.begin(cursor.connection, cursor, text, values or ())

    def copying(self, cursor: Any, text: Any, received: bool) -> _Copying | None:
        """COPY in either direction."""
        call = self.begin(cursor.connection, cursor, text)
        return _Copying(call, cursor, received) if call is not None else None

    def executing_values(
        self, cur: Any, sql: Any, argslist: Any, template: Any = None, page_size: Any = 100
    ) -> DriverCall | None:
        """``execute_values``: one statement, however many pages are sent."""
        call = self.begin(cur.connection, cur, sql, argslist, many=True, nested=True)
        if call is not None and not (hasattr(argslist, "__len__") and len(argslist) <= page_size):
            call._cursor = None  # it counts the rows of the last page alone
        return call

    def executing_batch(self, cur: Any, sql: Any, argslist: Any) -> DriverCall | None:
        """``execute_batch``: the same; the cursor counts the rows of the last statement alone."""
        call = self.begin(cur.connection, cur, sql, argslist, many=True, nested=True)
        if call is not None:
            call._cursor = None
        return call

    # -- The factories ------------------------------------------------------------------------------------------

    def connecting(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of ``_connect`` by which it makes a connection that is watched."""
        wanted = arguments[1] if len(arguments) > 1 else named.get("connection_factory")
        kind = None
        if not (isinstance(wanted, type) and issubclass(wanted, self.replication)):
            kind = self.connections.of(wanted or self.connections.base)
        return _given("connection_factory", kind, arguments, named)

    def making(
        self, connection: Any, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of ``cursor`` by which it makes a cursor that is watched."""
        name = arguments[0] if arguments else named.get("name")
        wanted = arguments[1] if len(arguments) > 1 else named.get("cursor_factory")
        kinds = self.cursors if name is None else self.named_cursors
        kind = kinds.of(wanted or connection.cursor_factory or kinds.base)
        return _given("cursor_factory", kind, arguments, named)


def _given(
    name: str, kind: type | None, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with another factory, the second of them."""
    if kind is None:
        return arguments, named
    if len(arguments) > 1:
        return (arguments[0], kind, *arguments[2:]), named
    return arguments, {**named, name: kind}


class _Copying:
    """One COPY: rows returned, or affected."""

    __slots__ = ("_call", "_cursor", "_received")

    def __init__(self, call: DriverCall, cursor: Any, received: bool) -> None:
        self._call = call
        self._cursor = cursor
        self._received = received
        call._cursor = None

    def returned(self, result: Any) -> None:
        """All rows were moved."""
        count = self._cursor.rowcount
        if count >= 0 and self._received:
            self._call.rows = count
        elif count >= 0:
            self._call.affected = count
        self._call.returned(None)

    def raised(self, error: BaseException) -> None:
        """It failed."""
        self._call.raised(error)


# -- What the subclasses add ------------------------------------------------------------------------------------------


class _Connection:
    __slots__ = ()

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        watching = driver
        if watching is not None and not arguments and not named and self.cursor_factory is None:  # type: ignore[attr-defined]
            return super().cursor(cursor_factory=watching.hooked)  # type: ignore[misc]
        if watching is not None:
            arguments, named = started(watching.making, self, arguments, named) or (arguments, named)
        return super().cursor(*arguments, **named)  # type: ignore[misc]

    def commit(self) -> None:
        run(_ending(self, "commit"), super().commit)  # type: ignore[misc]

    def rollback(self) -> None:
        run(_ending(self, "rollback"), super().rollback)  # type: ignore[misc]

    def reset(self) -> None:
        run(_ending(self, "rollback"), super().reset)  # type: ignore[misc]

    def close(self) -> None:
        run(_ending(self, "rollback"), super().close)  # type: ignore[misc]

    def __exit__(self, *error: object) -> Any:
        result = "rollback" if error and error[0] is not None else "commit"
        return run(_ending(self, result), super().__exit__, *error)  # type: ignore[misc]


def _ending(connection: Any, result: str) -> Any:
    return started(driver.ending(result), connection) if driver is not None else None


class _Cursor:
    __slots__ = ()

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - as the original
        # ``run`` written out: each statement comes here.
        call = None
        watching = driver
        if watching is not None:
            try:
                connection = self.connection  # type: ignore[attr-defined]
                call = watching.begin(connection, self, query, vars)
                if call is not None and call.rare is not None and connection.async_:
                    call.blocked_loop = False
            except Exception:
                failed("psycopg2.execute")
        if call is None:
            return super().execute(query, vars)  # type: ignore[misc]
        try:
            result = super().execute(query, vars)  # type: ignore[misc]
        except BaseException as error:
            started(call.raised, error)
            raise
        try:
            call.returned(result)
        except Exception:
            failed("psycopg2.execute")
        return result

    def executemany(self, query: Any, vars_list: Any) -> Any:
        call = started(driver.executing_many, self, query, vars_list) if driver is not None else None
        return run(call, super().executemany, query, vars_list)  # type: ignore[misc]

    def callproc(self, procname: Any, *parameters: Any) -> Any:
        call = started(driver.calling, self, procname, *parameters) if driver is not None else None
        return run(call, super().callproc, procname, *parameters)  # type: ignore[misc]

    def copy_expert(self, sql: Any, file: Any, *size: Any, **named: Any) -> Any:
        call = started(_copy_expert, self, sql)
        return run(call, _with(super().copy_expert, named), sql, file, *size)  # type: ignore[misc]

    def copy_from(self, file: Any, table: Any, *options: Any, **named: Any) -> Any:
        call = started(driver.copying, self, f'COPY "{table}" FROM STDIN', False) if driver is not None else None
        return run(call, _with(super().copy_from, named), file, table, *options)  # type: ignore[misc]

    def copy_to(self, file: Any, table: Any, *options: Any, **named: Any) -> Any:
        call = started(driver.copying, self, f'COPY "{table}" TO STDOUT', True) if driver is not None else None
        return run(call, _with(super().copy_to, named), file, table, *options)  # type: ignore[misc]


def _copy_expert(cursor: Any, sql: Any) -> Any:
    if driver is None:
        return None
    text = sql.decode(errors="replace") if isinstance(sql, bytes) else sql
    if not isinstance(text, str):
        text = driver.render(sql, cursor)
    return driver.copying(cursor, text, "STDOUT" in text.upper())


def _with(original: Callable[..., Any], named: dict[str, Any]) -> Callable[..., Any]:
    return (lambda *arguments: original(*arguments, **named)) if named else original


class _NamedCursor(_Cursor):
    """The same, of which rows are fetched from the server."""

    __slots__ = ()

    def fetchone(self) -> Any:
        return run(_fetching(self), super().fetchone)  # type: ignore[misc]

    def fetchmany(self, *size: Any, **named: Any) -> Any:
        return run(_fetching(self), _with(super().fetchmany, named), *size)  # type: ignore[misc]

    def fetchall(self) -> Any:
        call = started(driver.fetching_all, self) if driver is not None else None
        return run(call, super().fetchall)  # type: ignore[misc]

    def __next__(self) -> Any:
        return run(_fetching(self), super().__next__)  # type: ignore[misc]

    def close(self) -> None:
        if driver is not None:
            started(driver.closing, self)
        super().close()  # type: ignore[misc]


def _fetching(cursor: Any) -> Any:
    return started(driver.fetching, cursor) if driver is not None else None


def _connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement of ``_connect``."""

    def _connect(*arguments: Any, **named: Any) -> Any:
        if driver is not None and started(_caller) not in dbapi.above:
            arguments, named = started(driver.connecting, arguments, named) or (arguments, named)
        return original(*arguments, **named)

    return _connect


def _caller() -> str:
    """The package that calls ``psycopg2.connect``."""
    return str(sys._getframe(4).f_globals.get("__name__")).partition(".")[0]


class Psycopg2Instrumentor(DriverInstrumentor):
    """Instruments psycopg2; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one.

    Connections that were opened before are not instrumented.
    """

    library = "psycopg2"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Replace what ``connect`` calls."""
        global driver  # noqa: PLW0603 - the subclasses outlive what instruments
        watching = driver = _Psycopg2(module.extensions, provider)
        watching.watch(patches)
        patches.at_undo(_stop)
        patches.replace(module, "_connect", _connecting(module._connect))

        def extras_imported(extras: Any) -> None:
            patches.wrap(extras, "execute_values", begin=watching.executing_values)
            patches.wrap(extras, "execute_batch", begin=watching.executing_batch)

        patches.when_imported("psycopg2.extras", extras_imported)


def _stop() -> None:
    global driver  # noqa: PLW0603 - as above
    driver = None
