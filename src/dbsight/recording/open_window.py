"""A window while it is open: the queue of its records, and what is known of the operations that were drained."""

from __future__ import annotations

import threading
from operator import attrgetter, le
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbsight.recording.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.model import Event, Finding, Operation

_end_of = attrgetter("end_ns")
_NEVER: Final = 2**63
"""ns since the epoch."""

MAX_EVENTS = 500
"""Events remembered in one window until it is emptied."""


class Part(NamedTuple):
    """What was taken out of an open window.

    Attributes:
        operations: In the order of their ends.
        events: What was no query, in order.
        began_ns: When the window was last emptied, ns since the epoch.
        duration: s since then.
    """

    operations: list[Operation]
    events: list[Event]
    began_ns: int
    duration: float


class OpenWindow(Queue):
    """Everything that one local root span, or one thread or task outside spans, did so far.

    Attributes:
        name: Name of the root span as known so far.
        trace_id: 128-bit integer.
        span_id: Of the root span.
        start_ns: When the root began, ns since the epoch.
        duration: s that the window took, once it was closed.
        request: The root is a SERVER or CONSUMER span.
        sampled: The root is exported.
        exported: The root is handed to the processors that were there before ours.
        concurrency: The most operations that ran at once, in the parts that were taken out.
        rootless: No processor will see the root end.
        calls: All operations, remembered or not.
        db_time: s; the sum of all their durations.
        last_ns: When the most recent operation ended, ns since the epoch.
        emptied_ns: When it was last emptied, ns since the epoch.
        ended_ns: When its root ended, ns since the epoch; what starts later is not its own.
        grown: Bytes by which the peak of memory had grown when its root ended, None where that was not noted.
        findings: About groups, made when it was emptied early and when it closed; by id.
        singles: About single queries, counted here, written on the queries' own spans; by id.
        closed: Its rules ran for the last time.
        root: The synthetic root that it belongs to, when outside spans.
        live: The root span while it runs: frameworks learn the route late, and rename it.
        allowed_calls: Operations that ran where ``budget_exceeded`` was allowed.
        allowed_time: s; the sum of their durations.
        loads: What ORMs loaded in it, ``instrument.loads.Loads``; None unless that is watched.
    """

    __slots__ = (
        "_lock",
        "allowed_calls",
        "allowed_time",
        "calls",
        "closed",
        "concurrency",
        "db_time",
        "duration",
        "emptied_ns",
        "ended_ns",
        "events",
        "exported",
        "findings",
        "grown",
        "last_ns",
        "live",
        "loads",
        "name",
        "operations",
        "request",
        "root",
        "rootless",
        "sampled",
        "singles",
        "span_id",
        "start_ns",
        "trace_id",
    )

    def __init__(
        self,
        name: str,
        trace_id: int,
        span_id: int,
        start_ns: int,
        *,
        request: bool = False,
        sampled: bool = True,
        exported: bool = True,
        rootless: bool = False,
        attend: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(attend)
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.start_ns = start_ns
        self.request = request
        self.sampled = sampled
        self.exported = exported
        self.rootless = rootless
        self.duration = 0.0
        self.operations: list[Operation] = []
        self.events: list[Event] = []
        self.calls = 0
        self.concurrency = 0
        self.db_time = 0.0
        self.last_ns = start_ns
        self.emptied_ns = start_ns
        self.ended_ns = _NEVER
        self.grown: int | None = None
        self.findings: dict[str, Finding] = {}
        self.singles: dict[str, Finding] = {}
        self.closed = False
        self.root: Any = None
        self.live: Any = None
        self.allowed_calls = 0
        self.allowed_time = 0.0
        self.loads: Any = None
        # Re-entrant: a finalizer that runs a query while this thread holds the lock must not hang.
        self._lock = threading.RLock()

    @property
    def window(self) -> OpenWindow:
        """Itself."""
        return self

    def add(self, operations: Sequence[Operation]) -> int:
        """Remember operations, in any order.

        Returns:
            How many are remembered now.
        """
        with self._lock:
            self.operations += operations
            self.calls += len(operations)
            self.db_time += sum([operation.duration for operation in operations])
            self.last_ns = max([self.last_ns, *[operation.end_ns for operation in operations]])
            for operation in [each for each in operations if each.allowed or each.statement.allowed]:  # hardly any
                if (operation.allowed | operation.statement.allowed) & {"budget_exceeded", "all"}:
                    self.allowed_calls += 1
                    self.allowed_time += operation.duration
            return len(self.operations)

    def rename(self) -> None:
        """Take the name that the root span has by now."""
        if self.live is not None:
            self.name = self.live.name

    def end(self) -> int:
        """Its root has ended: it takes no more records. Those that it has are drained when it is judged.

        Returns:
            How many operations it has, as far as is known.
        """
        self.sealed = True
        self.place = None
        self.live = None
        self.ended_ns = time_ns()
        return len(self._pending) + len(self.operations)

    def takes(self, at_ns: int) -> bool:
        """Whether what began at this moment, ns since the epoch, can belong to it."""
        return at_ns <= self.ended_ns and not self.closed

    def note(self, event: Event) -> None:
        """Remember what was no query."""
        with self._lock:
            if len(self.events) < MAX_EVENTS:
                self.events.append(event)

    def take(self, now_ns: int) -> Part:
        """Take out what is remembered; the window goes on without it.

        Args:
            now_ns: ns since the epoch.
        """
        with self._lock:
            operations, self.operations = self.operations, []
            events, self.events = self.events, []
            began, self.emptied_ns = self.emptied_ns, now_ns
        operations.sort(key=_end_of)
        if operations:
            self.concurrency = max(self.concurrency, peak(operations))
        return Part(operations, events, began, max(0.0, (now_ns - began) / 1e9))

    def remembered(self) -> tuple[list[Operation], list[Event]]:
        """Copies of what is remembered now: operations in the order of their ends, and events."""
        with self._lock:
            return sorted(self.operations, key=_end_of), list(self.events)

    def abandon(self) -> None:
        """In a forked child: the window is the parent's, and takes nothing more."""
        super().abandon()
        self.sealed = True

    def __repr__(self) -> str:
        return f"OpenWindow({self.name!r}, {self.calls} calls, {self.trace_id:032x})"


def peak(operations: Sequence[Operation]) -> int:
    """The most operations that ran at once.

    Args:
        operations: In the order of their ends. One ran from its start to its end, the application's own time between
            fetches included.
    """
    ends = [operation.end_ns for operation in operations]
    starts = [operation.start_ns for operation in operations]
    if all(map(le, ends, starts[1:])):  # one after the other, as nearly always
        return min(1, len(operations))
    starts.sort()
    most = over = 0
    for started, start in enumerate(starts, 1):
        while ends[over] <= start:
            over += 1
        most = max(most, started - over)
    return most
