"""How the caches of libraries are counted: for each, a function that wraps it and returns how to undo that."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

_MISSING: Final = object()


def _count(found: bool, counting: Any, number: int = 1) -> None:
    try:
        if found:
            counting.hit(number)
        else:
            counting.missed(number)
    except Exception:
        failed("caches.count")


def dogpile(module: Any, counter: Callable[[str], Any]) -> Callable[[], None]:
    """``CacheRegion``: ``get``, ``get_multi``, ``get_or_create`` and the decorators that use it."""
    region = module.CacheRegion
    missing = _attribute("dogpile.cache.api", "NO_VALUE")
    originals = {name: vars(region)[name] for name in ("get", "get_multi", "get_or_create", "set", "delete")}

    def named(self: Any) -> Any:
        return counter(self.name or "dogpile.cache")

    @functools.wraps(originals["get"])
    def get(self: Any, key: Any, *args: Any, **options: Any) -> Any:
        value = originals["get"](self, key, *args, **options)
        _count(value is not missing, named(self))
        return value

    @functools.wraps(originals["get_multi"])
    def get_multi(self: Any, keys: Any, *args: Any, **options: Any) -> Any:
        values = originals["get_multi"](self, keys, *args, **options)
        misses = sum(value is missing for value in values)
        if len(values) > misses:
            _count(True, named(self), len(values) - misses)
        if misses:
            _count(False, named(self), misses)
        return values

    @functools.wraps(originals["get_or_create"])
    def get_or_create(self: Any, key: Any, creator: Any, *args: Any, **options: Any) -> Any:
        created = []

        @functools.wraps(creator)
        def create(*made_of: Any, **more: Any) -> Any:
            created.append(True)
            return creator(*made_of, **more)

        value = originals["get_or_create"](self, key, create, *args, **options)
        counting = named(self)
        _count(not created, counting)
        if created:
            counting.stored()
        return value

    @functools.wraps(originals["set"])
    def set_(self: Any, *args: Any, **options: Any) -> Any:
        named(self).stored()
        return originals["set"](self, *args, **options)

    @functools.wraps(originals["delete"])
    def delete(self: Any, *args: Any, **options: Any) -> Any:
        named(self).removed()
        return originals["delete"](self, *args, **options)

    replaced = {"get": get, "get_multi": get_multi, "get_or_create": get_or_create, "set": set_, "delete": delete}
    return _replace(region, originals, replaced)


def aiocache(module: Any, counter: Callable[[str], Any]) -> Callable[[], None]:
    """``BaseCache``: ``get``, ``multi_get``, ``set``, ``delete``, and the decorators that use them."""
    base = module.BaseCache
    originals = {name: vars(base)[name] for name in ("get", "multi_get", "set", "delete")}

    def named(self: Any) -> Any:
        return counter(getattr(self, "namespace", "") or f"aiocache.{type(self).__name__}")

    @functools.wraps(originals["get"])
    async def get(self: Any, key: Any, default: Any = None, *args: Any, **options: Any) -> Any:
        value = await originals["get"](self, key, _MISSING, *args, **options)
        _count(value is not _MISSING, named(self))
        return default if value is _MISSING else value

    @functools.wraps(originals["multi_get"])
    async def multi_get(self: Any, *args: Any, **options: Any) -> Any:
        values = await originals["multi_get"](self, *args, **options)
        misses = sum(value is None for value in values)
        if len(values) > misses:
            _count(True, named(self), len(values) - misses)
        if misses:
            _count(False, named(self), misses)
        return values

    @functools.wraps(originals["set"])
    async def set_(self: Any, *args: Any, **options: Any) -> Any:
        named(self).stored()
        return await originals["set"](self, *args, **options)

    @functools.wraps(originals["delete"])
    async def delete(self: Any, *args: Any, **options: Any) -> Any:
        named(self).removed()
        return await originals["delete"](self, *args, **options)

    return _replace(base, originals, {"get": get, "multi_get": multi_get, "set": set_, "delete": delete})


def sqlalchemy(module: Any, counter: Callable[[str], Any]) -> Callable[[], None]:
    """The cache of compiled statements: a miss is a statement that was compiled."""
    event = _attribute("sqlalchemy", "event")
    counting = counter("sqlalchemy.compiled")

    def after_cursor_execute(conn: Any, cursor: Any, text: Any, parameters: Any, context: Any, many: Any) -> None:
        outcome = getattr(getattr(context, "cache_hit", None), "name", "")
        if outcome == "CACHE_HIT":
            counting.hit()
        elif outcome == "CACHE_MISS":
            _count(False, counting)
            counting.stored()

    event.listen(module.Engine, "after_cursor_execute", after_cursor_execute)
    return functools.partial(event.remove, module.Engine, "after_cursor_execute", after_cursor_execute)


def _attribute(module: str, name: str) -> Any:
    """An attribute of a module that is imported for it."""
    import importlib

    return getattr(importlib.import_module(module), name)


def _replace(owner: Any, originals: dict[str, Any], replaced: dict[str, Any]) -> Callable[[], None]:
    def undo() -> None:
        for name, original in originals.items():
            setattr(owner, name, original)

    for name, function in replaced.items():
        setattr(owner, name, function)
    return undo


LIBRARIES: Final[tuple[tuple[str, Callable[[Any, Callable[[str], Any]], Callable[[], None]]], ...]] = (
    ("dogpile.cache.region", dogpile),
    ("aiocache.base", aiocache),
    ("sqlalchemy.engine", sqlalchemy),
)
"""Module that has to be there, and what wraps it."""
