"""Recommendations: merged by id, and ranked."""

from dbsight.model import Finding, MergedFinding, Snapshot
from dbsight.monitor.recommend import recommendations


def found(identity, severity, impact, **more):
    """A finding, merged over two windows."""
    finding = Finding("n_plus_one", identity, severity, "query", "title", "description", impact=impact, **more)
    return MergedFinding(finding, 2, 10, impact)


def test_errors_and_large_savings_come_first():
    """A warning that takes a tenth of the time in the database is as urgent as an error."""
    snapshot = Snapshot(
        db_time=10.0,
        findings=[
            found("a", "info", 5.0),
            found("b", "warning", 0.5),
            found("c", "warning", 1.5),
            found("d", "error", 0.1),
        ],
    )
    assert [(each.id, each.priority) for each in recommendations(snapshot)] == [
        ("c", "high"),
        ("d", "high"),
        ("b", "medium"),
        ("a", "low"),
    ]
