"""The view of one unit of work that rules get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.detect.shape import shapes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Event, Operation
    from dbsight.recording import OpenWindow


class Window:
    """A closed window, or the part of one that reached its maximum size or age; it no longer changes.

    Attributes:
        name: Name of the root span as known so far.
        trace_id: 128-bit integer.
        request: The root is a SERVER or CONSUMER span.
        duration: Duration of the window, s; for an open one, its age since it was last emptied.
        operations: In the order of their ends.
        events: Events other than queries, in order.
        calls: All operations, remembered or not.
        db_time: s; the sum of all their durations.
        longest: s; the longest of them.
        distinct: How many different queries there are among them.
        shapes: Theirs, as plain tuples in the form of ``Shape``.
        grown: Bytes by which the peak of memory had grown when the root ended, None where that was not noted.
        facts: Facts that rules derived from it, created by ``detect/facts.py``.
    """

    __slots__ = (
        "calls",
        "db_time",
        "distinct",
        "duration",
        "events",
        "facts",
        "grown",
        "longest",
        "name",
        "operations",
        "request",
        "shapes",
        "trace_id",
    )

    def __init__(
        self,
        name: str,
        trace_id: int,
        operations: Sequence[Operation] = (),
        events: Sequence[Event] = (),
        *,
        duration: float,
        request: bool = False,
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.request = request
        self.duration = duration
        self.operations = operations
        self.events = events
        self.facts: Any = None
        self.grown: int | None = None
        self.calls = len(operations)
        durations = [operation.duration for operation in operations]
        self.db_time = sum(durations)
        self.longest = max(durations, default=0.0)
        self.distinct = len({operation.statement.fingerprint for operation in operations})
        self.shapes = shapes_of(operations)

    @classmethod
    def taken_from(cls, window: OpenWindow, now_ns: int) -> Window:
        """Take the recorded operations and events out of an open window.

        Args:
            window: Stays open.
            now_ns: ns since the epoch.
        """
        part = window.take(now_ns)
        made = cls(
            window.name,
            window.trace_id,
            part.operations,
            part.events,
            duration=part.duration,
            request=window.request,
        )
        made.grown = window.grown
        return made

    def repeats(self) -> bool:
        """Whether a query ran more than once."""
        return self.distinct < len(self.operations)

    def groups(self) -> dict[tuple[str, str], list[Operation]]:
        """The operations by identity: fingerprint and database, in order of first appearance."""
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
