"""Recommendations: findings and totals over the life of the process, merged by id, ranked by the time they save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight.model import PRIORITIES, Recommendation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import MergedFinding, Priority, Snapshot

_HIGH: Final = 0.1  # of the time in the database
_MOST: Final = 100


def recommendations(snapshot: Snapshot) -> list[Recommendation]:
    """What to change first.

    Args:
        snapshot: The totals of the process.

    Returns:
        At most 100, by priority and then by time saved. Ids are the same in every process and run.
    """
    found = [*_of_findings(snapshot)]
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


def calls_by_table(snapshot: Snapshot) -> dict[str, int]:
    """Executions of the statements that name each table, most first."""
    calls: dict[str, int] = {}
    for totals in snapshot.statements:
        for table in totals.statement.targets:
            calls[table] = calls.get(table, 0) + totals.count
    return dict(sorted(calls.items(), key=lambda item: item[1], reverse=True))
