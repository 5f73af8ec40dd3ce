"""The shop's database: whatever URL it has, handlers see a ``Session``."""

from __future__ import annotations

import asyncio
import inspect
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sqlalchemy import StaticPool, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

import dbsight
from dbsight.demo.delay import provide_pause
from dbsight.demo.seed import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    Handler = Callable[[Session], Any]

_REPORTS: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2, "pool_logging_name": "reports"}
"""A pool for reports alone, so that they cannot take all connections: a single one, and little patience."""


def _filling() -> dbsight.allow:
    return dbsight.allow("long_transaction", reason="the tables are filled in one go, before anybody reads them")


class SyncStore:
    """Handlers run as they are; FastAPI runs the endpoint in a thread.

    Args:
        url: With a synchronous driver.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = create_engine(url, **_engine_options(url))
        self.reports = create_engine(url, **_REPORTS) if is_shared(url) else self.engine
        beside = asynchronous(url) if is_shared(url) else None
        self.concurrent = create_async_engine(beside) if beside is not None else None
        if self.concurrent is not None:
            provide_pause(self.concurrent.sync_engine)
        self._session = sessionmaker(self.engine, info={"reports": self.reports, "concurrent": self.concurrent})

    async def open(self) -> None:
        """Create and fill the tables, unless they are there.

        Raises:
            StrangeTablesError: Others are there.
            SQLAlchemyError: The database cannot be reached.
        """
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        with _filling(), self.engine.begin() as connection:
            prepare(connection)

    async def close(self) -> None:
        """Close the connections; the tables stay."""
        await asyncio.to_thread(self.engine.dispose)
        await asyncio.to_thread(self.reports.dispose)
        if self.concurrent is not None:
            await self.concurrent.dispose()

    def call(self, handler: Handler) -> Any:
        """What the handler answers; of a coroutine function, a coroutine."""
        if inspect.iscoroutinefunction(handler):
            return self._call_on_loop(handler)
        with self._session() as session:
            return handler(session)

    async def _call_on_loop(self, handler: Handler) -> Any:
        with self._session() as session:
            return await handler(session)

    def endpoint(self, handler: Handler) -> Callable[..., Any]:
        """The handler as FastAPI wants it: a plain function, which it runs in a thread, or a coroutine function."""
        if inspect.iscoroutinefunction(handler):

            async def endpoint_on_loop() -> Any:
                return await self._call_on_loop(handler)

            return endpoint_on_loop

        def endpoint() -> Any:
            return self.call(handler)

        return endpoint


class AsyncStore:
    """The same handlers run through ``AsyncSession.run_sync`` on the event loop.

    Args:
        url: With an asynchronous driver.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = create_async_engine(url, **_engine_options(url))
        self.reports = create_async_engine(url, **_REPORTS) if is_shared(url) else self.engine
        provide_pause(self.engine.sync_engine)
        info = {"reports": self.reports.sync_engine, "concurrent": self.engine}
        self._session: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, info=info)

    async def open(self) -> None:
        """Create and fill the tables, unless they are there.

        Raises:
            StrangeTablesError: Others are there.
            SQLAlchemyError: The database cannot be reached.
        """
        with _filling():
            async with self.engine.begin() as connection:
                await connection.run_sync(prepare)

    async def close(self) -> None:
        """Close the connections; the tables stay."""
        await self.engine.dispose()
        await self.reports.dispose()

    async def call(self, handler: Handler) -> Any:
        """What the handler answers."""
        async with self._session() as session:
            if inspect.iscoroutinefunction(handler):
                return await handler(session.sync_session)
            return await session.run_sync(handler)

    def endpoint(self, handler: Handler) -> Callable[..., Any]:
        """The handler as FastAPI wants it: a coroutine function, which it runs on its loop."""

        async def endpoint() -> Any:
            return await self.call(handler)

        return endpoint


Store = SyncStore | AsyncStore


def store_for(database_url: str) -> Store:
    """A store for any SQLAlchemy URL; whether it is asynchronous follows from the driver.

    Raises:
        ArgumentError: It is no URL.
        NoSuchModuleError: SQLAlchemy has no such dialect.
        ModuleNotFoundError: The driver is not installed.
    """
    url = make_url(database_url)
    return AsyncStore(url) if url.get_dialect().is_async else SyncStore(url)


def is_shared(url: URL) -> bool:
    """Whether several connections reach the same database: not one of SQLite in memory."""
    return url.get_backend_name() != "sqlite" or url.database not in {None, "", ":memory:"}


_ASYNCHRONOUS = {"sqlite": "aiosqlite", "postgresql": "asyncpg", "mysql": "aiomysql", "mariadb": "aiomysql"}


def asynchronous(url: URL) -> URL | None:
    """The URL of the same database with an asynchronous driver; None where none is installed."""
    if url.get_dialect().is_async:
        return url
    driver = _ASYNCHRONOUS.get(url.get_backend_name())
    if driver is None or find_spec(driver) is None:
        return None
    return url.set(drivername=f"{url.get_backend_name()}+{driver}")


def _engine_options(url: URL) -> dict[str, Any]:
    if is_shared(url):
        return {}
    # A database in memory is gone with its connection, so that all threads share one.
    return {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
