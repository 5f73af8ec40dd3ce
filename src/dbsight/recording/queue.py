"""Records that are pending until the drain: appended on the request path, worked off by the fifty."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextvars import copy_context
from itertools import groupby, repeat, starmap
from typing import TYPE_CHECKING, Any, Final

from dbsight import scope
from dbsight.recording import consumers
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH: Final = 50
"""Records of a unit of work that are drained at once: by the fifty they cost half."""
_LOOSE_BATCH: Final = 250
"""The same of records of none. Most are counters of caches, which cost less the more they have counted."""
_MANY: Final = 1000
"""Pending records from which on even those wait that only append."""
_PATIENCE: Final = 1.0
"""s that one thread waits for another that is draining; two that wait for each other must go on."""


class Queue:
    """Pending records of one unit of work, or of none.

    Args:
        attend: Called when the first record is appended, so that a timer drains the queue in time.
        batch: Records that are drained at once.

    Attributes:
        sealed: Takes no more records: its window was closed.
        used: Something was appended, and may have been published out of order.
        place: What ``span.SpanFactory`` remembers of the context that the latest record was made in.
    """

    __slots__ = ("_attend", "_attended", "_batch", "_draining", "_pending", "place", "sealed", "used")

    def __init__(self, attend: Callable[[], object] | None = None, batch: int = BATCH) -> None:
        self._attend = attend
        self._batch = batch
        self._attended = False
        # Re-entrant: a finalizer may run a query while this thread is draining.
        self._draining = threading.RLock()
        self._pending: deque[Any] = deque()
        self.used = False
        self.sealed = False
        self.place: Any = None

    @property
    def window(self) -> Any:
        """The open window whose records these are, None for records of none."""
        return None

    def append(self, record: Any) -> bool:
        """Take a record of something that is over, to be drained with others.

        Returns:
            Whether it was taken; if not, the caller publishes it at once. Never raises.
        """
        if self.sealed:
            return False
        pending = self._pending
        pending.append(record)
        if not self._attended and not self._is_attended(record):
            return False
        waiting = len(pending)
        if waiting >= self._batch or self.sealed:
            # The thread that is draining takes this record too; this one waits only where that cannot keep up, or
            # where the window was sealed meanwhile.
            self.drain(_PATIENCE if waiting >= _MANY or self.sealed else 0)
        return True

    def _is_attended(self, record: Any) -> bool:
        """Have a timer drain it; whether there is one."""
        self.used = self._attended = True
        if self._attend is None:
            return True
        try:
            self._attend()
        except BaseException as error:
            self._attended = drained = False
            try:
                self._pending.remove(record)
            except ValueError:
                drained = True  # meanwhile, by another thread
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, RuntimeError):  # no thread can be started any more
                failed("recording.queue")
            return drained
        return True

    def rest(self) -> bool:
        """Whether nothing is pending; the next record calls ``attend`` again."""
        self._attended = False
        if self._pending:
            self._attended = True
        return not self._attended

    def drain(self, patience: float = _PATIENCE) -> None:
        """Work off what is pending. Never raises.

        Args:
            patience: s to wait for another thread that is draining this queue.
        """
        # One thread at a time, or the window could be closed while another holds what belongs to it.
        if not self.used or not self._draining.acquire(timeout=patience):
            return
        try:
            self.place = None
            if self._pending:
                # In a context of its own: a finalizer may drain, and up to Python 3.11 the interpreter crashes where
                # one sets a variable of the context in which its thread was just setting another.
                copy_context().run(self._drain_all)
        finally:
            self._draining.release()

    def _drain_all(self) -> None:
        # What is drained belongs to this window, whatever the draining thread does otherwise.
        scope.window.set(self.window)
        while self._pending:
            self._drain()

    def _drain(self) -> None:
        records: list[Any] = []
        try:  # noqa: SIM105 - suppress() costs more than the rest of this
            records.extend(starmap(self._pending.popleft, repeat(())))  # keeps those that it got until then
        except IndexError:
            pass
        kinds: dict[type, list[Any]] = {}
        for kind, run in groupby(records, type):  # mostly one, or a few
            kinds.setdefault(kind, []).extend(run)
        for kind, alike in kinds.items():
            _flush(kind, alike)

    def seal(self) -> None:
        """Take no more records, and drain those that are pending."""
        self.sealed = True
        self.place = None
        self.drain()

    def abandon(self) -> None:
        """In a forked child: what is pending is the parent's."""
        self.place = None
        self._pending = deque()
        self._draining = threading.RLock()
        self.used = self._attended = False


def _flush(kind: type, records: Sequence[Any]) -> None:
    flush_all = getattr(kind, "flush_all", None)
    if flush_all is not None:
        flush_all(records)
    else:
        for event in records:
            consumers.publish(event)


loose: Final = Queue(consumers.attend, _LOOSE_BATCH)
"""Records of no window that is known in place: events outside spans, and traces whose root no processor sees."""


def record(record: Any, queue: Queue | None = None) -> bool:
    """Record what is no query.

    Args:
        record: An event, or an object of a class with ``flush_all``.
        queue: Takes it; by default that of its unit of work, so that it is drained with what else is pending there.

    Returns:
        Whether anybody has a use for it. Never raises.
    """
    if not consumers.awake:
        return False
    if queue is None:
        window = scope.window.get()
        queue = window if window is not None and not window.sealed else loose
    if not queue.append(record):
        _flush(type(record), (record,))
    return True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=loose.abandon)
