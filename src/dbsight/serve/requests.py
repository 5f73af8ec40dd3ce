"""The latest units of work, each with what it did to its databases, numbered for those who ask again and again."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Operation, WindowSummary

MOST: Final = 2000
"""Units of work that are kept."""
MOST_QUERIES: Final = 20
"""Statements that are told of one unit of work: those with the most time."""


@record()
class Page:
    """What came after some number.

    Attributes:
        requests: Plain values, oldest first.
        next: The number to ask from the next time.
        missed: Units of work that are kept no more, and were not told.
    """

    requests: Sequence[dict[str, Any]]
    next: int
    missed: int = 0


class Requests:
    """The latest two thousand; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._last = 0

    def add(self, summary: WindowSummary, operations: Sequence[Operation]) -> None:
        """Keep one that is over.

        Args:
            summary: What is known of it.
            operations: Those of its queries that are still at hand: a long one was emptied in between.
        """
        plain = _plain(summary, operations)
        with self._lock:
            self._last += 1
            plain["seq"] = self._last
            self._kept.append(plain)

    def since(self, number: int) -> Page:
        """Those after a number; all that are kept after one that this process has not reached."""
        with self._lock:
            kept, last = list(self._kept), self._last
        if not 0 <= number <= last:
            number = 0
        found = [each for each in kept if each["seq"] > number]
        return Page(found, last, last - number - len(found))


def _plain(summary: WindowSummary, operations: Sequence[Operation]) -> dict[str, Any]:
    queries: dict[str, dict[str, Any]] = {}
    for each in operations:
        statement = each.statement
        known = queries.get(statement.fingerprint)
        if known is None:
            known = queries[statement.fingerprint] = {
                "fingerprint": statement.fingerprint,
                "system": statement.system,
                "summary": statement.summary,
                "count": 0,
                "time": 0.0,
            }
        known["count"] += 1
        known["time"] += each.duration
    longest = sorted(queries.values(), key=lambda query: -query["time"])
    return {
        "seq": 0,
        "route": summary.route,
        "request": summary.request,
        "trace": f"{summary.trace_id:032x}",
        "start": summary.start_ns / 1e9,
        "duration": summary.duration,
        "calls": summary.calls,
        "db_time": summary.db_time,
        "concurrency": summary.concurrency,
        "complete": len(operations) == summary.calls and len(longest) <= MOST_QUERIES,
        "queries": longest[:MOST_QUERIES],
        "findings": [{"id": each.id, "rule": each.rule, "severity": each.severity} for each in summary.findings],
    }
