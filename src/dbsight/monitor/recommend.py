"""Recommendations: findings and totals over the life of the process, merged by id, ranked by the time they save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight.model import PRIORITIES, Recommendation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import MergedFinding, Priority, Snapshot

MINIMUM_CALLS: Final = 1000
"""Queries below which nothing is said about the workload as a whole."""

WRITE_HEAVY: Final = 0.5
"""Share of the queries that write, above which replicas do not help and batching does."""

HOT_TABLE: Final = 0.5
"""Share of the time in the database that statements with one table take, above which the table deserves attention."""

_WRITES: Final = ("insert", "update", "delete")
_HIGH: Final = 0.1  # of the time in the database
_MOST: Final = 100


def recommendations(snapshot: Snapshot) -> list[Recommendation]:
    """What to change first.

    Args:
        snapshot: The totals of the process.

    Returns:
        At most 100, by priority and then by time saved. Ids are the same in every process and run.
    """
    found = [*_of_findings(snapshot), *_of_workload(snapshot)]
    found.sort(key=lambda each: (PRIORITIES.index(each.priority), each.impact), reverse=True)
    return found[:_MOST]


def _of_findings(snapshot: Snapshot) -> Iterator[Recommendation]:
    for merged in snapshot.findings:
        finding = merged.finding
        details: dict[str, Any] = {
            "rule": finding.rule,
            "suggestion": finding.suggestion,
            "count": merged.count,
            "windows": merged.windows,
        }
        if finding.call_site is not None:
            details["call_site"] = str(finding.call_site)
        if finding.statement is not None:
            details["query"] = finding.statement.summary
            details["fingerprint"] = finding.statement.fingerprint
        if finding.route:
            details["route"] = finding.route
        yield Recommendation(
            finding.id,
            _priority(merged, snapshot),
            finding.title,
            finding.category,
            finding.description,
            merged.impact,
            finding.effort,
            details,
        )


def _priority(merged: MergedFinding, snapshot: Snapshot) -> Priority:
    priority = merged.finding.priority
    return "high" if priority == "medium" and merged.impact >= _HIGH * snapshot.db_time > 0 else priority


def _of_workload(snapshot: Snapshot) -> Iterator[Recommendation]:
    calls = snapshot.calls
    if calls < MINIMUM_CALLS:
        return
    writes = sum(snapshot.kinds[kind].count for kind in _WRITES if kind in snapshot.kinds)
    if writes > WRITE_HEAVY * calls:
        yield Recommendation(
            "wh-workload",
            "medium",
            "The workload mostly writes",
            "workload",
            f"{writes} of {calls} queries write ({writes / calls:.0%}). Read replicas do not relieve this database;"
            " batching writes and moving work out of the request do.",
            0.0,
            "medium",
            {"rule": "write_heavy", "writes": writes, "queries": calls},
        )
    by_table = time_by_table(snapshot)
    for table, seconds in by_table.items():
        if seconds > HOT_TABLE * snapshot.db_time:
            yield Recommendation(
                f"ht-{table}",
                "medium",
                f"Most of the time in the database goes to {table}",
                "workload",
                f"Statements that name {table} take {seconds / snapshot.db_time:.0%} of the time in the database."
                " Cache what is read often, or partition the table where it is large.",
                0.0,
                "high",
                {"rule": "hot_table", "table": table, "seconds": seconds},
            )


def calls_by_table(snapshot: Snapshot) -> dict[str, int]:
    """Executions of the statements that name each table, most first."""
    calls: dict[str, int] = {}
    for totals in snapshot.statements:
        for table in totals.statement.targets:
            calls[table] = calls.get(table, 0) + totals.count
    return dict(sorted(calls.items(), key=lambda item: item[1], reverse=True))


def time_by_table(snapshot: Snapshot) -> dict[str, float]:
    """S in the statements that name each table, most first."""
    seconds: dict[str, float] = {}
    for totals in snapshot.statements:
        for table in totals.statement.targets:
            seconds[table] = seconds.get(table, 0.0) + totals.total
    return dict(sorted(seconds.items(), key=lambda item: item[1], reverse=True))
