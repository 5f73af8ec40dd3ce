"""Work in a forked child of the tests, which ends with its work whatever becomes of it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
"""s; how long a child may take."""

GRACE = 10.0
"""s; how much later one that the alarm did not end is killed."""


def in_child(work: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Do some work in a forked child, and wait for its end.

    A child never goes on as a second run of the tests, over the connections of the first: it ends where the work ends,
    also when it raises or hangs. One that hangs says on standard error where.

    Args:
        work: Called in the child.
        seconds: s; an alarm ends the child then.

    Returns:
        What ``work`` returned, by way of pickle.

    Raises:
        AssertionError: The work raised, or the child ended otherwise; the message says how.
    """
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what is tested
            child = os.fork()
        if child == 0:
            _do(work, writing, seconds)
        os.close(writing)
        writing = -1
        told, status = _await(child, reading, seconds + GRACE)
    finally:
        for end in (reading, writing):
            if end != -1:
                os.close(end)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"the child ended with {code}: {told.decode(errors='replace')}"
    return pickle.loads(told)


@contextlib.contextmanager
def held_elsewhere(*locks: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    """Locks that another thread holds for the time of the block, and for ever in a child that is forked in it."""
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            taken.set()
            leave.wait(2 * PATIENCE)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert taken.wait(PATIENCE)
    try:
        yield
    finally:
        leave.set()
        thread.join(PATIENCE)


def _do(work: Callable[[], Any], writing: int, seconds: float) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=2, chain=True)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            told, done = pickle.dumps(work()), 0
        except BaseException:
            told, done = traceback.format_exc().encode(), 1
        while told:
            told = told[os.write(writing, told) :]
        code = done
    finally:
        os._exit(code)


def _await(child: int, reading: int, seconds: float) -> tuple[bytes, int]:
    """What a child wrote, and its status; one that takes longer is killed."""
    os.set_blocking(reading, False)
    deadline = time.monotonic() + seconds
    told = b""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        told += _available(reading)
        if done:
            return told, status
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _available(reading: int) -> bytes:
    """What can be read without waiting."""
    told = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(reading, 65_536):
            told += part
    return told
