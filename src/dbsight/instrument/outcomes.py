"""Exceptions: how they are named, and which are no error of a query, but cancelled it or are handled by its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_CANCELLATIONS: Final = frozenset({"trio.Cancelled", "greenlet.GreenletExit"})
"""By name, because these libraries are not imported for it."""

_HANDLERS: Final = {
    # ``Script`` loads the script and sends EVALSHA again.
    ("commands.core", "__call__"): ("NoScriptError",),
    # The next sentinel is asked.
    ("sentinel", "discover_master"): ("ConnectionError", "TimeoutError"),
    ("sentinel", "discover_slaves"): ("ConnectionError", "TimeoutError", "ResponseError"),
    # The next start-up node of a cluster is asked.
    ("cluster", "initialize"): ("Exception",),
}
"""Functions of redis-py and valkey-py that send commands, and the errors of these that they handle."""

_DEPTH: Final = 16
"""Frames between a command and the function of the library that sends it, with those of wrappers."""


def error_type(error: BaseException) -> str:
    """``error.type`` of an exception: its class, with the module unless Python itself defines it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def was_cancelled(error: BaseException) -> bool:
    """Whether the application gave up: the task that waited for the query was cancelled, its generator closed."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return True
    kind = type(error)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}" in _CANCELLATIONS


def was_handled(error: BaseException, frame: FrameType | None) -> bool:
    """Whether the application does not see the error of a command of Redis.

    That is so for a conflict of WATCH, which is an answer and no failure, and for what the library handles. Its
    redirections and retries happen inside the watched call; the functions above call it and handle what it raises.

    Args:
        error: What the command raised.
        frame: The frame of the sender, or one that it called.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if "WatchError" in names:
        return True
    for _ in range(_DEPTH):
        if frame is None:
            return False
        package, _, module = str(frame.f_globals.get("__name__")).partition(".")
        if package in {"redis", "valkey"}:
            handled = _HANDLERS.get((module.removeprefix("asyncio."), frame.f_code.co_name))
            if handled is not None and not names.isdisjoint(handled):
                # What the library tries after that, within its handler, is the last try.
                return type(error.__context__) is not type(error)
        frame = frame.f_back
    return False
