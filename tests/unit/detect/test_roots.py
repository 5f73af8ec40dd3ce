"""Findings of one window that one change mends name their root."""

import pytest

from builders import make_statement
from dbsight.detect.roots import link
from dbsight.model import CallSite, Database, Finding, MergedFinding
from dbsight.report.causes import causes

SHOP = Database("sqlite", "shop.db")


def found(rule, count=20, impact=0.1, *, function="pay", text=None, line=10):
    """A finding of a loop, or of a query."""
    return Finding(
        rule=rule,
        id=f"{rule}-{function}-{count}",
        severity="warning",
        category="query",
        title=rule,
        description="",
        suggestion=f"fix of {rule}",
        impact=impact,
        count=count,
        statement=make_statement(text or f"SELECT {rule} FROM t"),
        database=SHOP,
        call_site=CallSite("shop.py", line, function),
    )


def linked(*findings):
    """Rules of the findings, each with the rule of its root."""
    link(findings)
    names = {each.id: each.rule for each in findings}
    return [(each.rule, names.get(each.root, "")) for each in findings]


ROWS = "SELECT id FROM lines"


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (
            [found("n_plus_one", impact=0.3), found("row_by_row_write"), found("redis_chatter", 21)],
            ["", "n_plus_one", "n_plus_one"],
        ),
        ([found("n_plus_one"), found("row_by_row_write", impact=0.5)], ["row_by_row_write", ""]),
        ([found("n_plus_one"), found("row_by_row_write", function="save")], ["", ""]),
        ([found("n_plus_one", 100), found("row_by_row_write", 20)], ["", ""]),
        ([found("n_plus_one"), found("slow_query")], ["", ""]),
        ([found("unbounded_fetch", text=ROWS), found("memory_spike", text=ROWS)], ["", "unbounded_fetch"]),
        ([found("error_burst", text=ROWS), found("retry_storm", text=ROWS)], ["retry_storm", ""]),
        ([found("unbounded_fetch", text=ROWS), found("memory_spike")], ["", ""]),
    ],
    ids=[
        *("one loop", "the larger one is the root", "two functions", "two loops", "no loop", "one query"),
        *("failures", "two queries"),
    ],
)
def test_what_one_change_mends_names_its_root(findings, expected):
    """By function and number of rounds, or by query."""
    assert [root for _, root in linked(*findings)] == expected


def test_reports_list_a_root_with_what_it_carries_as_one_cause():
    """What each would save adds up."""
    findings = [found("n_plus_one", impact=0.3), found("row_by_row_write", impact=0.2), found("slow_query")]
    link(findings)
    loop, slow = causes([MergedFinding(each, 1, each.count, each.impact) for each in findings])
    assert [each.finding.rule for each in loop.all] == ["n_plus_one", "row_by_row_write"]
    assert loop.impact == pytest.approx(0.5)
    assert slow.main.finding.rule == "slow_query"


def test_roots_that_name_each_other_are_shown_all_the_same():
    """Findings are merged over windows, in which the other one may have been the larger."""
    first, second = found("n_plus_one"), found("row_by_row_write")
    first.root, second.root = second.id, first.id
    (cause,) = causes([MergedFinding(each, 1, 1, 0.1) for each in (first, second)])
    assert len(cause.all) == 2
