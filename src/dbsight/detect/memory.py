"""The most memory that the process has ever used, without a look before and after each query."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Final

try:
    from resource import RUSAGE_SELF, getrusage
except ImportError:  # not on Windows
    getrusage = None  # type: ignore[assignment]

_UNIT: Final = 1 if sys.platform == "darwin" else 1024
"""Bytes of what the system counts in."""


def _resident() -> int:
    """The most bytes that were resident at once; 0 where the system does not count them."""
    return getrusage(RUSAGE_SELF).ru_maxrss * _UNIT if getrusage is not None else 0


class Peak:
    """Tells by how much the peak grew since the last look; of Python's own count where ``tracemalloc`` runs."""

    def __init__(self) -> None:
        self._traced = tracemalloc.is_tracing()
        self._last = self._now()

    def _now(self) -> int:
        return tracemalloc.get_traced_memory()[1] if self._traced else _resident()

    def growth(self) -> int:
        """Bytes; 0 at the first look after tracing began or ended.

        Without a lock, which a thread could hold at a fork: of two that look at once, both may be told.
        """
        if tracemalloc.is_tracing() != self._traced:
            self._traced = not self._traced
            self._last = self._now()
            return 0
        now = self._now()
        grown, self._last = now - self._last, now
        return max(0, grown)

    @property
    def counts(self) -> bool:
        """Whether anything counts it."""
        return self._last > 0

    @property
    def source(self) -> str:
        """What it is counted by."""
        if self._traced:
            return "tracemalloc"
        return "resident memory" if self.counts else "estimated"
