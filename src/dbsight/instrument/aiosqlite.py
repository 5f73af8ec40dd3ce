"""aiosqlite: what it asks of SQLite belongs to the task that waits for it.

It runs every call in a thread of its own, which knows nothing of the caller's context: the spans of an instrumented
sqlite3 become roots without a parent, and instrumentation that is suppressed for a task is not suppressed there. Here
each call that aiosqlite queues takes the context of its caller along. Private: ``Connection._execute``, the same in
aiosqlite 0.17 to 0.22.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import copy_context
from typing import Any

from dbsight.safety import guard


@guard
def carry_context() -> None:
    """From now on every call of every aiosqlite connection runs in its caller's context. Doing it twice is once."""
    from aiosqlite.core import Connection

    original = Connection._execute
    if hasattr(original, "_dbsight_original") or not inspect.iscoroutinefunction(original):
        return

    @functools.wraps(original)
    async def _execute(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return await original(self, copy_context().run, fn, *args, **kwargs)

    _execute._dbsight_original = original  # type: ignore[attr-defined]
    Connection._execute = _execute  # type: ignore[method-assign]


@guard
def leave_context() -> None:
    """Undo ``carry_context``."""
    import sys

    core = sys.modules.get("aiosqlite.core")
    original = getattr(getattr(getattr(core, "Connection", None), "_execute", None), "_dbsight_original", None)
    if core is not None and original is not None:
        core.Connection._execute = original
