"""Recommendations: merged by id, ranked, and about the workload as a whole."""

import pytest

from dbsight.model import Database, Finding, KindTotals, MergedFinding, Snapshot, Statement, StatementTotals
from dbsight.monitor.recommend import recommendations


def found(identity, severity, impact, **more):
    """A finding, merged over two windows."""
    finding = Finding("n_plus_one", identity, severity, "query", "title", "description", impact=impact, **more)
    return MergedFinding(finding, 2, 10, impact)


def totals(count, total, *targets, kind="select"):
    """Totals of one statement."""
    statement = Statement("sqlite", "", "SELECT", "0" * 16, kind=kind, targets=targets)
    return StatementTotals(statement, Database("sqlite"), count, 0, total, 0.0, 0.0, 0.0, 0)


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


@pytest.mark.parametrize(("writes", "expected"), [(600, ["wh-workload"]), (400, [])])
def test_a_workload_that_mostly_writes_is_named(writes, expected):
    """Half of the queries."""
    kinds = {"insert": KindTotals(writes), "select": KindTotals(1000 - writes)}
    assert [each.id for each in recommendations(Snapshot(calls=1000, kinds=kinds))] == expected


def test_a_table_that_takes_most_of_the_time_is_named():
    """A join counts for both tables."""
    snapshot = Snapshot(
        calls=1000, db_time=10.0, statements=[totals(500, 6.0, "orders"), totals(500, 4.0, "users", "tags")]
    )
    (hot,) = recommendations(snapshot)
    assert (hot.id, hot.details["seconds"]) == ("ht-orders", 6.0)


def test_little_work_says_nothing_about_the_workload():
    """Fewer than a thousand queries."""
    snapshot = Snapshot(calls=999, db_time=1.0, kinds={"insert": KindTotals(999)}, statements=[totals(999, 1.0, "t")])
    assert recommendations(snapshot) == []
