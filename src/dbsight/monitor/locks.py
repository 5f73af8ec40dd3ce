"""Totals of distributed locks over the life of the process."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Final

from dbsight import safety, semconv
from dbsight.model import LockTotals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import LockEvent

MAX_LOCKS: Final = 500
"""Locks, by the template of their name, that are told apart; the rest is one, ``other``."""

WAITED: Final = 0.05
"""s; an advisory lock of PostgreSQL that took longer was waited for: the server tries for it, not the client."""


class Locks:
    """Totals by system and lock; threads may call everything at any time."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._totals: dict[tuple[str, str], LockTotals] = {}

    def take(self, event: LockEvent) -> None:
        """Count one event."""
        key = (event.system, event.lock)
        with self._lock:
            totals = self._totals.get(key)
            if totals is None:
                if len(self._totals) >= MAX_LOCKS:
                    safety.dropped("locks")
                    key = (event.system, semconv.OTHER)
                totals = self._totals.setdefault(key, LockTotals(*key))
            if event.kind == "acquire":
                _acquired(totals, event)
            elif event.kind == "release":
                totals.releases += 1
                totals.held_total += event.seconds
                totals.held_max = max(totals.held_max, event.seconds)
            else:
                totals.leaks += 1
                totals.leak_site = event.call_site or totals.leak_site

    def totals(self) -> Sequence[LockTotals]:
        """A copy, most time waited first."""
        with self._lock:
            copied = [totals.copy() for totals in self._totals.values()]
        return sorted(copied, key=lambda totals: (-totals.wait_total, totals.system, totals.lock))

    def reset(self) -> None:
        """Forget everything, the lock included: in a forked child it may belong to a thread that is not there."""
        self._lock = RLock()
        self._totals = {}


def _acquired(totals: LockTotals, event: LockEvent) -> None:
    totals.attempts += event.attempts
    totals.wait_total += event.seconds
    totals.wait_max = max(totals.wait_max, event.seconds)
    if event.acquired:
        totals.acquired += 1
        totals.acquired_total += event.seconds
    else:
        totals.failed += 1
    if event.attempts > 1 or event.pauses or (event.system == "postgresql" and event.seconds >= WAITED):
        totals.contended += 1
        totals.call_site = event.call_site or totals.call_site
        if len(event.pauses) >= 3:
            shortest, longest = min(event.pauses), max(event.pauses)
            totals.fixed += longest <= 1.2 * shortest + 0.002
            totals.paced += 1
