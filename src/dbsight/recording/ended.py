"""Windows whose root has ended and which nobody has judged yet: several are judged at once, away from the request."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH: Final = 120
"""Records from which on they are judged without waiting for the timer.

When the next request ends, the code that judges has left the processor's caches. Five hundred at once would cost a
tenth less, but threads would wait longer for the GIL meanwhile, and spans would be exported in bursts.
"""
_TOO_MANY: Final = 1000
"""The same on the thread whose request ends, where no other came to it: it is busy, or the server runs no threads."""
_PATIENCE: Final = 1.0
"""s that one thread waits for another that is judging; two that wait for each other must go on."""


class Ended:
    """What is left to do for windows whose root has ended, in the order of their ends.

    Args:
        attend: Called when there is something to do, so that a timer does it in time.
        wake: Called when there is enough to do, so that a thread does it now.
    """

    def __init__(self, attend: Callable[[], object], wake: Callable[[], object]) -> None:
        self._attend = attend
        self._wake = wake
        self.abandon()

    def abandon(self) -> None:
        """In a forked child: these are the parent's."""
        # Re-entrant: a finalizer may end a root while this thread is judging.
        self._working = threading.RLock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, records: int, judge: Callable[[], object]) -> None:
        """Judge a window later. Never raises.

        Args:
            records: How many it has.
            judge: Does it.
        """
        waits = bool(self._waiting)  # then the timer runs, and goes on as long as there are windows that have ended
        self._waiting.append(judge)
        self._weight = weight = self._weight + records + 1  # not exact where threads meet, nor does it have to be
        try:
            if weight < ENOUGH:
                if not waits:
                    self._attend()
            elif weight < _TOO_MANY:
                self._wake()
            else:
                self.work(0)
        except RuntimeError:  # no thread can be started any more
            self.work()

    def work(self, patience: float = _PATIENCE) -> None:
        """Judge all of them. Never raises.

        Args:
            patience: s to wait for another thread that does.
        """
        if not self._working.acquire(timeout=patience):
            return
        try:
            self._weight = 0
            with suppress(IndexError):
                while True:
                    judge = self._waiting.popleft()
                    try:
                        judge()
                    except Exception:
                        failed("recording.ended")
        finally:
            self._working.release()
