"""The coroutines that wait for the running task.

``asyncio.gather(session.get(Order, 1), session.get(Order, 2))`` makes a task of each coroutine of a library: no line
of the application is on its stack. The line is where the application awaits the tasks. asyncio does not say who waits
for whom before Python 3.14, but the callbacks of a task do.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_MAX_TASKS: Final = 8
"""Tasks that wait for each other: a server's, those of its middleware, the application's."""
_MAX_FRAMES: Final = 50
_MAX_CALLBACKS: Final = 10


def stacks() -> Iterator[Sequence[FrameType]]:
    """Yield the frames of each task that waits for the running one, the innermost first; none outside of tasks."""
    asyncio: Any = sys.modules.get("asyncio")
    loop = asyncio._get_running_loop() if asyncio is not None else None
    task = asyncio.current_task(loop) if loop is not None else None
    for _ in range(_MAX_TASKS):
        task = _waiting_for(task, asyncio) if task is not None else None
        if task is None:
            return
        yield _suspended(task)[::-1]


def _waiting_for(future: Any, asyncio: Any) -> Any:
    """Return a task that waits for a future; None where none does."""
    for _ in range(_MAX_TASKS):
        after = None
        for callback, *_context in (getattr(future, "_callbacks", None) or ())[:_MAX_CALLBACKS]:
            owner = getattr(callback, "__self__", None)
            owner = getattr(owner, "_parent_task", owner)  # of a TaskGroup
            if isinstance(owner, asyncio.Task):
                return owner
            after = after or _behind(callback, future, asyncio)
        if after is None:
            return None
        future = after
    return None


def _behind(callback: Any, future: Any, asyncio: Any) -> Any:
    """Return the future that a callback of ``gather``, ``shield``, ``wait`` or ``wait_for`` is going to settle."""
    if isinstance(callback, partial):
        known = callback.args
    else:
        known = tuple(cell.cell_contents for cell in getattr(callback, "__closure__", None) or ())
    return next((each for each in known if isinstance(each, asyncio.Future) and each is not future), None)


def _suspended(task: Any) -> list[FrameType]:
    """Return the frames of a task that does not run, the outermost first."""
    found: list[FrameType] = []
    at = task.get_coro()
    while at is not None and len(found) < _MAX_FRAMES:
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None) or getattr(at, "ag_frame", None)
        if frame is None:
            break
        found.append(frame)
        at = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None) or getattr(at, "ag_await", None)
    return found
