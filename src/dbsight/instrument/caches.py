"""Caches: dogpile.cache, aiocache, Django's, cachetools, ``functools.lru_cache``, SQLAlchemy's compiled one, and Redis.

Lookups are too frequent to publish an event for each: they are counted, and the counter waits in the queue until it is
published. ``redis_replies.py`` defines what is counted for Redis.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from itertools import repeat, starmap
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import recording, safety, scope
from dbsight.instrument import cache_states, callsite, mappings
from dbsight.instrument.cache_libraries import LIBRARIES
from dbsight.instrument.wrap import Patches
from dbsight.model import CacheEvent
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dbsight.model import CallSite

MAX_CACHES: Final = 500
"""Maximum number of caches and Redis key templates; further ones are counted as ``other``."""

_MAX_KEPT: Final = 1000
"""Maximum number of commands, and of sizes of values, that a counter keeps before it is published."""

_MISSES: Final = 1
"""Index of misses among the counts."""

Look = tuple[str, int, int, int, int, "Sequence[int]"]
"""What a command of Redis did with keys of one template: it, keys that were found, that were not, that were written,
that were removed, and the bytes of the values that were found, of each of which it is known. To make a class of it
costs as much as all the rest."""


class Counter:
    """Counts of one cache since they were last published; a record of the queue.

    Args:
        name: ``dbsight.cache.name``.
        layer: ``l1``, ``l2`` … or empty.
        model: ORM model that is cached, or empty.
        key_prefix: Template of the keys, or empty.
    """

    def __init__(self, name: str, layer: str = "", model: str = "", key_prefix: str = "") -> None:
        self.name = name
        self.layer = layer
        self.model = model
        self.key_prefix = key_prefix
        self._origin: object | None = None
        self._lock = threading.RLock()  # re-entrant: a finalizer may read a cache while this thread holds the lock
        self._counts = [0, 0, 0, 0, 0]
        # What commands did is added up when it is published; several threads may append to a deque without a lock.
        self._noted: deque[tuple[int, int, int, Sequence[int], CallSite | None]] = deque()
        self._kept = 0
        self._waiting = False
        self._site: CallSite | None = None

    def hit(self, number: int = 1) -> None:
        """Count keys that were found."""
        self._add(0, number)

    def missed(self, number: int = 1) -> None:
        """Count keys that were not found, and record the call site."""
        self._add(1, number)

    def stored(self, number: int = 1) -> None:
        """Count keys that were written."""
        self._add(2, number)

    def removed(self, number: int = 1) -> None:
        """Count keys that the application removed."""
        self._add(3, number)

    def evicted(self, number: int = 1) -> None:
        """Count keys that the cache evicted."""
        self._add(4, number)

    def _add(self, what: int, number: int) -> None:
        if number and not scope.suppressed():
            site = callsite.find() if what == _MISSES else None
            with self._lock:
                self._counts[what] += number
                self._site = site or self._site
            self._wait()

    def polled(self, hits: int, misses: int, evictions: int) -> None:
        """Count what a cache counted by itself: what was missed was stored."""
        with self._lock:
            for what, number in enumerate((hits, misses, misses, 0, evictions)):
                self._counts[what] += number
        self._wait()

    def note(
        self,
        hits: int,
        misses: int,
        stores: int,
        sizes: Sequence[int],
        site: CallSite | None,
        origin: object | None,
    ) -> None:
        """Count what one command or pipeline did with keys of this template.

        Args:
            hits: Keys that were found.
            misses: Keys that were not.
            stores: Keys that were written.
            sizes: Bytes of the values found, of each of which it is known.
            site: The line of the application.
            origin: Identity of the span pipeline of the command.
        """
        if origin is not self._origin:
            self.publish()
            self._origin = origin
        self._noted.append((hits, misses, stores, sizes, site))
        self._kept = kept = self._kept + len(sizes) + 1  # not exact where threads meet, nor does it have to be
        if kept > _MAX_KEPT or _at_once:
            self.publish()
        elif not self._waiting:
            self._wait()

    def _wait(self) -> None:
        """Leave it with the queue, unless it is there already."""
        if not self._waiting:
            self._waiting = True
            if not recording.record(self, recording.loose):
                self._waiting = False

    @staticmethod
    def flush_all(records: Sequence[Counter]) -> None:
        """In the drain: publish what has come together. Never raises."""
        for each in records:
            try:
                each.publish()
            except Exception:  # noqa: PERF203 - one that fails must not silence the others
                failed("caches.publish")

    def publish(self) -> None:
        """Publish the counts."""
        self._waiting = False
        with self._lock:
            (hits, misses, stores, removals, evictions), self._counts = self._counts, [0, 0, 0, 0, 0]
            sizes: list[int] = []
            noted: list[tuple[int, int, int, Sequence[int], CallSite | None]] = []
            self._kept = 0
            with suppress(IndexError):
                noted.extend(starmap(self._noted.popleft, repeat(())))  # keeps those that it got until then
            for found, missed, stored, of_each, site in noted:
                hits += found
                misses += missed
                stores += stored
                sizes += of_each
                if missed and site is not None:
                    self._site = site  # the line that missed last is told
            site = self._site
        if hits or misses or stores or removals or evictions:
            event = CacheEvent(
                self.name,
                time_ns(),
                hits=hits,
                misses=misses,
                layer=self.layer,
                key_prefix=self.key_prefix,
                sizes=sizes,
                model=self.model,
                stores=stores,
                removals=removals,
                evictions=evictions,
                call_site=site,
                origin=self._origin,
            )
            recording.publish(event)

    def forget(self) -> None:
        """Discard pending counts in a forked child: the parent reports them."""
        self._lock = threading.RLock()
        self._counts = [0, 0, 0, 0, 0]
        self._noted = deque()
        self._kept = 0
        self._waiting = False


_at_once = False
_counters: dict[tuple[str, str, str, str], Counter] = {}
_polls: list[Callable[[], bool]] = []
_lock = threading.RLock()

known_counter: Final = _counters.get
"""The counter of a cache, by name, layer, model and template; None before ``counter`` was asked for it."""


def counter(name: str, layer: str = "", model: str = "", key_prefix: str = "") -> Counter:
    """The counter of a cache; the same name, layer, model and template of keys give the same one."""
    key = (name, layer, model, key_prefix)
    found = _counters.get(key)
    if found is None:
        with _lock:
            if len(_counters) >= MAX_CACHES and key not in _counters:
                safety.dropped("caches")
                key = ("other", "", "", "")
            found = _counters.setdefault(key, Counter(*key))
    return found


def publish_at_once() -> None:
    """Publish the counts of each Redis command individually, to keep their order."""
    global _at_once  # noqa: PLW0603 - the counters are this module
    _at_once = True


def collect() -> None:
    """Read the caches that keep statistics themselves. Never raises."""
    try:
        for poll in tuple(_polls):
            if not poll():
                with _lock:
                    _polls.remove(poll)
        mappings.forget_collected()
    except Exception:
        failed("caches.collect")


def watch_cache(name: str, cache: Any, *, layer: str = "", model: str = "") -> Any:
    """Count hits and misses of a cache of the application.

    Args:
        name: ``dbsight.cache.name`` of its metrics and findings.
        cache: A function decorated with ``functools.lru_cache``, ``functools.cache`` or ``cachetools.cached``, or a
            mapping such as ``cachetools.TTLCache``. Its type stays the same; copies of it are not watched.
        layer: Where the cache stands when there are several behind each other: ``l1``, ``l2``.
        model: The ORM model that it keeps.

    Returns:
        The same cache.

    Raises:
        TypeError: It is neither a cached function nor a mapping of a class written in Python.
    """
    counting = counter(name, layer, model)
    information = getattr(cache, "cache_info", None)
    if callable(information):
        _poll(cache, counting)
        cache_states.know(name, cache, items=lambda function: function.cache_info().currsize, layer=layer)
        return cache
    inner = getattr(cache, "cache", None)
    target = inner if callable(cache) and inner is not None else cache
    if not mappings.can_be_watched(target):
        raise TypeError(
            f"watch_cache() cannot watch a {type(cache).__name__}: it takes cached functions, and mappings whose class"
            " is written in Python"
        )
    mappings.watch(target, counting)
    cache_states.know(name, target, items=len, ttl=_time_to_live, layer=layer)
    return cache


def _time_to_live(cache: Any) -> Any:
    """That of ``cachetools.TTLCache``."""
    return getattr(cache, "ttl", None)


def _poll(cache: Any, counting: Counter) -> None:
    """Read a cached function's own statistics whenever totals are read."""
    known = weakref.ref(cache)
    first = cache.cache_info()
    last = [first.hits, first.misses, first.currsize]

    def poll() -> bool:
        alive = known()
        if alive is None:
            return False
        now = alive.cache_info()
        if now.hits < last[0] or now.misses < last[1]:  # cache_clear()
            last[:] = [0, 0, 0]
        hits, misses = now.hits - last[0], now.misses - last[1]
        # Misses are stored; entries that are missing afterwards were evicted.
        evictions = max(0, misses - (now.currsize - last[2]))
        last[:] = [now.hits, now.misses, now.currsize]
        counting.polled(hits, misses, evictions)
        return True

    with _lock:
        _polls.append(poll)


class CacheInstrumentor(BaseInstrumentor):
    """Counts lookups in dogpile.cache, aiocache, Django's caches and SQLAlchemy's compiled cache, where installed."""

    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: libraries that are not installed are skipped."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        patches = self._patches = Patches()
        cache_states.observe(kwargs.get("meter_provider"))
        for module, wrap in LIBRARIES:
            patches.when_imported(module, functools.partial(wrap, counter, patches))

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.RLock()
    for each in _counters.values():
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
