"""mysqlclient (MySQLdb): cursors that store all rows at once, and unbuffered ones (``SSCursor``).

Its connection is of a subclass in Python of a C type, its cursors are Python classes, whose methods are wrapped.
``executemany`` calls ``execute``, which is not seen then. A connection does not say where it leads: that is noted when
it is made, without user and password. Private: ``BaseCursor._fetch_row``, mysqlclient 2.0 to 2.3.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument.dbapi import DriverInstrumentor
from dbsight.instrument.driver_call import DriverCall, Fetch
from dbsight.instrument.pymysql import MySQL
from dbsight.model import Database
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches


_POSITIONS: Final = ("host", "", "", "database", "port")
"""Names of the positional arguments of a connection; those of the user are not read."""


class _MySQLClient(MySQL):
    upstream = ("opentelemetry.instrumentation.mysqlclient", "MySQLClientInstrumentor")

    def where(self, connection: Any) -> Database | None:
        host = connection.get_host_info().partition(" ")[0]
        system = "mariadb" if "mariadb" in connection.get_server_info().lower() else "mysql"
        return Database(system, None, host or None)

    def in_transaction(self, connection: Any) -> bool:
        # The C type keeps the server's status to itself: what is known is whether each statement commits.
        link = self.links.get(id(connection))
        return link is not None and (link.transaction is not None or not connection.get_autocommit())

    def made(self, _: None, connection: Any, args: Any, kwargs: Any) -> None:
        """A connection was made."""
        kwargs = {**dict(zip(_POSITIONS, args, strict=False)), **kwargs}
        found = self.where(connection)
        if found is not None:
            port = kwargs.get("port")
            name = kwargs.get("database") or kwargs.get("db")
            address = kwargs.get("unix_socket") or kwargs.get("host") or found.address
            self.adopt(connection, Database(found.system, name, address, port if isinstance(port, int) else None))

    def fetching_rows(self, cursor: Any, size: Any = 1) -> _Rows | None:
        """Rows of an unbuffered cursor, all for a size of 0; those of others are stored when they are executed."""
        call = self.open.get(id(cursor)) if self.open else None
        return _Rows(call, size) if call is not None else None


class _Rows(Fetch):
    """A fetch that gives a tuple of rows."""

    __slots__ = ("_size",)

    def __init__(self, call: DriverCall, size: int) -> None:
        super().__init__(call)
        self._size = size

    def returned(self, result: Any) -> None:
        self._call.fetched(self._began, len(result), over=not result or not self._size)


class MySQLClientInstrumentor(DriverInstrumentor):
    """Instruments mysqlclient; ``instrument(tracer_provider=…)`` sends spans there, else to the global provider."""

    library = "MySQLdb"
    module = "MySQLdb.connections"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its classes."""
        cursors = module.cursors
        driver = _MySQLClient(provider)
        driver.unbuffered = cursors.CursorUseResultMixIn
        driver.watch(patches)
        patches.wrap(cursors.BaseCursor, "execute", begin=driver.executing)
        patches.wrap(cursors.BaseCursor, "executemany", begin=driver.executing_many)
        patches.wrap(cursors.BaseCursor, "callproc", begin=driver.calling)
        patches.wrap(cursors.BaseCursor, "_fetch_row", begin=driver.fetching_rows)
        patches.wrap(cursors.BaseCursor, "close", before=driver.closing)
        connection = module.Connection
        patches.wrap(connection, "__init__", after=driver.made)
        for name, result in (("commit", "commit"), ("rollback", "rollback"), ("close", "rollback")):
            patches.replace(connection, name, _ending(getattr(connection, name), driver.ending(result)))


def _ending(original: Any, hook: Callable[[Any], Any]) -> Any:
    """The replacement of a method of the C type, which does not tell its parameters; it has none."""

    @functools.wraps(original)
    def method(self: Any) -> Any:
        ending = begin(self)
        try:
            result = original(self)
        except BaseException as error:
            if ending is not None:
                raised(ending, error)
            raise
        if ending is not None:
            returned(ending)
        return result

    begin = guard(hook)
    raised = guard(lambda ending, error: ending.raised(error))
    returned = guard(lambda ending: ending.returned(None))
    return method
