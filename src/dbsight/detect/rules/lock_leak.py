"""Locks that are never released."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Snapshot


def named(lock: str) -> str:
    """The name of a lock as code, by its template: ``"stock"``, ``f"stock:{key}"``."""
    return f'f"{lock.replace("{}", "{key}")}"' if "{}" in lock else f'"{lock}"'


class LockLeak(SnapshotRule):
    """A distributed lock is acquired and never released, or is held beyond its timeout.

        [ POST /orders ------------------------------------------ ]
          [ SET lock:stock ] acquired … the lock object is deleted, the key remains

    Anti-pattern:
        lock = client.lock("stock")
        lock.acquire()
        lock = None  # the lock can no longer be released

    Best practice:
        with client.lock("stock", timeout=10):
            pass  # the exclusive work

    Severity:
        error: From the first leak on. Without a timeout, every other client waits forever.

    Not reported:
        Locks held for less than their timeout, or for less than ``connection_leak_after`` if they have none.
    """

    name: ClassVar[str] = "lock_leak"
    category: ClassVar[Category] = "lock"
    settings: ClassVar[tuple[str, ...]] = ("connection_leak_after",)

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Return one finding per lock."""
        return [
            self.finding(
                ("ll", totals.system, totals.lock),
                severity="error",
                title=f"The lock {totals.lock} is not released",
                description=(
                    f"{totals.leaks} of {totals.acquired} acquisitions of the {totals.system} lock {totals.lock} were"
                    " never released, or held beyond the timeout."
                ),
                suggestion=f"with client.lock({named(totals.lock)}, timeout=10):\n    …",
                effort="low",
                count=totals.leaks,
                metric="leaks",
                current_value=float(totals.leaks),
                threshold=0.0,
                call_site=totals.leak_site,
            )
            for totals in snapshot.locks
            if totals.leaks
        ]
