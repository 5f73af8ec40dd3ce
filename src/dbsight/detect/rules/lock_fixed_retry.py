"""Locks that are retried at a fixed interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, LockTotals, Snapshot


class LockFixedRetry(SnapshotRule):
    """Clients that wait for a lock retry at a fixed interval, without backoff or jitter.

        [ POST /orders ------------------------------------------ ]
          [ SET lock ] 100 ms [ SET lock ] 100 ms [ SET lock ] 100 ms …

    Anti-pattern:
        lock.acquire(sleep=0.1)

    Best practice:
        for attempt in range(10):
            if lock.acquire(blocking=False):
                break
            time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))

    Severity:
        warning: 3 or more acquisitions that each paused three times or more for the same time, and waited 1 s in total.
        info: The same, with less waiting.

    Not reported:
        Pauses that grow or vary, and locks acquired in the first or second attempt.
    """

    name: ClassVar[str] = "lock_fixed_retry"
    category: ClassVar[Category] = "lock"
    settings: ClassVar[tuple[str, ...]] = ("lock_fixed_retry_threshold", "lock_fixed_retry_warning_threshold")

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Return one finding per lock."""
        return [
            self._finding(totals)
            for totals in snapshot.locks
            if totals.fixed >= self.configuration.lock_fixed_retry_threshold and totals.fixed * 2 > totals.paced
        ]

    def _finding(self, totals: LockTotals) -> Finding:
        return self.finding(
            ("lr", totals.system, totals.lock),
            severity="warning"
            if totals.wait_total >= self.configuration.lock_fixed_retry_warning_threshold
            else "info",
            title=f"The lock {totals.lock} is retried at a fixed interval",
            description=(
                f"{totals.fixed} of {totals.paced} waits for the {totals.system} lock {totals.lock} paused for the same"
                f" time after each attempt; {totals.attempts} attempts, {seconds(totals.wait_total)} of waiting."
            ),
            suggestion=(
                "for attempt in range(10):\n"
                "    if lock.acquire(blocking=False):\n"
                "        break\n"
                "    time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))"
            ),
            impact=totals.wait_total / 2,
            effort="low",
            count=totals.fixed,
            metric="count",
            current_value=float(totals.fixed),
            threshold=float(self.configuration.lock_fixed_retry_threshold),
            call_site=totals.call_site,
        )
