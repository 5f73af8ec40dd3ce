"""Connections of our own, made as the application's engine makes its connections, and never pooled or counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from dbsight.instrument.pools import held_by_connection
from dbsight.instrument.pools.sqlalchemy import UNWATCHED

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class NoConnectionError(Exception):
    """There is no connection of our own to be had."""


def run(engine: Any, work: Callable[[Any], _T]) -> _T:
    """Call ``work`` with a connection of SQLAlchemy's that is ours alone, and close that afterwards.

    It is made by the engine's ``creator`` and ``do_connect`` listeners, and set up by the ``connect`` listeners of the
    engine's pool. Never called on a thread of the application.

    Args:
        engine: SQLAlchemy's, synchronous or not.
        work: Gets a synchronous connection.

    Raises:
        NoConnectionError: The engine's creator returns one connection to everybody.
    """
    own = _unpooled(engine)
    del engine
    try:
        if not own.dialect.is_async:
            with own.connect() as connection:
                return work(connection)
        return asyncio.run(_run_async(own, work))
    finally:
        own.pool.dispose()


async def _run_async(own: Any, work: Callable[[Any], _T]) -> _T:
    from sqlalchemy.ext.asyncio import AsyncEngine

    async with AsyncEngine(own).connect() as connection:
        result: _T = await connection.run_sync(work)
        return result


def _unpooled(engine: Any) -> Any:
    """An engine that connects as another one does, and keeps no connection."""
    from sqlalchemy.future import Engine
    from sqlalchemy.pool import NullPool

    pool = engine.pool

    def connect(connection_record: Any = None) -> Any:
        made = pool._invoke_creator(connection_record)
        if id(made) in held_by_connection:  # the application's creator returned a connection that is in use
            raise NoConnectionError("the creator returns a shared connection")
        return made

    # As ``Pool.recreate``: what the application and SQLAlchemy do to a new connection is done to this one, too.
    own = NullPool(connect, echo=False, _dispatch=pool.dispatch, dialect=pool._dialect)
    setattr(own, UNWATCHED, True)
    return Engine(own, engine.dialect, engine.url, hide_parameters=True)
