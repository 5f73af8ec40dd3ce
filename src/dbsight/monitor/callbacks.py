"""Callbacks of the application, called in a thread of their own: one that is slow or raises delays no query."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from dbsight import safety
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.model import Alert

_WAITING: Final = 1000
"""Calls that wait for a slow callback; more are dropped and counted."""


class Callbacks:
    """Calls functions with what happened, in order, one after the other.

    The thread is a daemon, starts with the first call, and ends with the process. What callbacks raise is logged once
    per place and counted. A forked child starts with no calls waiting.
    """

    def __init__(self) -> None:
        self._functions: tuple[tuple[Callable[[Alert], object], bool], ...] = ()
        self.reset()

    def reset(self) -> None:
        """Forget pending calls and the thread, which does not exist in a forked child."""
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Any] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def functions(self) -> tuple[Callable[[Any], object], ...]:
        """Those that are called."""
        return tuple(function for function, _ in self._functions)

    def add(self, function: Callable[[Any], object], *, cleared: bool = False) -> None:
        """Call ``function`` from now on; adding it twice is once.

        Args:
            function: Takes an ``Alert``.
            cleared: Whether it is called for alerts that were cleared, too.

        Raises:
            TypeError: It cannot be called.
        """
        if not callable(function):
            raise TypeError(f"a callback is a function that takes an alert, not {function!r}")
        with self._lock:
            others = tuple(known for known in self._functions if known[0] != function)
            self._functions = (*others, (function, cleared))

    def remove(self, function: Callable[[Any], object]) -> None:
        """Undo ``add``; unknown functions are ignored."""
        with self._lock:
            self._functions = tuple(known for known in self._functions if known[0] != function)

    def call(self, happened: Alert) -> None:
        """Have every function called that wants to know, soon."""
        if not any(cleared or happened.state == "raised" for _, cleared in self._functions):
            return
        try:
            self._waiting.put_nowait(happened)
        except queue.Full:
            safety.dropped("alerts")
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="dbsight-alerts", daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until every call was made.

        Args:
            seconds: At most.

        Returns:
            Whether all were made in time.
        """
        if self._thread is None:  # nothing was ever called
            return True
        thread = threading.Thread(target=self._waiting.join, daemon=True)
        thread.start()
        thread.join(seconds)
        return not thread.is_alive()

    def _run(self) -> None:
        waiting = self._waiting
        while True:
            happened = waiting.get()
            for function, cleared in self._functions:
                try:
                    if cleared or happened.state == "raised":
                        function(happened)
                except Exception:  # noqa: PERF203 - the others are called all the same
                    failed("monitor.callbacks")
            waiting.task_done()
