"""Locks that many wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.identity import identity
from dbsight.detect.rule import SnapshotRule
from dbsight.detect.rules.lock_leak import named
from dbsight.formatting import seconds
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, LockTotals, Snapshot

ENOUGH: Final = 10
"""Acquisitions from which a share says something."""

SHARE: Final = 0.5
"""Of them, those that had to wait."""

WAIT: Final = 0.01
"""s; mean of all acquisitions."""


class LockContention(SnapshotRule):
    """Most of those who want a lock find it taken.

        [ POST /orders ------------------------------------------ ]
          [ lock acquire: 7 retries, 820 ms ] [ work: 30 ms ]

    Anti-pattern:
        with client.lock("stock", timeout=10):
            pass  # one lock for everything there is

    Best practice:
        with client.lock(f"stock:{sku}", timeout=10):
            pass  # one for each thing, held for as short as can be

    Severity:
        warning: 10 acquisitions or more, half of them in more than one try, for 10 ms on average.

    Left alone:
        Locks that are wanted seldom, or got at once as a rule.
    """

    name: ClassVar[str] = "lock_contention"
    category: ClassVar[Category] = "lock"

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """One finding a lock."""
        return [
            self._finding(totals)
            for totals in snapshot.locks
            if totals.tries >= ENOUGH
            and totals.contended >= SHARE * totals.tries
            and totals.wait_total >= WAIT * totals.tries
        ]

    def _finding(self, totals: LockTotals) -> Finding:
        mean = totals.wait_total / totals.tries
        held = totals.held_total / totals.releases if totals.releases else 0.0
        return Finding(
            rule=self.name,
            id=identity("lc", self.name, totals.system, totals.lock),
            severity="warning",
            category=self.category,
            title=f"Most who want the lock {totals.lock} have to wait",
            description=(
                f"{totals.contended} of {totals.tries} times the {totals.system} lock {totals.lock} was taken already;"
                f" {seconds(mean)} of waiting on average, {seconds(held)} held; {totals.failed} gave up."
            ),
            suggestion=_apart(totals),
            impact=totals.wait_total * 0.9,
            effort="medium",
            count=totals.contended,
            metric="share",
            current_value=totals.contended / totals.tries,
            threshold=SHARE,
            call_site=totals.call_site,
        )


def _apart(totals: LockTotals) -> str:
    """One lock for each thing; where there is one already, around less."""
    if totals.system == "postgresql":
        return "connection.execute(select(func.pg_advisory_xact_lock(number, key)))  # one for each thing"
    if "{}" in totals.lock:
        return f"with client.lock({named(totals.lock)}, timeout=10):  # around what has to be done alone\n    …"
    return f'with client.lock(f"{totals.lock}:{{key}}", timeout=10):  # one for each thing\n    …'
