"""asyncpg: statements of connections, prepared statements and cursors, and COPY.

Methods of its classes are wrapped, so that subclasses of ``Connection`` and connections behind a pool's proxy are
covered. Private: ``Connection._execute``, ``_executemany``, ``_copy_in``, ``_copy_out``,
``PreparedStatement.__bind_execute`` and ``BaseCursor._bind_exec``, ``_bind``, ``_exec``, asyncpg 0.27 to 0.32.
Its own questions about types, and the reset of a connection that returns to its pool, are setup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.instrument import transactions
from dbsight.instrument.dbapi import Driver, DriverInstrumentor
from dbsight.instrument.driver_call import WRITES, Covering, DriverCall, Fetch, Link

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches


class _Asyncpg(Driver):
    system = "postgresql"
    upstream = ("opentelemetry.instrumentation.asyncpg", "AsyncPGInstrumentor")
    asynchronous = True

    def in_transaction(self, connection: Any) -> bool:
        return bool(connection._protocol.is_in_transaction())

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        if type(result) is tuple:  # rows, status, whether it is complete
            result = result[1]
        if type(result) is list:
            call.rows = len(result)
        elif type(result) is str:  # UPDATE 3, INSERT 0 1, SELECT 5, COPY 7
            count = result.rpartition(" ")[2]
            if count.isdigit():
                if call.statement.kind in WRITES or call.many:
                    call.affected = int(count)
                elif result.startswith(("SELECT", "COPY")):
                    call.rows = int(count)

    # -- The hooks ----------------------------------------------------------------------------------------------

    def executing(self, connection: Any, query: Any, args: Any) -> DriverCall | None:
        """``execute``, which passes on what has arguments."""
        return self.begin(connection, None, query, args, nested=True)

    def fetching_rows(self, connection: Any, query: Any, args: Any) -> DriverCall | None:
        """All kinds of ``fetch``."""
        return self.begin(connection, None, query, args)

    def executing_many(self, connection: Any, query: Any, args: Any) -> DriverCall | None:
        """``executemany`` and ``fetchmany``."""
        return self.begin(connection, None, query, args, many=True)

    def copying(self, connection: Any, copy_stmt: Any) -> DriverCall | None:
        """COPY from the client; it says how many rows when it is over."""
        call = self.begin(connection, None, copy_stmt, nested=True)
        if call is not None:
            call.many = True
        return call

    def copying_out(self, connection: Any, copy_stmt: Any) -> DriverCall | None:
        """COPY to the client."""
        return self.begin(connection, None, copy_stmt, nested=True)

    def copying_records(self, connection: Any, table_name: Any) -> DriverCall | None:
        """COPY of records; its text is made inside."""
        return self.copying(connection, f'COPY "{table_name}" FROM STDIN')

    def running_prepared(self, statement: Any, args: Any) -> DriverCall | None:
        """All kinds of ``fetch`` of a prepared statement."""
        return self.begin(statement._connection, None, statement._query, args)

    def running_prepared_many(self, statement: Any, args: Any) -> DriverCall | None:
        """``executemany`` and ``fetchmany`` of a prepared statement."""
        return self.begin(statement._connection, None, statement._query, args, many=True)

    def resetting(self, connection: Any) -> _Resetting:
        """A connection returns to its pool."""
        return _Resetting(self.links.get(id(connection)))

    def opening(self, cursor: Any) -> _Opening | None:
        """A cursor is opened, perhaps with its first rows; others are fetched later."""
        call = self.begin(cursor._connection, cursor, _query(cursor), cursor._args)
        if call is None:
            return None
        call.keep_open_early(cursor)
        return _Opening(call, cursor)

    def fetching_some(self, cursor: Any) -> _Fetching | None:
        """Further rows of a cursor."""
        call = self.open.get(id(cursor)) if self.open else None
        return _Fetching(call, cursor) if call is not None else None


def _query(cursor: Any) -> Any:
    return cursor._query if cursor._query is not None else cursor._state.query


class _Resetting(Covering):
    """The reset of a connection."""

    __slots__ = ("_link",)

    def __init__(self, link: Link | None) -> None:
        super().__init__()
        self._link = link

    def returned(self, _: Any) -> None:
        """Nothing is open on it."""
        super().returned(None)
        if self._link is not None and self._link.transaction is not None:
            transactions.end(self._link, "rollback")

    raised = returned


class _Opening:
    """A cursor that is opened."""

    __slots__ = ("_call", "_cursor")

    def __init__(self, call: DriverCall, cursor: Any) -> None:
        self._call = call
        self._cursor = cursor

    def returned(self, rows: Any) -> None:
        """It gave a list of rows, if any."""
        self._call.returned(None)
        self._call.rows = len(rows) if type(rows) is list else 0
        if self._cursor._exhausted:
            self._call.finish()

    def raised(self, error: BaseException) -> None:
        """It could not be opened."""
        self._call.raised(error)


class _Fetching(Fetch):
    """Rows of a cursor."""

    __slots__ = ("_cursor",)

    def __init__(self, call: DriverCall, cursor: Any) -> None:
        super().__init__(call)
        self._cursor = cursor

    def returned(self, result: Any) -> None:
        self._call.fetched(self._began, len(result), over=bool(self._cursor._exhausted) or not result)


class AsyncpgInstrumentor(DriverInstrumentor):
    """Instruments asyncpg; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one."""

    library = "asyncpg"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its classes."""
        driver = _Asyncpg(provider)
        driver.watch(patches)
        connection = module.connection.Connection
        hooks: dict[str, Any] = {
            "execute": driver.executing,
            "_execute": driver.fetching_rows,
            "_executemany": driver.executing_many,
            "_copy_in": driver.copying,
            "_copy_out": driver.copying_out,
            "copy_records_to_table": driver.copying_records,
            "reset": driver.resetting,
            "close": driver.ending("rollback"),
            "terminate": driver.ending("rollback"),
        }
        for name, hook in hooks.items():
            patches.wrap(connection, name, begin=hook)
        patches.wrap(module.utils, "_mogrify", begin=Covering)  # asks the server to quote each value
        prepared = module.prepared_stmt.PreparedStatement
        patches.wrap(prepared, "_PreparedStatement__bind_execute", begin=driver.running_prepared)
        for name in ("executemany", "fetchmany"):
            if hasattr(prepared, name):
                patches.wrap(prepared, name, begin=driver.running_prepared_many)
        cursor = module.cursor.BaseCursor
        patches.wrap(cursor, "_bind", begin=driver.opening)
        patches.wrap(cursor, "_bind_exec", begin=driver.opening)
        patches.wrap(cursor, "_exec", begin=driver.fetching_some)
        patches.wrap(cursor, "_close_portal", before=driver.closing)
        patches.wrap(cursor, "__del__", before=driver.closing)
