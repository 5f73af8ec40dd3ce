"""Totals of caches over the life of the process: hits, misses, what was stored and what was lost.

Instrumentors count lookups and publish the counts in batches.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Final

from dbsight import safety, semconv
from dbsight.model import CacheTotals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import CacheEvent

MAX_CACHES: Final = 500
"""Caches, with their layers, key templates and models, that are told apart; the rest is one, ``other``."""


class Caches:
    """Totals by cache, layer, key template and model; threads may call everything at any time."""

    def __init__(self) -> None:
        self._lock = RLock()  # a finaliser that looks something up while this thread is inside must not hang
        self._totals: dict[tuple[str, str, str, str], CacheTotals] = {}

    def take(self, event: CacheEvent) -> None:
        """Count one event."""
        key = (event.cache, event.layer, event.key_prefix, event.model)
        with self._lock:
            totals = self._totals.get(key)
            if totals is None:
                totals = self._make(key)
            totals.hits += event.hits
            totals.misses += event.misses
            totals.stores += event.stores
            totals.removals += event.removals
            totals.evictions += event.evictions
            totals.sized += len(event.sizes)
            totals.size += sum(event.sizes)
            if event.call_site is not None and event.misses:
                totals.call_site = event.call_site

    def _make(self, key: tuple[str, str, str, str]) -> CacheTotals:
        if len(self._totals) >= MAX_CACHES:
            safety.dropped("caches")
            key = (semconv.OTHER, "", "", "")
        return self._totals.setdefault(key, CacheTotals(*key))

    def totals(self) -> Sequence[CacheTotals]:
        """A copy, most look-ups first."""
        with self._lock:
            copied = [totals.copy() for totals in self._totals.values()]
        return sorted(copied, key=lambda totals: (-totals.requests, totals.cache, totals.key_prefix))

    def reset(self) -> None:
        """Forget everything, the lock included: in a forked child it may belong to a thread that is not there."""
        self._lock = RLock()
        self._totals = {}
