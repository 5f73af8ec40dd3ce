"""Synchronous database calls on a running event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.catalog import BY_NAME
from dbsight.detect.rule import WindowRule
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation


_DRIVERS: Final = {
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mariadb+asyncmy",
    "sqlite": "sqlite+aiosqlite",
    "microsoft.sql_server": "mssql+aioodbc",
    "oracle.db": "oracle+oracledb_async",
}


class BlockingCall(WindowRule):
    """A synchronous database call blocks a running event loop.

        [ GET /checkout ---------------------- ]
          [ SELECT orders ------------- ]          all other tasks wait

    Anti-pattern:
        async def checkout():
            with Session(engine) as session:
                return session.scalars(select(Order)).all()

    Best practice:
        async def checkout():
            async with AsyncSession(engine) as session:
                return (await session.scalars(select(Order))).all()

    Severity:
        error: One unit of work blocked its event loop for 1 s (``blocked_loop_error_threshold``).
        warning: One unit of work blocked it for ``blocked_loop_threshold`` (50 ms).

    Not reported:
        Asynchronous engines, worker threads (``asyncio.to_thread``), notebooks (whose event loop serves nothing else),
        and suppressed calls.
    """

    name: ClassVar[str] = "blocking_call"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("blocked_loop_threshold", "blocked_loop_error_threshold")

    def concerns(self, shape: Shape) -> bool:
        """Those that blocked a loop."""
        return shape.blocked_loop

    def complete(self, window: Window) -> Iterable[Finding]:
        """Add up how long each line blocked the event loop."""
        by_place: dict[str, list[Operation]] = {}
        for operation in window.operations:
            if operation.blocked_loop and not _is_excused(operation, self.name):
                by_place.setdefault(str(operation.call_site), []).append(operation)
        limit = self.configuration.blocked_loop_threshold
        for operations in by_place.values():
            blocked = sum(operation.duration + operation.pool_wait for operation in operations)
            if blocked >= limit:
                yield self._finding(operations, blocked, limit)

    def _finding(self, operations: list[Operation], blocked: float, limit: float) -> Finding:
        longest = max(operations, key=lambda operation: operation.duration)
        site = longest.call_site
        system = longest.database.system
        function = site.function if site is not None else "a coroutine"
        return self.finding(
            ("bc", site, longest.database.key),
            severity="error" if blocked >= self.configuration.blocked_loop_error_threshold else "warning",
            title=f"{function} blocks its event loop",
            description=f"{function} blocked the running event loop with synchronous calls for {seconds(blocked)}, "
            f"longest in {longest.statement.summary or longest.statement.kind}.",
            suggestion=_asynchronous(system) + "await asyncio.to_thread(work)  # def work(): what uses the database",
            impact=blocked,
            effort="medium",
            count=len(operations),
            metric="blocked",
            current_value=blocked,
            threshold=limit,
            statement=longest.statement,
            database=longest.database,
            call_site=site,
        )


def _asynchronous(system: str) -> str:
    """Suggest an asynchronous driver for the database system, if there is one."""
    driver = _DRIVERS.get(system)
    if driver is not None:
        return f'create_async_engine(make_url(url).set(drivername="{driver}"))  # or\n'
    client = BY_NAME.get(system)
    return f"{client.asynchronous}.from_url(url)  # or\n" if client is not None and client.asynchronous else ""


def _is_excused(operation: Operation, rule: str) -> bool:
    if (operation.allowed | operation.statement.allowed) & {rule, "all"}:
        return True
    file = operation.call_site.file if operation.call_site is not None else ""
    return "ipykernel_" in file or file.startswith("<ipython")
