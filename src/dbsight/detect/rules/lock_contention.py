"""Contended locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.rule import SnapshotRule
from dbsight.detect.rules.lock_leak import named
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, LockTotals, Snapshot

_SAVED: Final = 0.9
"""Share of the waiting that a lock for each resource saves, estimated: few of them are asked for at once."""


class LockContention(SnapshotRule):
    """A lock is already held in most attempts to acquire it.

        [ POST /orders ------------------------------------------ ]
          [ lock acquire: 7 retries, 820 ms ] [ work: 30 ms ]

    Anti-pattern:
        with client.lock("stock", timeout=10):
            pass  # one lock for all resources

    Best practice:
        with client.lock(f"stock:{sku}", timeout=10):
            pass  # one lock per resource, held for as short as can be

    Severity:
        warning: 10 acquisitions or more; half of them needed several attempts, and the mean wait is 10 ms or longer.

    Not reported:
        Locks that are rarely acquired, or usually acquired in the first attempt.
    """

    name: ClassVar[str] = "lock_contention"
    category: ClassVar[Category] = "lock"
    settings: ClassVar[tuple[str, ...]] = (
        "lock_contention_threshold",
        "lock_contention_tries_threshold",
        "lock_contention_wait_threshold",
    )

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Return one finding per lock."""
        return [
            self._finding(totals)
            for totals in snapshot.locks
            if totals.tries >= self.configuration.lock_contention_tries_threshold
            and totals.contended >= self.configuration.lock_contention_threshold * totals.tries
            and totals.wait_total >= self.configuration.lock_contention_wait_threshold * totals.tries
        ]

    def _finding(self, totals: LockTotals) -> Finding:
        mean = totals.wait_total / totals.tries
        held = totals.held_total / totals.releases if totals.releases else 0.0
        return self.finding(
            ("lc", totals.system, totals.lock),
            severity="warning",
            title=f"The lock {totals.lock} is often already held",
            description=(
                f"{totals.contended} of {totals.tries} attempts found the {totals.system} lock {totals.lock} held;"
                f" {seconds(mean)}  mean wait, {seconds(held)} mean hold time; {totals.failed} gave up."
            ),
            suggestion=_apart(totals),
            impact=totals.wait_total * _SAVED,
            effort="medium",
            count=totals.contended,
            metric="share",
            current_value=totals.contended / totals.tries,
            threshold=self.configuration.lock_contention_threshold,
            call_site=totals.call_site,
        )


def _apart(totals: LockTotals) -> str:
    """Suggest one lock per resource or, if the name already has a variable part, less work under the lock."""
    if totals.system == "postgresql":
        return "connection.execute(select(func.pg_advisory_xact_lock(number, key)))  # one lock per resource"
    if "{}" in totals.lock:
        return f"with client.lock({named(totals.lock)}, timeout=10):  # only around the exclusive work\n    …"
    return f'with client.lock(f"{totals.lock}:{{key}}", timeout=10):  # one lock per resource\n    …'
