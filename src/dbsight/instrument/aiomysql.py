"""aiomysql: cursors that read all rows at once, and unbuffered ones (``SSCursor``).

Methods of its classes are wrapped. ``executemany`` and ``callproc`` call ``execute``, which is not seen then. Rows of
an unbuffered cursor are counted in ``_read_next``, through which every fetch goes. Private: that and
``Cursor._connection``, aiomysql 0.1 to 0.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import catalog
from dbsight.instrument.pymysql import MySQL
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches

if TYPE_CHECKING:
    from collections.abc import Collection


class _AioMySQL(MySQL):
    asynchronous = True


class AioMySQLInstrumentor(BaseInstrumentor):
    """Instruments aiomysql; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one."""

    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Supported versions of aiomysql."""
        return catalog.requirements("aiomysql")

    def _instrument(self, **kwargs: Any) -> None:
        patches = self._patches = Patches()
        carry_windows(patches)

        def imported(library: Any) -> None:
            driver = _AioMySQL(kwargs.get("tracer_provider"))
            driver.unbuffered = library.cursors.SSCursor
            driver.watch()
            patches.at_undo(driver.forget)
            cursor = library.cursors.Cursor
            patches.wrap(cursor, "execute", begin=driver.executing)
            patches.wrap(cursor, "executemany", begin=driver.executing_many)
            patches.wrap(cursor, "callproc", begin=driver.calling)
            patches.wrap(library.cursors.SSCursor, "_read_next", begin=driver.fetching)
            patches.wrap(library.cursors.SSCursor, "close", before=driver.closing)
            connection = library.connection.Connection
            patches.wrap(connection, "commit", begin=driver.ending("commit"))
            patches.wrap(connection, "rollback", begin=driver.ending("rollback"))
            patches.wrap(connection, "close", begin=driver.ending("rollback"))

        patches.when_imported("aiomysql", imported)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None
