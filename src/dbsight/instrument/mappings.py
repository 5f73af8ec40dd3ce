"""Mappings that the application registered as caches: their class counts, they themselves stay as they are.

The methods of the class are wrapped as long as one of its objects is watched; what is known of an object stands beside
it, by identity, so that its type, its attributes, its copies and its pickles are those that it always had.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Final, Protocol

from dbsight.instrument.wrap import Patches

_HEAP_TYPE: Final = 1 << 9
"""A class that was made by a ``class`` statement, of which attributes can be set."""


class Counting(Protocol):
    """``caches.Counter``, as far as it is needed here."""

    def hit(self, number: int = 1) -> None:
        """Count keys that were found."""

    def missed(self, number: int = 1) -> None:
        """Count keys that were not."""

    def stored(self, number: int = 1) -> None:
        """Count keys that were written."""

    def evicted(self, number: int = 1) -> None:
        """Count keys that the cache evicted."""


class _Watched:
    """One mapping.

    Attributes:
        counting: Its counter.
        reference: It, weakly.
        getting: Threads that are in its ``get``, which may ask ``__getitem__``.
    """

    __slots__ = ("counting", "getting", "reference")

    def __init__(self, counting: Counting, mapping: Any) -> None:
        self.counting = counting
        self.getting: set[int] = set()
        self.reference = weakref.ref(mapping)


_watched: dict[int, _Watched] = {}
_patches: dict[type, Patches] = {}


def can_be_watched(mapping: Any) -> bool:
    """Whether it is a mapping of a class that is written in Python."""
    kind = type(mapping)
    return hasattr(kind, "__getitem__") and hasattr(mapping, "__dict__") and bool(kind.__flags__ & _HEAP_TYPE)


def watch(mapping: Any, counting: Counting) -> None:
    """Count what happens in a mapping from now on."""
    kind = type(mapping)
    _watched[id(mapping)] = _Watched(counting, mapping)
    if kind not in _patches:
        hooks = _Hooks(kind)
        patches = _patches[kind] = Patches()
        patches.wrap(kind, "__getitem__", begin=hooks.asking)
        if hasattr(kind, "get"):
            patches.wrap(kind, "get", begin=hooks.getting_of_any if _takes_any(kind.get) else hooks.getting)
        if hasattr(kind, "__setitem__"):
            patches.wrap(kind, "__setitem__", after=hooks.stored)
        if hasattr(kind, "popitem"):
            patches.wrap(kind, "popitem", after=hooks.dropped)


def _takes_any(method: Any) -> bool:
    """Whether it is ``get(self, *args, **kwargs)``, as that of ``cachetools.TTLCache``."""
    code = getattr(method, "__code__", None)
    return code is not None and code.co_argcount == 1


def forget_collected() -> None:
    """Forget the mappings that are gone, and put back the methods of classes that have none any more."""
    for identity, each in tuple(_watched.items()):
        if each.reference() is None and _watched.get(identity) is each:
            del _watched[identity]
    if _patches:
        kinds = {type(each.reference()) for each in tuple(_watched.values())}
        for kind in [kind for kind in _patches if kind not in kinds]:
            _patches.pop(kind).undo()


class _Hooks:
    """The hooks around the methods of one class; its subclasses have their own."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def _known(self, mapping: Any) -> _Watched | None:
        known = _watched.get(id(mapping))
        return known if known is not None and type(mapping) is self._kind and known.reference() is mapping else None

    def asking(self, mapping: Any) -> _Asking | None:
        known = self._known(mapping)
        if known is None or threading.get_ident() in known.getting:
            return None
        return _Asking(known.counting)

    def getting(self, mapping: Any, key: Any) -> _Getting | None:
        known = self._known(mapping)
        if known is None:
            return None
        try:
            found = key in mapping
        except TypeError:  # it cannot be a key, which the application is about to be told
            return None
        return _Getting(known, found)

    def getting_of_any(self, mapping: Any, args: Any) -> _Getting | None:
        return self.getting(mapping, args[0]) if args else None

    def stored(self, _: Any, mapping: Any) -> None:
        known = self._known(mapping)
        if known is not None:
            known.counting.stored()

    def dropped(self, _: Any, mapping: Any) -> None:
        """How caches of cachetools make room; an application hardly calls it."""
        known = self._known(mapping)
        if known is not None:
            known.counting.evicted()


class _Asking:
    """One call of ``__getitem__``."""

    __slots__ = ("_counting",)

    def __init__(self, counting: Counting) -> None:
        self._counting = counting

    def returned(self, _: Any) -> None:
        self._counting.hit()

    def raised(self, error: BaseException) -> None:
        if isinstance(error, KeyError):
            self._counting.missed()


class _Getting:
    """One call of ``get``, which tells by its result neither whether the key was there nor what it asked."""

    __slots__ = ("_found", "_known", "_thread")

    def __init__(self, known: _Watched, found: bool) -> None:
        self._known = known
        self._found = found
        self._thread = threading.get_ident()
        known.getting.add(self._thread)

    def returned(self, _: Any) -> None:
        self._known.getting.discard(self._thread)
        if self._found:
            self._known.counting.hit()
        else:
            self._known.counting.missed()

    def raised(self, _: BaseException) -> None:
        self._known.getting.discard(self._thread)
