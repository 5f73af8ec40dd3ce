"""A window: everything that one unit of work did, as far as it is remembered."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from dbsight import scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.model import Event, Finding, Operation

MAX_EVENTS = 500
"""Events remembered in one window until it is emptied."""

_TOGETHER = 50
"""What is over, and told at once: told by the fifty it costs half."""
_MANY = 1000
"""What is over, and makes even those wait who only leave something."""
_PATIENCE = 1.0
"""s that one thread waits for another that is telling; two that wait for each other must go on."""


class Window:
    """What the rules look at: the operations of one local root span, or of one thread or task outside spans.

    Operations are added from several threads while the window is open; rules get a part of it, taken out, that nobody
    changes any more.

    Attributes:
        name: Name of the root span as known so far.
        trace_id: 128-bit integer.
        span_id: Of the root span.
        start_ns: When the root began, ns since the epoch.
        duration: s that the window took; of one that goes on: its age since it was last emptied.
        request: The root is a SERVER or CONSUMER span.
        sampled: The root is exported.
        exported: The root is handed to the processors that were there before ours.
        rootless: No processor will see the root end.
        events: What was no query: timeouts of pools, transactions, locks … the first ``MAX_EVENTS`` of them.
        operations: Those remembered since the window was last emptied, in order of their end.
        calls: All operations, remembered or not.
        db_time: s; the sum of all their durations.
        last_ns: When the most recent operation ended, ns since the epoch.
        emptied_ns: When it was last emptied, ns since the epoch.
        findings: About groups, made when it was emptied early and when it closed; by id.
        singles: About single queries, counted here, written on the queries' own spans; by id.
        closed: It was judged for good.
        root: The drawn root that it belongs to, when outside spans.
        live: The root span while it runs: frameworks learn the route late, and rename it.
        spared_calls: Operations that ran where ``budget_exceeded`` was allowed.
        spared_time: s; the sum of their durations.
        sealed: Nothing is kept to be told later any more.
        late: Something was kept, and may be told out of order.
        facts: What rules derived from it, once it is closed; ``detect/facts.py`` makes them.
        place: What an instrumentor wants to remember of the latest place in it, until what it keeps is told.
    """

    __slots__ = (
        "_attend",
        "_lock",
        "_telling",
        "_untold",
        "calls",
        "closed",
        "db_time",
        "duration",
        "emptied_ns",
        "events",
        "exported",
        "facts",
        "findings",
        "last_ns",
        "late",
        "live",
        "name",
        "operations",
        "place",
        "request",
        "root",
        "rootless",
        "sampled",
        "sealed",
        "singles",
        "span_id",
        "spared_calls",
        "spared_time",
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
        self.db_time = 0.0
        self.last_ns = start_ns
        self.emptied_ns = start_ns
        self.findings: dict[str, Finding] = {}
        self.singles: dict[str, Finding] = {}
        self.closed = False
        self.root: object | None = None
        self.live: Any = None
        self.spared_calls = 0
        self.spared_time = 0.0
        # Re-entrant: a finaliser that runs a query while this thread is inside must not hang.
        self._lock = threading.RLock()
        self._telling = threading.RLock()
        self._untold: deque[scope.Untold] = deque()
        self._attend = attend
        self.late = False
        self.sealed = False
        self.place: Any = None
        self.facts: Any = None

    def keep(self, untold: scope.Untold) -> bool:
        """Keep what is over, to tell it with others.

        Returns:
            Whether it is kept; else it must be told at once.
        """
        if self.sealed:
            return False
        if not self.late:
            self.late = True
            if self._attend is not None:
                self._attend()
        self._untold.append(untold)
        waiting = len(self._untold)
        if waiting >= _TOGETHER or self.sealed:
            # Whoever is telling tells this too: nobody waits for him but where he cannot keep up, or has told the last
            # and sealed the window meanwhile.
            self.tell(_PATIENCE if waiting >= _MANY or self.sealed else 0)
        return True

    def tell(self, patience: float = _PATIENCE) -> None:
        """Tell what was kept: when much has come together, before anybody reads totals, and at the end.

        Args:
            patience: s to wait for another thread that is telling.
        """
        # One thread at a time, or the window could be judged while another holds what belongs to it.
        if not self.late or not self._telling.acquire(timeout=patience):
            return
        token = None
        try:
            token = scope.window.set(self)
            self.place = None
            while self._untold:
                self._tell()
        finally:
            if token is not None:
                scope.window.reset(token)
            self._telling.release()

    def _tell(self) -> None:
        kinds: dict[type[scope.Untold], list[scope.Untold]] = {}
        with suppress(IndexError):
            while True:
                untold = self._untold.popleft()
                kinds.setdefault(type(untold), []).append(untold)
        for kind, together in kinds.items():
            kind.tell_all(together)

    def seal(self) -> None:
        """Keep nothing more, and tell what was kept."""
        self.sealed = True
        self.place = None
        self.tell()

    def abandon(self) -> None:
        """In a forked child: what was kept is the parent's."""
        self.sealed = True
        self.place = None
        self._untold = deque()
        self._telling = threading.RLock()

    def add(self, operation: Operation) -> int:
        """Remember an operation.

        Returns:
            How many are remembered now.
        """
        with self._lock:
            self.operations.append(operation)
            self.calls += 1
            self.db_time += operation.duration
            if operation.allowed or operation.statement.allowed:
                self._spare(operation)
            if operation.end_ns > self.last_ns:  # noqa: PLR1730 - max() costs a call
                self.last_ns = operation.end_ns
            return len(self.operations)

    def add_all(self, operations: Sequence[Operation]) -> int:
        """The same for several at once, in any order."""
        with self._lock:
            self.operations += operations
            self.calls += len(operations)
            self.db_time += sum([operation.duration for operation in operations])
            self.last_ns = max([self.last_ns, *[operation.end_ns for operation in operations]])
            for operation in operations:
                if operation.allowed or operation.statement.allowed:
                    self._spare(operation)
            return len(self.operations)

    def _spare(self, operation: Operation) -> None:
        if (operation.allowed | operation.statement.allowed) & {"budget_exceeded", "all"}:
            self.spared_calls += 1
            self.spared_time += operation.duration

    def rename(self) -> None:
        """Take the name that the root span has by now."""
        if self.live is not None:
            self.name = self.live.name

    def note(self, event: Event) -> None:
        """Remember what was no query."""
        with self._lock:
            if len(self.events) < MAX_EVENTS:
                self.events.append(event)

    def take(self, now_ns: int) -> Window:
        """Take out what is remembered, as a window of its own that the rules can look at in peace.

        Args:
            now_ns: ns since the epoch.
        """
        with self._lock:
            operations, self.operations = self.operations, []
            events, self.events = self.events, []
            began, self.emptied_ns = self.emptied_ns, now_ns
        part = Window(self.name, self.trace_id, self.span_id, began, request=self.request, sampled=self.sampled)
        if self.late:
            operations.sort(key=attrgetter("end_ns"))
        part.operations = operations
        part.events = events
        part.calls = len(operations)
        part.db_time = sum([operation.duration for operation in operations])
        part.duration = max(0.0, (now_ns - began) / 1e9)
        return part

    def repeats(self) -> bool:
        """Whether one of the remembered queries came more than once."""
        return len({operation.statement.fingerprint for operation in self.operations}) < len(self.operations)

    def groups(self) -> dict[tuple[str, str], list[Operation]]:
        """The remembered operations by identity: fingerprint and database, in order of first appearance."""
        groups: dict[tuple[str, str], list[Operation]] = {}
        for operation in self.operations:
            key = (operation.statement.fingerprint, operation.database.key)
            group = groups.get(key)
            if group is None:
                groups[key] = [operation]
            else:
                group.append(operation)
        return groups

    def __repr__(self) -> str:
        return f"Window({self.name!r}, {self.calls} calls, {self.trace_id:032x})"
