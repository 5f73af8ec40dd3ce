"""A window: everything that one unit of work did, as far as it is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbsight.model import Finding, Operation


class Window:
    """What the rules look at: the operations of one local root span, or of one thread or task outside spans.

    Attributes:
        name: Name of the root span as known so far.
        trace_id: 128-bit integer.
        span_id: Of the root span.
        start_ns: When the root began, ns since the epoch.
        duration: s that the window took; set when it is judged (for one that goes on: its age).
        request: The root is a SERVER or CONSUMER span.
        sampled: The root is exported.
        operations: Those remembered since the window was last emptied, in order of their end.
        calls: All operations, remembered or not.
        db_time: s; the sum of all their durations.
        last_ns: When the most recent operation ended, ns since the epoch.
        findings: Made so far: about single queries, and about groups when the window was emptied early.
        closed: It was judged for good.
    """

    __slots__ = (
        "calls",
        "closed",
        "db_time",
        "duration",
        "emptied_ns",
        "findings",
        "last_ns",
        "name",
        "operations",
        "request",
        "root",
        "sampled",
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
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.start_ns = start_ns
        self.request = request
        self.sampled = sampled
        self.duration = 0.0
        self.operations: list[Operation] = []
        self.calls = 0
        self.db_time = 0.0
        self.last_ns = start_ns
        self.emptied_ns = start_ns
        self.findings: dict[str, Finding] = {}
        self.closed = False
        self.root: object | None = None  # the drawn root that it belongs to, when outside spans

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
