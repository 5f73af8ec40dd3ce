"""How the caches of libraries are counted: for each, a function that puts hooks around its look-ups."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument import cache_states, django_caches

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.instrument.wrap import Patches

    Counting = Callable[[str], Any]


def _count(counting: Any, hits: int, misses: int) -> None:
    if hits:
        counting.hit(hits)
    if misses:
        counting.missed(misses)


def dogpile(counter: Counting, patches: Patches, module: Any) -> None:
    """``CacheRegion``: look-ups of one key and of several, with and without a creator, and the decorators."""
    missing = module.NO_VALUE

    def named(region: Any) -> Any:
        name = region.name or "dogpile.cache"
        cache_states.know(name, region, ttl=lambda region: region.expiration_time)
        return counter(name)

    def got(value: Any, region: Any) -> None:
        _count(named(region), int(value is not missing), int(value is missing))

    def got_several(values: Any, region: Any) -> None:
        misses = sum(value is missing for value in values)
        _count(named(region), len(values) - misses, misses)

    def stored(_: Any, region: Any) -> None:
        named(region).stored()

    def removed(_: Any, region: Any) -> None:
        named(region).removed()

    def creating(region: Any, key: Any, creator: Any) -> _Creating | None:
        # Its runner is handed the creator, may pickle it for a task queue, and calls it when the look-up is over: it
        # must be the application's own, and what is looked up there is not counted.
        if region.async_creation_runner:
            return None
        return _Creating(named(region), creator, 1, lambda _: 1)

    def creating_several(region: Any, keys: Any, creator: Any) -> _Creating:
        return _Creating(named(region), creator, len(keys), len)

    region = module.CacheRegion
    patches.wrap(region, "get", after=got)
    patches.wrap(region, "get_multi", after=got_several)
    patches.wrap(region, "get_or_create", begin=creating, changes=("creator",))
    patches.wrap(region, "get_or_create_multi", begin=creating_several, changes=("creator",))
    patches.wrap(region, "set", after=stored)
    patches.wrap(region, "delete", after=removed)


class _Creating:
    """One look-up that makes what is missing.

    Args:
        counting: The counter of the cache.
        creator: What makes it; ``self.creator`` takes its place.
        number: Keys that are looked up.
        made: Tells from the positional arguments of ``creator`` for how many keys it is called.
    """

    __slots__ = ("_counting", "_made", "_number", "_stored", "creator")

    def __init__(self, counting: Any, creator: Any, number: int, made: Callable[[Any], int]) -> None:
        self._counting = counting
        self._number = number
        self._made = 0
        self._stored = 0

        @functools.wraps(creator)
        def create(*args: Any, **kwargs: Any) -> Any:
            number = made(args)
            self._made += number
            value = creator(*args, **kwargs)
            self._stored += number
            return value

        self.creator = create

    def returned(self, _: Any) -> None:
        _count(self._counting, max(0, self._number - self._made), self._made)
        if self._stored:
            self._counting.stored(self._stored)

    def raised(self, _: BaseException) -> None:
        """A creator that raises was called for a miss."""
        _count(self._counting, 0, self._made)


def aiocache(counter: Counting, patches: Patches, module: Any) -> None:
    """``BaseCache``: ``get``, ``multi_get``, ``set``, ``delete``, and the decorators that use them."""

    def named(cache: Any) -> Any:
        name = getattr(cache, "namespace", "") or f"aiocache.{type(cache).__name__}"
        cache_states.know(name, cache, ttl=lambda cache: cache.ttl)
        return counter(name)

    def got(value: Any, cache: Any, key: Any, default: Any) -> None:
        # It takes None for nothing, too.
        found = value is not None and value is not default
        _count(named(cache), int(found), int(not found))

    def got_several(values: Any, cache: Any) -> None:
        misses = sum(value is None for value in values)
        _count(named(cache), len(values) - misses, misses)

    def stored(_: Any, cache: Any) -> None:
        named(cache).stored()

    def removed(_: Any, cache: Any) -> None:
        named(cache).removed()

    base = module.BaseCache
    patches.wrap(base, "get", after=got)
    patches.wrap(base, "multi_get", after=got_several)
    patches.wrap(base, "set", after=stored)
    patches.wrap(base, "delete", after=removed)


def sqlalchemy(counter: Counting, patches: Patches, module: Any) -> None:
    """The cache of compiled statements: a miss is a statement that was compiled. The statement instrumentor counts."""
    from dbsight.instrument import sqlalchemy_call

    counting = counter(cache_states.COMPILED)

    def count(hits: int, misses: int) -> None:
        _count(counting, hits, misses)
        if misses:
            counting.stored(misses)

    sqlalchemy_call.compiled_cache = count
    patches.at_undo(lambda: setattr(sqlalchemy_call, "compiled_cache", None))


LIBRARIES: Final[tuple[tuple[str, Callable[[Counting, Patches, Any], None]], ...]] = (
    ("dogpile.cache.region", dogpile),
    ("aiocache.base", aiocache),
    ("sqlalchemy.engine", sqlalchemy),
    ("django.core.cache", django_caches.wrap),
)
"""Module of the library, and what puts the hooks around it when it is imported."""
