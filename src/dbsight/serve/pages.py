"""The pages of single requests: those that the toolbar linked to.

The toolbar gives the client of a request access to that request only: the address holds a key, an HMAC of the request's
id with the token of the process, and never the token itself.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from typing import TYPE_CHECKING, Final

from dbsight.model import MergedFinding, Snapshot
from dbsight.model.deferred import record
from dbsight.monitor.examples import example_of
from dbsight.monitor.statement_record import StatementRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Operation, StatementTotals, WindowExample, WindowSummary

MOST: Final = 500
"""Requests whose pages are kept, and as many that are not over yet."""
MOST_STATEMENTS: Final = 100
"""Statements on one page: those with the most time."""
PATH: Final = "/request"


def request_id(trace_id: int, span_id: int) -> str:
    """The id of a request's page: 48 hexadecimal digits."""
    return f"{trace_id:032x}{span_id:016x}"


def key_of(token: str, request: str) -> str:
    """What opens the page of one request, and nothing else."""
    return hmac.new(token.encode(), request.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


@record()
class _Page:
    """What the page of one request is made from."""

    summary: WindowSummary
    example: WindowExample
    statements: Sequence[StatementTotals]


class RequestPages:
    """The latest requests that were linked to; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[str, None] = {}
        self._kept: dict[str, _Page] = {}

    def expect(self, request: str) -> None:
        """Keep this request once it is over."""
        with self._lock:
            self._expected[request] = None
            if len(self._expected) > MOST:
                del self._expected[next(iter(self._expected))]

    def add(self, summary: WindowSummary, operations: Sequence[Operation]) -> None:
        """A unit of work is over; it is kept if it is expected.

        Args:
            summary: What is known of it.
            operations: Those of its queries that are still at hand.
        """
        request = request_id(summary.trace_id, summary.span_id)
        if request not in self._expected:
            return
        page = _Page(summary, example_of(summary, operations), _statements(operations))
        with self._lock:
            self._expected.pop(request, None)
            self._kept[request] = page
            if len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]

    def is_expected(self, request: str) -> bool:
        """Whether it is not over yet."""
        return request in self._expected

    def snapshot(self, request: str, service: str) -> Snapshot | None:
        """One request as totals, for the report; None where it is not kept.

        Args:
            request: Its id.
            service: Name of the service.
        """
        page = self._kept.get(request)
        if page is None:
            return None
        summary = page.summary
        found = {each.id: each for each in summary.findings}.values()
        merged = [MergedFinding(each, 1, each.count, each.impact, 1) for each in found]
        return Snapshot(
            service=f"{service} · {summary.route}" if service else summary.route,
            windows=1,
            requests=1,
            calls=summary.calls,
            db_time=summary.db_time,
            window_time=summary.duration,
            request_time=summary.duration,
            request_db_time=summary.db_time,
            failed=sum(each.errors for each in page.statements),
            findings=sorted(merged, key=lambda each: -each.impact),
            statements=page.statements,
            examples=[page.example],
        )


def _statements(operations: Sequence[Operation]) -> list[StatementTotals]:
    records: dict[tuple[str, str], StatementRecord] = {}
    for each in operations:
        key = (each.statement.fingerprint, each.database.key)
        record = records.get(key)
        if record is None:
            record = records[key] = StatementRecord(each.statement, each.database, each.statement.kind)
        record.take_one(each)
    totals = [record.totals() for record in records.values()]
    return sorted(totals, key=lambda each: -each.total)[:MOST_STATEMENTS]
