"""aiosqlite: what it asks of SQLite belongs to the task that waits for it.

It runs every call in a thread of its own, which knows nothing of the caller's context: the spans of an instrumented
sqlite3 become roots without a parent, and instrumentation that is suppressed for a task is not suppressed there. Here
each call that aiosqlite queues takes the context of its caller along. Private: ``Connection._execute``, the same in
aiosqlite 0.17 to 0.22.
"""

from __future__ import annotations

import functools
from contextvars import copy_context
from typing import Any, Final

from dbsight.instrument.wrap import Patches

_patches: Final = Patches()


class _Carried:
    """One call: ``fn`` takes the place of the function that is queued."""

    __slots__ = ("fn",)

    def __init__(self, connection: Any, fn: Any) -> None:
        self.fn = functools.partial(copy_context().run, fn)

    def returned(self, _: Any) -> None:
        """It ran."""

    raised = returned


def carry_context() -> None:
    """From now on every call of every aiosqlite connection runs in its caller's context. Doing it twice is once."""
    if not _patches:
        from aiosqlite.core import Connection

        _patches.wrap(Connection, "_execute", begin=_Carried, changes=("fn",))


def leave_context() -> None:
    """Undo ``carry_context``."""
    _patches.undo()
