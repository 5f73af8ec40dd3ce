"""Workloads that mostly write."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Snapshot


_WRITES: Final = ("insert", "update", "delete")


class WriteHeavy(SnapshotRule):
    """Most queries of the process write, so that read replicas do not relieve the database.

        [ POST /events ---------------------- ]
          [ INSERT ] [ INSERT ] [ UPDATE ] [ SELECT ]   3 of 4 write, over the life of the process

    Anti-pattern:
        def track(event):
            session.add(Event(name=event))
            session.commit()

    Best practice:
        def flush(events):  # every second, or every 500 events
            session.execute(insert(Event), [{"name": event} for event in events])
            session.commit()

    Severity:
        info: More than half of 1 000 or more queries write.

    Not reported:
        Processes with fewer queries.
    """

    name: ClassVar[str] = "write_heavy"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = ("workload_calls_threshold", "write_share_threshold")
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the number of writes with that of all queries."""
        calls = snapshot.calls
        writes = sum(snapshot.kinds[kind].count for kind in _WRITES if kind in snapshot.kinds)
        if (
            calls >= self.configuration.workload_calls_threshold
            and writes > self.configuration.write_share_threshold * calls
        ):
            yield self.finding(
                ("wh",),
                severity="info",
                title="The workload mostly writes",
                description=f"{writes} of {calls} queries write ({writes / calls:.0%}). Read replicas do not relieve"
                " this database; batching writes and moving work out of the request do.",
                suggestion="session.execute(insert(Model), rows)  # many rows at once",
                effort="medium",
                impact=0.0,
                count=writes,
                metric="share",
                current_value=writes / calls,
                threshold=self.configuration.write_share_threshold,
            )
