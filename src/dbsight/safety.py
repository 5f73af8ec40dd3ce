"""Nothing of ours reaches the application: the guard around every hook.

``Exception`` is caught, counted and logged once per place; ``BaseException`` never is. Only our code is guarded: the
driver's call stays outside.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("dbsight")

_F = TypeVar("_F", bound="Callable[..., Any]")

_MAX_PLACES = 1000

_errors: dict[str, int] = {}
_dropped: dict[str, int] = {}
_lock = threading.RLock()  # re-entrant: a finaliser may fail while its thread is counting


def failed(place: str) -> None:
    """Count the exception being handled against ``place``, and log it the first time that the place fails.

    The log record carries the exception's class and our frames, not its message: driver errors quote values. Never
    raises. Places beyond the first thousand are counted together, as ``other``.
    """
    try:
        with _lock:
            if place not in _errors and len(_errors) >= _MAX_PLACES:
                place = "other"
            count = _errors[place] = _errors.get(place, 0) + 1
        if count == 1:
            logger.warning("dbsight: internal error in %s, skipped: %s", place, _describe())
    except Exception:
        # The application's own log filter may raise, or its stack be full: nothing is left to say it with.
        _dropped["warnings"] = _dropped.get("warnings", 0) + 1


def _describe() -> str:
    import sys
    import traceback

    kind, _, trace = sys.exc_info()
    name = kind.__name__ if kind else "unknown"
    frames = traceback.extract_tb(trace)[-3:]
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{name} at {where}"


def guard(function: _F) -> _F:
    """Decorate a hook so that an exception in it is counted and logged, and None is returned instead."""
    place = f"{function.__module__.removeprefix('dbsight.')}.{function.__qualname__}"

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            failed(place)
            return None

    return cast("_F", guarded)


def dropped(reason: str, count: int = 1) -> None:
    """Count what was not remembered because a bound was reached; ``reason`` is one of a handful of constants."""
    with _lock:
        _dropped[reason] = _dropped.get(reason, 0) + count


def errors() -> dict[str, int]:
    """Swallowed exceptions by place, since the start of this process."""
    return dict(_errors)


def drops() -> dict[str, int]:
    """What was dropped, by reason, since the start of this process."""
    return dict(_dropped)


def reset() -> None:
    """Forget all counts: in a forked child, and between tests."""
    _errors.clear()
    _dropped.clear()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.RLock()
    reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
