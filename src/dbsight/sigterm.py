"""SIGTERM: a process that the signal ends by default exports what is pending first, and then ends by the same signal.

Python runs no exit handlers when a signal ends the process, so the spans since the last export are lost with each
rollout. The handler here waits for a flush, at most ``PATIENCE`` seconds, restores the default action, and raises the
signal again: exit status and process group are what they were.

A Python handler runs only when the main thread reaches bytecode. A driver that waits for a server in C would delay the
end, so a thread of its own is woken by ``signal.set_wakeup_fd``; it flushes, and ends the process whether or not the
main thread can. Where the application has a wakeup descriptor of its own, the handler wakes that thread.

It is installed in the main thread only, where SIGTERM has its default action, and never in PID 1, for which the kernel
ignores that action. A forked child has the default action again. uvicorn restores the handlers that it found and raises
the signal once more, so the handler is installed again right before uvicorn looks: gunicorn's uvicorn workers set the
default action after the fork.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import warnings
from typing import TYPE_CHECKING, Final

from dbsight.instrument.wrap import Patches
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

PATIENCE: Final = 5.0
"""Seconds that the end of the process waits for the flush."""

_patches = Patches()


class Sigterm:
    """The handler of one process.

    Args:
        flush: Exports what is pending; called once, in a thread of its own.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._flushed = threading.Event()
        self._pid = os.getpid()
        self._asked = False
        self._wakes, self._woken = socket.socketpair()
        self._wakes.setblocking(False)
        self._waiting = threading.Thread(target=self._wait, name="dbsight-sigterm", daemon=True)

    @property
    def installed(self) -> bool:
        """Whether SIGTERM runs this handler."""
        return signal.getsignal(signal.SIGTERM) == self._handle

    def install(self) -> None:
        """Handle SIGTERM from now on. Call it in the main thread.

        Raises:
            RuntimeError: No thread can be started.
        """
        self._waiting.start()
        signal.signal(signal.SIGTERM, self._handle)
        # Trio takes the descriptor over while it runs, and warns of a collision that is none.
        warnings.filterwarnings(
            "ignore", "It looks like Trio's signal handling code might have collided", RuntimeWarning
        )
        previous = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        if previous != -1:
            signal.set_wakeup_fd(previous)

    def uninstall(self) -> None:
        """Restore what was there before, where it was not replaced meanwhile. Call it in the main thread."""
        if self.installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, self._wakes.fileno()):
            signal.set_wakeup_fd(current)
        self._wakes.close()
        self._waiting.join(1)
        self._woken.close()

    def _handle(self, signum: int, frame: object) -> None:
        """Wait for the flush in the main thread, so that the application does nothing more, and end."""
        if os.getpid() == self._pid:  # not in a child of a fork that Python did not notice
            self._asked = True  # an application's own handler may have called this one
            with contextlib.suppress(OSError):
                self._wakes.send(bytes([signum]))
            self._flushed.wait(PATIENCE)
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)

    def _wait(self) -> None:
        """Flush and end the process at the first SIGTERM that this handler is there for."""
        signals = b"."
        while signal.SIGTERM not in signals or not (self._asked or self.installed):
            signals = self._woken.recv(64)
            if not signals:  # uninstalled
                return
        flushing = threading.Thread(target=self._run, name="dbsight-flush", daemon=True)
        flushing.start()
        flushing.join(PATIENCE)
        self._flushed.set()
        # Only the main thread may call signal.signal(), and it may be anywhere: ask the C library.
        import ctypes

        ctypes.CDLL(None).signal(int(signal.SIGTERM), None)
        os.kill(os.getpid(), signal.SIGTERM)

    def _run(self) -> None:
        try:
            self._flush()
        except Exception:
            failed("sigterm.flush")


class _Armed:
    """The handler of this process and what it is to do."""

    def __init__(self) -> None:
        self.flush: Callable[[], None] | None = None
        self.handler: Sigterm | None = None


_armed = _Armed()


@guard
def watch(flush: Callable[[], None]) -> None:
    """Export what is pending before SIGTERM ends this process, where the conditions above hold.

    Args:
        flush: As for ``Sigterm``.
    """
    if _armed.flush is not None or not hasattr(os, "register_at_fork"):
        return
    _armed.flush = flush
    os.register_at_fork(after_in_child=disarm)
    arm()
    _patches.when_imported("uvicorn.server", _uvicorn_imported)


@guard
def arm() -> None:
    """Install the handler where SIGTERM would end the process now."""
    flush = _armed.flush
    if (
        flush is None
        or threading.current_thread() is not threading.main_thread()
        or os.getpid() == 1
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        return
    disarm()
    handler = Sigterm(flush)
    handler.install()
    _armed.handler = handler


@guard
def disarm() -> None:
    """Let SIGTERM end this process at once again. Call it in the main thread."""
    handler, _armed.handler = _armed.handler, None
    if handler is not None:
        handler.uninstall()


def _uvicorn_imported(module: ModuleType) -> None:
    server = getattr(module, "Server", None)
    if hasattr(server, "capture_signals"):  # from 0.29 on; before, uvicorn returned and Python's exit handlers ran
        _patches.wrap(server, "capture_signals", before=arm)
