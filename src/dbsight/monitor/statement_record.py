"""Counts of one statement on one database."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from dbsight.model import StatementTotals
from dbsight.monitor.quantiles import bucket, count_all, durations, empty, quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import CallSite, Database, Operation, PlanSummary, Statement


class StatementRecord:
    """Counts of one fingerprint on one database; written under its own lock."""

    __slots__ = (
        "buckets",
        "call_site",
        "count",
        "database",
        "errors",
        "kind",
        "lock",
        "max",
        "plan",
        "rows",
        "slow",
        "statement",
        "total",
        "very_slow",
    )

    def __init__(self, statement: Statement, database: Database, kind: str) -> None:
        # Re-entrant: a signal handler or a finaliser that runs a query while this thread is inside must not hang.
        self.lock = RLock()
        self.statement = statement
        self.database = database
        self.kind = kind
        self.count = 0
        self.errors = 0
        self.total = 0.0
        self.max = 0.0
        self.rows = 0
        self.slow = 0
        self.very_slow = 0
        self.call_site: CallSite | None = None
        self.plan: PlanSummary | None = None
        self.buckets = empty()

    def take(self, operations: Sequence[Operation], took: Sequence[float], rows: Sequence[int | None]) -> None:
        """Count operations of one fingerprint on one database with one outcome, in the order of their ends.

        Args:
            operations: They.
            took: Their durations, s.
            rows: What they returned.
        """
        total, longest, returned = sum(took), max(took), sum(filter(None, rows))
        failed = operations[0].error_type is not None
        with self.lock:
            self.count += len(took)
            self.total += total
            if longest > self.max:  # noqa: PLR1730 - max() costs a call
                self.max = longest
            count_all(self.buckets, took)
            self.rows += returned
            if failed:
                self.errors += len(took)
            for operation in reversed(operations):
                if operation.call_site is not None:
                    self.call_site = operation.call_site
                    break

    def take_one(self, operation: Operation) -> None:
        """The same of a single one, for less."""
        duration = operation.duration
        index = bucket(duration)
        with self.lock:
            self.count += 1
            self.total += duration
            if duration > self.max:  # noqa: PLR1730 - max() costs a call
                self.max = duration
            self.buckets[index] += 1
            if operation.rows:
                self.rows += operation.rows
            if operation.error_type is not None:
                self.errors += 1
            if operation.call_site is not None:
                self.call_site = operation.call_site

    def copy(self) -> StatementRecord:
        """The counts as they are at one moment."""
        copied = StatementRecord(self.statement, self.database, self.kind)
        with self.lock:
            copied.add(self)
            copied.buckets = self.buckets[:]
        return copied

    def merge(self, other: StatementRecord) -> None:
        """Add the counts of a record that is no longer written to."""
        self.add(other)
        for index, count in enumerate(other.buckets):
            self.buckets[index] += count

    def add(self, other: StatementRecord) -> None:
        """Add everything but the buckets."""
        self.count += other.count
        self.errors += other.errors
        self.total += other.total
        self.max = max(self.max, other.max)
        self.rows += other.rows
        self.slow += other.slow
        self.very_slow += other.very_slow
        self.call_site = other.call_site
        self.plan = other.plan

    def totals(self) -> StatementTotals:
        """As a record of ``dbsight.model``."""
        p50, p95 = quantiles(self.buckets, self.max, 0.5, 0.95)
        return StatementTotals(
            self.statement,
            self.database,
            self.count,
            self.errors,
            self.total,
            p50,
            p95,
            self.max,
            self.rows,
            self.call_site,
            self.plan,
            durations(self.buckets, self.max),
        )
