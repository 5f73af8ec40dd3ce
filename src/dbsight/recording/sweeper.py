"""The thread that does what no request does: it drains, and closes windows that nobody else closes."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: Final = 0.5  # s


class Sweeper:
    """Calls a function twice a second, in a daemon thread that ends when there is nothing left to do.

    Args:
        sweep: Does the work; returns whether there will be more.
        work: Does that part of it that need not wait for the half second; called when woken.
        has_rest: Whether nothing came up since; asked under the lock that ``start`` takes.

    Attributes:
        thread: The current one, None while there is nothing to do.
    """

    def __init__(self, sweep: Callable[[], bool], work: Callable[[], object], has_rest: Callable[[], bool]) -> None:
        self._sweep = sweep
        self._work = work
        self._has_rest = has_rest
        self.after_fork()

    def after_fork(self) -> None:
        """In a forked child: the thread and who holds the lock are the parent's."""
        self._lock = threading.RLock()  # a finalizer may run in the middle of ``start`` and need the thread as well
        self._stop = threading.Event()
        self._awake = threading.Event()
        self.thread: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        """Whether the thread is there and alive."""
        return self.thread is not None and self.thread.is_alive()

    def start(self) -> None:
        """There is something to do."""
        with self._lock:  # else what comes up while the thread exits would never be done
            if not (self.runs or self._stop.is_set()):
                self.thread = threading.Thread(target=self._run, name="dbsight", daemon=True)
                self.thread.start()

    def wake(self) -> None:
        """There is something that should not wait."""
        self.start()
        if not self._awake.is_set():
            self._awake.set()

    def stop(self) -> None:
        """End the thread, at once if it waits, and start none until ``resume``."""
        self._stop.set()
        self._awake.set()

    def resume(self) -> None:
        """Start threads again."""
        self._stop.clear()

    def _run(self) -> None:
        due = monotonic() + EVERY
        while True:
            woken = self._awake.wait(max(0.0, due - monotonic()))
            if self._stop.is_set():
                break
            try:
                if woken:
                    self._awake.clear()
                    self._work()
                    if monotonic() < due:
                        continue
                due = monotonic() + EVERY
                # Without the lock: a window that closes may write to the network, and requests open windows meanwhile.
                if self._sweep():
                    continue
                with self._lock:
                    if self._has_rest():
                        self.thread = None
                        return
            except Exception:
                failed("recording.sweeper")
        with self._lock:
            if self.thread is threading.current_thread():
                self.thread = None
