"""Suggested code for each pool library, for threads or for tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dbsight.catalog import BY_NAME, Snippets
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from dbsight.model import CallSite, PoolState


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
    snippets = _snippets(state)
    template = snippets.with_role if state.role else snippets.kinds.get(state.kind)
    least = f"min_size={size}, " if size < snippets.least else ""
    return _code(template or snippets.resized, state, kind=state.kind, role=state.role, size=size, least=least)


def given_back(about: About, *, session: bool = False) -> str:
    """Return code that returns a connection in any case."""
    snippets = _snippets(about)
    return _code((session and snippets.session) or snippets.given_back, about)


def shared(state: PoolState) -> str:
    """Return code that creates one pool for the process."""
    return _code(_snippets(state).shared, state, kind=state.kind)


def pooled(state: PoolState) -> str:
    """Return code that creates a pool which keeps connections, instead of one that does not."""
    return _code(_snippets(state).pooled, state, pooled=state.kind.replace("Null", ""))


def grown(state: PoolState) -> str:
    """Return code for a pool whose connections become more and more; empty where nothing is known."""
    return _snippets(state).grown


def _snippets(about: About) -> Snippets:
    client = BY_NAME.get(about.library, BY_NAME["sqlalchemy"])
    return client.snippets or Snippets("", "", "")


def _code(template: str, about: About, **values: object) -> str:
    awaits = about.asynchronous
    return template.format(
        with_="async with" if awaits else "with",
        engine="create_async_engine" if awaits else "create_engine",
        session="AsyncSession" if awaits else "Session",
        aio=".asyncio" if awaits else "",
        **values,
    )


def held_by(holders: tuple[tuple[CallSite | None, float], ...], limit: int = 3) -> str:
    """``shop.py:12 for 31 s, shop.py:40 for 2.1 s and 3 more``; empty if no call site is known."""
    said = [f"{site if site is not None else 'an unknown line'} for {seconds(age)}" for site, age in holders]
    more = f" and {len(said) - limit} more" if len(said) > limit else ""
    return ", ".join(said[:limit]) + more
