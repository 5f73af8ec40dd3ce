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
            driver.install(patches, library.cursors, library.connection.Connection, "_read_next")

        patches.when_imported("aiomysql", imported)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None
