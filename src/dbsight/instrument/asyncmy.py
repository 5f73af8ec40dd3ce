"""asyncmy: cursors that read all rows at once, and unbuffered ones (``SSCursor``).

Its cursors are C types: they are of subclasses (``subclassing.py``), which ``Connection.cursor`` makes by its own
parameter. ``isinstance`` holds; ``type(cursor) is asyncmy.cursors.Cursor`` does not. Rows of an unbuffered cursor are
counted in ``read_next``, through which every fetch of a subclass goes. Cursors that are made without ``cursor`` are not
watched. asyncmy 0.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.instrument.dbapi import DriverInstrumentor
from dbsight.instrument.pymysql import MySQL
from dbsight.instrument.subclassing import Subclasses, run_async, started

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches

driver: _AsyncMy | None = None
"""While it is instrumented."""


class _AsyncMy(MySQL):
    asynchronous = True

    def __init__(self, cursors: Any, provider: TracerProvider | None) -> None:
        super().__init__(provider)
        self.unbuffered = cursors.SSCursor
        self.buffered_cursors = Subclasses(cursors.Cursor, _Cursor)
        self.unbuffered_cursors = Subclasses(cursors.SSCursor, _SSCursor)

    def making(self, connection: Any, cursor: Any = None) -> _Making | None:
        """A cursor is asked for."""
        wanted = cursor or connection._cursor_cls
        kind = self.unbuffered_cursors.of(wanted) or self.buffered_cursors.of(wanted)
        return _Making(kind) if kind is not None else None


class _Making:
    """One call of ``cursor``, with another class."""

    __slots__ = ("cursor",)

    def __init__(self, cursor: type) -> None:
        self.cursor = cursor

    def returned(self, _: Any) -> None:
        """It was made."""

    raised = returned


class _Cursor:
    """What a subclass adds."""

    __slots__ = ()

    async def execute(self, query: Any, args: Any = None) -> Any:
        call = started(driver.executing, self, query, args) if driver is not None else None
        return await run_async(call, super().execute, query, args)  # type: ignore[misc]

    async def executemany(self, query: Any, args: Any) -> Any:
        call = started(driver.executing_many, self, query, args) if driver is not None else None
        return await run_async(call, super().executemany, query, args)  # type: ignore[misc]

    async def callproc(self, procname: Any, args: Any = ()) -> Any:
        call = started(driver.calling, self, procname, args) if driver is not None else None
        return await run_async(call, super().callproc, procname, args)  # type: ignore[misc]


class _SSCursor(_Cursor):
    """The same of an unbuffered cursor."""

    __slots__ = ()

    async def read_next(self) -> Any:
        call = started(driver.fetching, self) if driver is not None else None
        return await run_async(call, super().read_next)  # type: ignore[misc]

    async def close(self) -> Any:
        if driver is not None:
            started(driver.closing, self)
        return await super().close()  # type: ignore[misc]


class AsyncmyInstrumentor(DriverInstrumentor):
    """Instruments asyncmy; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one.

    Cursors that were made before are not instrumented.
    """

    library = "asyncmy"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its connection."""
        global driver  # noqa: PLW0603 - the subclasses outlive what instruments
        driver = _AsyncMy(module.cursors, provider)
        driver.watch(patches)
        patches.at_undo(_stop)
        connection = module.connection.Connection
        patches.wrap(connection, "cursor", begin=driver.making, changes=("cursor",))
        patches.wrap(connection, "commit", begin=driver.ending("commit"), awaited=True)
        patches.wrap(connection, "rollback", begin=driver.ending("rollback"), awaited=True)
        patches.wrap(connection, "close", begin=driver.ending("rollback"))


def _stop() -> None:
    global driver  # noqa: PLW0603 - as above
    driver = None
