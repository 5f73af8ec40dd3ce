"""Findings of one cause are one entry of a report, with one thing to change."""

import pytest

from builders import make_statement
from dbsight.model import CallSite, Database, Finding, MergedFinding, PlanSummary, RouteTotals, Snapshot
from dbsight.report.causes import causes, headline, way_forward

SHOP = Database("sqlite", "shop.db")


def finding(rule, number=1, impact=0.1, **fields):
    """A finding about one statement."""
    made = Finding(rule, f"{rule}-{number}", "warning", fields.pop("category", "query"), rule, "", impact=impact)
    made.statement, made.database = make_statement(), SHOP
    for name, value in fields.items():
        setattr(made, name, value)
    return MergedFinding(made, 1, 1, impact, 1)


def test_a_slow_query_its_plan_and_its_index_are_one_cause():
    """What the index saves is not counted twice, and the index is what to change."""
    index = finding(
        "missing_index", impact=0.4, suggestion="CREATE INDEX i ON t (a)", details={"proof": "proved"},
        current_value=120.0, threshold=4.0,
    )  # fmt: skip
    (cause,) = causes([finding("slow_query", impact=0.5), index, finding("bad_plan", impact=0.0, suggestion="rewrite")])
    assert (cause.main.finding.rule, [each.finding.rule for each in cause.others]) == (
        "slow_query",
        ["missing_index", "bad_plan"],
    )
    assert (cause.impact, cause.fix) == (0.5, "CREATE INDEX i ON t (a)")
    assert cause.proof == "proved: the planner uses the index: cost 120 → 4"


def test_loads_that_one_query_option_covers_are_one_cause():
    """The longer chain of options loads what the shorter one does."""
    orders = finding("n_plus_one", 1, 0.2, route="GET /a", suggestion="select(C).options(selectinload(C.orders))")
    lines = finding(
        "n_plus_one",
        2,
        0.3,
        route="GET /a",
        suggestion="select(C).options(selectinload(C.orders).selectinload(O.lines))",
    )
    elsewhere = finding("n_plus_one", 3, 0.1, route="GET /b", suggestion=orders.finding.suggestion)
    first, second = causes([lines, orders, elsewhere])
    assert (first.main.finding.id, [each.finding.id for each in first.others]) == ("n_plus_one-2", ["n_plus_one-1"])
    assert first.impact == pytest.approx(0.5)
    assert second.main.finding.id == "n_plus_one-3"


def test_what_a_pool_reports_of_one_line_is_one_cause():
    """A leak and the waits that it causes."""
    site = CallSite("shop.py", 141, "export")
    found = [
        finding(rule, category="pool", call_site=site, statement=None) for rule in ("pool_wait", "connection_leak")
    ]
    assert len(causes(found)) == 1


@pytest.mark.parametrize(
    ("details", "plan", "words"),
    [
        ({"wait": 0.9, "execute": 0.1}, None, "give connections back"),
        ({"execute": 1.0, "lock": 0.9}, None, "commit the transaction"),
        ({"connect": 0.9, "execute": 0.1}, None, "keep connections open"),
        ({"execute": 0.1, "fetch": 0.9, "rows": 5000}, None, ".limit(100)"),
        ({"execute": 1.0}, PlanSummary("h", None, ()), "no known fault"),
        ({"execute": 1.0}, None, "OTEL_DBSIGHT_EXPLAIN=slow"),
        ({}, None, "OTEL_DBSIGHT_EXPLAIN=slow"),
    ],
)
def test_a_slow_query_always_has_something_to_change(details, plan, words):
    """From where its time went, or how to find out."""
    assert words in way_forward(finding("slow_query", details=details, plan=plan).finding)


def test_the_headline_says_what_the_best_changes_save():
    """One sentence: of how much, and where most of the time goes."""
    found = [finding("redundant_query", number, 0.3, statement=None) for number in range(5)]
    snapshot = Snapshot(
        calls=9, requests=3, db_time=1.5, window_time=2.0, routes=[RouteTotals("GET /orders", 3, 9, 1.4, 2.0, 3)]
    )
    assert headline(snapshot, causes(found)) == (
        "3 changes would save about 900 ms of 2.00 s spent in requests; most database time goes to GET /orders"
    )
    assert headline(snapshot, []) == ""
