"""Findings of one cause are one entry of a report, with one thing to change."""

import pytest

from builders import make_statement
from dbsight.model import CallSite, Database, Finding, MergedFinding, PlanSummary, RouteTotals, Snapshot
from dbsight.report import finding_text
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


def test_what_a_slow_query_loads_in_vain_is_its_cause():
    """The advice about the rows is what to change, unless a plan knows better; another query's stays alone."""
    slow = finding("slow_query", impact=0.1, suggestion=".limit(1000)")
    unused = finding("unused_eager_load", impact=0.2, suggestion="remove joinedload(Customer.orders)")
    other = finding("over_fetch", suggestion="load_only(…)", statement=make_statement("SELECT 1"))
    first, second = causes([slow, unused, other])
    assert (first.main, first.others, first.impact) == (slow, [unused], 0.2)
    assert first.fix == "remove joinedload(Customer.orders)"
    assert second.main is other
    index = finding("missing_index", suggestion="CREATE INDEX i ON t (a)")
    assert [cause.fix for cause in causes([slow, unused, index])] == [
        unused.finding.suggestion,
        index.finding.suggestion,
    ]
    assert [cause.main for cause in causes([unused])] == [unused]


def test_slow_queries_of_one_line_with_one_fix_are_one_cause():
    """What each would save adds up; those without a known fix stay apart, and so do those of other lines."""
    site, elsewhere = CallSite("shop.py", 67, "number"), CallSite("shop.py", 99, "number")

    def slow(number, site, suggestion):
        statement = make_statement(f"SELECT max(id) - {number} AS a{number} FROM orders")
        return finding("slow_query", number, call_site=site, suggestion=suggestion, statement=statement)

    found = [slow(1, site, "rewrite"), slow(2, site, "rewrite"), slow(3, elsewhere, "rewrite"), slow(4, site, "")]
    first, *rest = causes([*found, slow(5, site, "")])
    assert (first.main, first.others) == (found[0], [found[1]])
    assert first.impact == pytest.approx(0.2)
    assert len(rest) == 3


def test_findings_that_read_the_same_are_told_once():
    """With their number."""
    main = finding("slow_query").finding
    others = [finding("bad_plan", 1), finding("bad_plan", 2), finding("missing_index")]
    assert [text for _, text, _ in finding_text.also(others, main)] == ["bad_plan, 2 of them", "missing_index"]


def test_a_description_does_not_repeat_the_line_that_stands_below():
    """With the function or without; another line is kept."""
    site = CallSite("shop.py", 67, "number")
    made = finding("serial_awaits", call_site=site, description="Awaited one by one, at shop.py:67; saves 1 s.").finding
    assert finding_text.description(made) == "Awaited one by one; saves 1 s."
    made.description = "Awaited one by one, at shop.py:67, shop.py:80; saves 1 s."
    assert finding_text.description(made) == made.description


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
