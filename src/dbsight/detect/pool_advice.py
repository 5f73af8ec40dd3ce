"""What to write instead: code for each pool library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbsight.model import CallSite, PoolState

SECONDS_DIGITS = 3


def resized(state: PoolState, size: int) -> str:
    """Code that makes the pool with ``size`` connections."""
    if state.library == "psycopg_pool":
        return f"{state.kind}(conninfo, max_size={size})"
    if state.library == "asyncpg":
        return f"asyncpg.create_pool(dsn, max_size={size})"
    if state.library in {"redis", "valkey"}:
        return f"{state.kind}.from_url(url, max_connections={size})"
    return f"create_engine(url, pool_size={size}, max_overflow=0)"


def given_back(state: PoolState, *, session: bool = False) -> str:
    """Code that gives a connection back whatever happens."""
    if state.library == "psycopg_pool":
        return "with pool.connection() as connection:"
    if state.library == "asyncpg":
        return "async with pool.acquire() as connection:"
    if state.library in {"redis", "valkey"}:
        return "with redis.Redis(connection_pool=pool) as client:"
    return "with Session(engine) as session:" if session else "with engine.connect() as connection:"


def shared(state: PoolState) -> str:
    """Code that makes one pool for the process."""
    if state.library == "psycopg_pool":
        return f"pool = {state.kind}(conninfo)  # once, at module level"
    if state.library == "asyncpg":
        return "pool = await asyncpg.create_pool(dsn)  # once, when the application starts"
    if state.library in {"redis", "valkey"}:
        return f"pool = {state.kind}.from_url(url)  # once, at module level"
    return "engine = create_engine(url)  # once, at module level"


def held_by(holders: tuple[tuple[CallSite | None, float], ...], limit: int = 3) -> str:
    """``shop.py:12 for 31 s, shop.py:40 for 2.1 s and 3 more``; empty when nobody is known."""
    said = [
        f"{site if site is not None else 'an unknown line'} for {age:.{SECONDS_DIGITS}g} s" for site, age in holders
    ]
    more = f" and {len(said) - limit} more" if len(said) > limit else ""
    return ", ".join(said[:limit]) + more
