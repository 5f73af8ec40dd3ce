"""``django.core.cache``: every back end, also those of other packages, by the methods that they share.

A back end's methods call each other (``get_or_set`` looks the key up twice, ``incr`` gets and sets, the asynchronous
ones call their twins in a thread): only the outermost call of a cache is counted, as what the application asked for.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from dbsight.instrument import cache_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbsight.instrument.wrap import Patches

_asked: ContextVar[_Call | None] = ContextVar("dbsight_django_cache", default=None)


class _Call:
    """One call of a method of a cache; what a ``begin`` hook returns."""

    __slots__ = ("_before", "cache", "counting")

    def __init__(self, cache: Any, counting: Any) -> None:
        self.cache = cache
        self.counting = counting
        self._before = _asked.get()
        _asked.set(self)

    def returned(self, result: Any) -> None:
        """It returned."""
        _asked.set(self._before)
        self.count(result)

    def raised(self, _: BaseException) -> None:
        """It raised: nothing is known of what it did."""
        _asked.set(self._before)

    def count(self, result: Any) -> None:
        """Count what a method of this kind did."""


class _Get(_Call):
    """``get``: what gives the default was not found."""

    default: Any

    __slots__ = ("default",)

    def count(self, result: Any) -> None:
        if result is self.default:
            self.counting.missed()
        else:
            self.counting.hit()


class _GetMany(_Call):
    """``get_many`` gives a dictionary of what was found."""

    number: int

    __slots__ = ("number",)

    def count(self, result: Any) -> None:
        self.counting.hit(len(result))
        self.counting.missed(max(0, self.number - len(result)))


class _HasKey(_Call):
    """``has_key`` and ``in``."""

    __slots__ = ()

    def count(self, result: Any) -> None:
        if result:
            self.counting.hit()
        else:
            self.counting.missed()


class _Set(_Call):
    """``set`` stores, also where it says nothing; ``add`` says whether it did."""

    __slots__ = ()

    def count(self, result: Any) -> None:
        if result is not False:
            self.counting.stored()


class _SetMany(_Call):
    """``set_many`` gives the keys that could not be stored."""

    number: int

    __slots__ = ("number",)

    def count(self, result: Any) -> None:
        self.counting.stored(max(0, self.number - len(result or ())))


class _Increment(_Call):
    """``incr`` and ``decr`` read and write; a key that is missing is a ``ValueError``."""

    __slots__ = ()

    def count(self, result: Any) -> None:
        self.counting.hit()
        self.counting.stored()

    def raised(self, error: BaseException) -> None:
        _Call.raised(self, error)
        if type(error) is ValueError:
            self.counting.missed()


class _Delete(_Call):
    """``delete`` says whether there was something."""

    __slots__ = ()

    def count(self, result: Any) -> None:
        if result is not False:
            self.counting.removed()


class _DeleteMany(_Call):
    """``delete_many`` says nothing."""

    number: int

    __slots__ = ("number",)

    def count(self, result: Any) -> None:
        self.counting.removed(self.number)


class _GetOrSet(_Call):
    """``get_or_set`` looks a key up, stores what is missing by ``add``, and looks it up again, which is no hit.

    Between the first two it may call a function of the application, which may use the cache itself.

    Attributes:
        key: As it was given.
        missing: The key was looked up, and not found.
        added: It was stored, or another was faster.
    """

    key: Any
    missing: bool
    added: bool

    __slots__ = ("added", "key", "missing")

    def is_part(self, key: Any) -> bool:
        """Whether what the cache does with a key is a part of it, rather than of the application's function."""
        return not self.missing or self.added or key == self.key

    def count(self, result: Any) -> None:
        if not self.missing:
            self.counting.hit()
            return
        self.counting.missed()
        if self.added:
            self.counting.stored()

    def raised(self, error: BaseException) -> None:
        """The function raised, which was called for a miss; or the cache did."""
        _Call.raised(self, error)
        if self.missing:
            self.counting.missed()


class _Part:
    """A look-up, or ``add``, of the key of a ``get_or_set``."""

    __slots__ = ("_adds", "_default", "_whole")

    def __init__(self, whole: _GetOrSet, default: Any, *, adds: bool) -> None:
        self._whole = whole
        self._default = default
        self._adds = adds

    def returned(self, result: Any) -> None:
        """It was found or not, or stored."""
        if self._adds:
            self._whole.added = True
        elif not self._whole.added and result is self._default:
            self._whole.missing = True

    def raised(self, _: BaseException) -> None:
        """So does the whole."""


class _Culling:
    """A cache in the process's memory makes room."""

    __slots__ = ("_cache", "_counting", "_number")

    def __init__(self, cache: Any, counting: Any) -> None:
        self._cache = cache
        self._counting = counting
        self._number = len(cache._cache)

    def returned(self, _: Any) -> None:
        """Entries are gone."""
        self._counting.evicted(max(0, self._number - len(self._cache._cache)))

    def raised(self, _: BaseException) -> None:
        """It could not."""


class _Caches:
    """The caches of one process: which counter belongs to which, and whose methods are wrapped."""

    def __init__(self, counter: Callable[[str], Any], patches: Patches, base: type) -> None:
        self._counter = counter
        self._patches = patches
        self._base = base
        self._known: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._wrapped: dict[type, object] = {}
        self._hooks = {
            "get": self.getting,
            "get_many": self.several(_GetMany),
            "get_or_set": self.getting_or_setting,
            "has_key": self.plain(_HasKey),
            "set": self.plain(_Set),
            "add": self.adding,
            "set_many": self.several(_SetMany),
            "incr": self.plain(_Increment),
            "decr": self.plain(_Increment),
            "touch": self.plain(_Call),
            "delete": self.plain(_Delete),
            "delete_many": self.several(_DeleteMany),
        }

    def counting(self, cache: Any) -> Any:
        """The counter of a cache: of its alias, of its class where the application made it itself."""
        known = self._known.get(cache)
        return known if known is not None else self.name(cache, type(cache).__name__)

    def name(self, cache: Any, name: str) -> Any:
        """Count a cache by this name."""
        counting = self._known[cache] = self._counter(f"django.{name}")
        cache_states.know(f"django.{name}", cache, ttl=_timeout)
        return counting

    def call(self, kind: type[_Call], cache: Any, key: Any = None) -> Any:
        """A call that the application made; None for one that the cache makes itself."""
        outer = _asked.get()
        if outer is None or outer.cache is not cache:
            return kind(cache, self.counting(cache))
        if type(outer) is not _GetOrSet or outer.is_part(key):
            return None
        return kind(cache, self.counting(cache))

    # -- The hooks: they take the leading parameters of the method that they are put around ------------------------

    def getting(self, cache: Any, key: Any, default: Any = None) -> Any:
        call = self.call(_Get, cache, key)
        if call is not None:
            call.default = default
            return call
        whole = _asked.get()
        return _Part(whole, default, adds=False) if type(whole) is _GetOrSet else None

    def adding(self, cache: Any, key: Any) -> Any:
        call = self.call(_Set, cache, key)
        if call is not None:
            return call
        whole = _asked.get()
        return _Part(whole, None, adds=True) if type(whole) is _GetOrSet else None

    def getting_or_setting(self, cache: Any, key: Any) -> Any:
        call = self.call(_GetOrSet, cache, key)
        if call is not None:
            call.key = key
            call.missing = call.added = False
        return call

    def plain(self, kind: type[_Call]) -> Any:
        """The hook around a method of one key."""
        return lambda cache, key: self.call(kind, cache, key)

    def several(self, kind: Any) -> Any:
        """The hook around a method of several keys.

        Of an iterator, which must not be read here, the cache's own calls are counted, key by key; none where the
        server is asked for all of them at once.
        """

        def begin(cache: Any, keys: Any) -> Any:
            if not hasattr(keys, "__len__"):
                return None
            call = self.call(kind, cache)
            if call is not None:
                call.number = len(keys)
            return call

        return begin

    def culling(self, cache: Any) -> Any:
        return _Culling(cache, self.counting(cache))

    # -- Classes ---------------------------------------------------------------------------------------------------

    def made(self, _: Any, cache: Any) -> None:
        """A cache is being made: wrap the methods of its class, and of those that it inherits from."""
        self.wrap(type(cache))

    def wrap(self, cls: type) -> None:
        """Put the hooks around the methods of a back end, each once, whatever threads make caches of it."""
        if cls in self._wrapped:
            return
        mine = object()
        for each in cls.__mro__:
            if issubclass(each, self._base) and self._wrapped.setdefault(each, mine) is mine:
                self._wrap(each)

    def _wrap(self, cls: type) -> None:
        for name, hook in self._hooks.items():
            for method in (name, f"a{name}"):
                if method in vars(cls):
                    self._patches.wrap(cls, method, begin=hook)
        if "_cull" in vars(cls) and cls.__module__.endswith(".locmem"):
            self._patches.wrap(cls, "_cull", begin=self.culling)


def wrap(counter: Callable[[str], Any], patches: Patches, module: Any) -> None:
    """Count the look-ups of every cache of Django; ``module`` is ``django.core.cache``."""
    caches = _Caches(counter, patches, module.BaseCache)
    for cls in _below(module.BaseCache):
        caches.wrap(cls)
    patches.wrap(module.BaseCache, "__init__", after=caches.made)
    patches.wrap(module.CacheHandler, "create_connection", after=lambda cache, _, alias: caches.name(cache, alias))
    handler = module.caches
    if "settings" in vars(handler):  # some are made already; those of this thread can be told by their aliases
        for alias in handler.settings:
            if hasattr(handler._connections, alias):
                caches.name(getattr(handler._connections, alias), alias)


def _timeout(cache: Any) -> Any:
    return cache.default_timeout


def _below(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for each in cls.__subclasses__():
        yield from _below(each)
