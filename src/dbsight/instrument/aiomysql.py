"""aiomysql: cursors that read all rows at once, and unbuffered ones (``SSCursor``).

Methods of its classes are wrapped. ``executemany`` and ``callproc`` call ``execute``, which is not seen then. Rows of
an unbuffered cursor are counted in ``_read_next``, through which every fetch goes. Private: that and
``Cursor._connection``, aiomysql 0.1 to 0.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.instrument.dbapi import DriverInstrumentor
from dbsight.instrument.pymysql import MySQL

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches


class _AioMySQL(MySQL):
    asynchronous = True


class AioMySQLInstrumentor(DriverInstrumentor):
    """Instruments aiomysql; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one."""

    library = "aiomysql"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its classes."""
        _AioMySQL(provider).install(patches, module.cursors, module.connection.Connection, "_read_next")
