"""Suggested code for each pool library, for threads or for tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from dbsight.formatting import seconds

if TYPE_CHECKING:
    from dbsight.model import CallSite, PoolState

_LEAST: Final = {"psycopg_pool": 4, "asyncpg": 10}
"""Default minimum sizes of pools; a maximum below them is an error."""


class About(Protocol):
    """The properties of a pool that suggested code depends on; records of pools have them."""

    @property
    def library(self) -> str:
        """As in ``PoolState``."""

    @property
    def asynchronous(self) -> bool:
        """Whether tasks of an event loop use it."""


def resized(state: PoolState, size: int) -> str:
    """Return code that creates the pool with ``size`` connections."""
    least = f"min_size={size}, " if size < _LEAST.get(state.library, 0) else ""
    if state.library == "psycopg_pool":
        return f"{state.kind}(conninfo, {least}max_size={size})"
    if state.library == "asyncpg":
        return f"await asyncpg.create_pool(dsn, {least}max_size={size})"
    if state.library == "redis":
        if state.role:
            return f'dbsight.redis_pool("{state.role}", max_connections={size})'
        if state.kind == "SentinelConnectionPool":
            return f"sentinel.master_for(service, max_connections={size})"
        return f"{_redis(state)}.{state.kind}.from_url(url, max_connections={size})"
    return f"{_engine(state)}(url, pool_size={size}, max_overflow=0)"


def given_back(about: About, *, session: bool = False) -> str:
    """Return code that returns a connection in any case."""
    begin = "async with" if about.asynchronous else "with"
    if about.library == "psycopg_pool":
        return f"{begin} pool.connection() as connection:"
    if about.library == "asyncpg":
        return f"{begin} pool.acquire() as connection:"
    if about.library == "redis":
        return f"{begin} {_redis(about)}.Redis(connection_pool=pool) as client:"
    if session:
        return f"{begin} {'AsyncSession' if about.asynchronous else 'Session'}(engine) as session:"
    return f"{begin} engine.connect() as connection:"


def shared(state: PoolState) -> str:
    """Return code that creates one pool for the process."""
    if state.library == "psycopg_pool":
        return f"pool = {state.kind}(conninfo)  # once, at module level"
    if state.library == "asyncpg":
        return "pool = await asyncpg.create_pool(dsn)  # once, when the application starts"
    if state.library == "redis":
        return f"pool = {_redis(state)}.ConnectionPool.from_url(url)  # once, at module level"
    return f"engine = {_engine(state)}(url)  # once, at module level"


def pooled(state: PoolState) -> str:
    """Return code that creates a pool which keeps connections, instead of one that does not."""
    if state.library == "psycopg_pool":
        return f"{state.kind.replace('Null', '')}(conninfo)"
    return f"{_engine(state)}(url)  # without poolclass=NullPool"


def _engine(about: About) -> str:
    return "create_async_engine" if about.asynchronous else "create_engine"


def _redis(about: About) -> str:
    return "redis.asyncio" if about.asynchronous else "redis"


def held_by(holders: tuple[tuple[CallSite | None, float], ...], limit: int = 3) -> str:
    """``shop.py:12 for 31 s, shop.py:40 for 2.1 s and 3 more``; empty if no call site is known."""
    said = [f"{site if site is not None else 'an unknown line'} for {seconds(age)}" for site, age in holders]
    more = f" and {len(said) - limit} more" if len(said) > limit else ""
    return ", ".join(said[:limit]) + more
