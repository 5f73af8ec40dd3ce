"""PyMySQL: cursors that read all rows at once, and unbuffered ones (``SSCursor``).

Methods of its classes are wrapped. ``executemany`` and ``callproc`` call ``execute``, which is not seen then. Rows of
an unbuffered cursor are counted in ``read_next``, through which every fetch goes, PyMySQL 1.0 to 1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument.dbapi import Driver, DriverInstrumentor, placeholders
from dbsight.instrument.driver_call import WRITES, DriverCall
from dbsight.instrument.pools.drivers import database_behind
from dbsight.model import Database

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches

_IN_TRANSACTION: Final = 1
"""A bit of the status that the server sends with each answer."""


class MySQL(Driver):
    """What the drivers that are made after PyMySQL have in common."""

    system = "mysql"
    unbuffered: type | tuple[type, ...] = ()

    def where(self, connection: Any) -> Database | None:
        """Where it leads; the server says whether it is MariaDB."""
        found = database_behind(connection)
        if found is not None and "mariadb" in str(getattr(connection, "server_version", "")).lower():
            return Database("mariadb", found.namespace, found.address, found.port)
        return found

    def in_transaction(self, connection: Any) -> bool:
        """As the server said with its latest answer."""
        return bool(connection.server_status & _IN_TRANSACTION)

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        """Rows are known, but for those that an unbuffered cursor reads later."""
        if cursor.description is not None:
            if isinstance(cursor, self.unbuffered):
                call.keep_open(cursor)
            else:
                call.rows = cursor.rowcount
        elif call.statement.kind in WRITES:
            call.affected = cursor.rowcount

    def executing(self, cursor: Any, query: Any, args: Any = None) -> DriverCall | None:
        """One statement; a cursor that is closed has no connection."""
        connection = cursor.connection
        if connection is None:
            return None
        if args is not None and not isinstance(args, (tuple, list, dict)):
            args = (args,)  # a single value
        return self.begin(connection, cursor, query, args)

    def executing_many(self, cursor: Any, query: Any, args: Any) -> DriverCall | None:
        """One statement with several sets of parameters, however many packets are sent."""
        connection = cursor.connection
        return self.begin(connection, cursor, query, args, many=True, nested=True) if connection is not None else None

    def calling(self, cursor: Any, procname: Any, args: Any = ()) -> DriverCall | None:
        """A stored procedure."""
        connection = cursor.connection
        text = f"CALL {procname}({placeholders(args)})"
        return self.begin(connection, cursor, text, args, nested=True) if connection is not None else None

    def install(self, patches: Patches, cursors: Any, connection: type, read_next: str) -> None:
        """Wrap the driver's classes, until the replacements are undone.

        Args:
            patches: The replacements.
            cursors: The driver's module with ``Cursor`` and ``SSCursor``.
            connection: Its class of connections.
            read_next: Method of ``SSCursor`` through which every fetch goes.
        """
        self.unbuffered = cursors.SSCursor
        self.watch(patches)
        patches.wrap(cursors.Cursor, "execute", begin=self.executing)
        patches.wrap(cursors.Cursor, "executemany", begin=self.executing_many)
        patches.wrap(cursors.Cursor, "callproc", begin=self.calling)
        patches.wrap(cursors.SSCursor, read_next, begin=self.fetching)
        patches.wrap(cursors.SSCursor, "close", before=self.closing)
        patches.wrap(connection, "commit", begin=self.ending("commit"))
        patches.wrap(connection, "rollback", begin=self.ending("rollback"))
        patches.wrap(connection, "close", begin=self.ending("rollback"))


class _PyMySQL(MySQL):
    upstream = ("opentelemetry.instrumentation.pymysql", "PyMySQLInstrumentor")


class PyMySQLInstrumentor(DriverInstrumentor):
    """Instruments PyMySQL; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one."""

    library = "pymysql"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its classes."""
        _PyMySQL(provider).install(patches, module.cursors, module.connections.Connection, "read_next")
