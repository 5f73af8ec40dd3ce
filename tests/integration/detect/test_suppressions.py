"""Budgets, overrides, the ignore list and the baseline on a real database, by what is exported."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy
from sqlalchemy import select
from sqlalchemy.orm import Session

import dbsight
from dbsight.config import Settings
from dbsight.detect.suppressions import write_baseline
from integration.detect.shop import Order


def loop(session):
    """An N+1 of six queries."""
    for order in session.scalars(select(Order)):
        str(order.customer.name)


@pytest.fixture
def rules(engine, make_telemetry):
    """The rules whose findings stand on the root of one request."""
    telemetry = make_telemetry(settings=Settings())

    def ask(path="/orders", **settings):
        telemetry.clear()
        telemetry.processor.analyzer.use(Settings(**settings))
        with (
            telemetry.root("GET", http_route=path, http_request_method="GET") as span,
            Session(engine) as session,
        ):
            span.set_attributes({"http.route": path, "http.request.method": "GET"})
            loop(session)
        return telemetry

    def found(*arguments, **settings):
        telemetry = ask(*arguments, **settings)
        return list(telemetry.span("GET").attributes.get("dbsight.findings.rules", []))

    found.telemetry = ask
    return found


def test_a_request_over_its_budget_is_a_finding(rules):
    """Seven queries; the route is known when the request is over."""
    assert rules(budgets={"GET /orders": {"queries": 6.0}}) == ["budget_exceeded", "n_plus_one"]
    assert rules(budgets={"GET /orders": {"queries": 7.0}}) == ["n_plus_one"]
    assert rules(budgets={"GET /o*": {"time": 0.0}}) == ["budget_exceeded", "n_plus_one"]
    assert rules(budgets={"GET /cart": {"queries": 1.0}}) == ["n_plus_one"]


def test_queries_that_were_allowed_are_not_counted(engine, make_telemetry):
    """By the context manager or in the text: seven of the eight are left, which the budget has."""
    telemetry = make_telemetry(settings=Settings(budgets={"GET /": {"queries": 7.0}}))

    def rules(text, allowed):
        telemetry.clear()
        with telemetry.root(), Session(engine) as session:
            with dbsight.allow(allowed, reason="a test"):
                session.execute(sqlalchemy.text(text))
            loop(session)
        return telemetry.span("GET /").attributes["dbsight.findings.rules"]

    query = "SELECT name FROM customers"
    assert rules(query, "slow_query") == ["budget_exceeded", "n_plus_one"]
    assert rules(query, "budget_exceeded") == ["n_plus_one"]
    assert rules(f"{query} -- dbsight: allow budget_exceeded", "slow_query") == ["n_plus_one"]


def test_a_slow_limit_of_a_route_holds_once_the_route_is_known(engine, make_telemetry):
    """Frameworks rename the span of a request while it runs."""
    limits = {"slow_query_threshold": 1e-9, "very_slow_query_threshold": 60.0}
    telemetry = make_telemetry(settings=Settings(overrides={"GET /orders": limits}))
    with telemetry.root("GET") as span, Session(engine) as session:
        session.execute(sqlalchemy.text("SELECT name FROM customers")).all()
        span.update_name("GET /orders")
        session.execute(sqlalchemy.text("SELECT id FROM customers")).all()
    before, after = (query for query in telemetry.spans() if query.kind == "CLIENT")
    assert "dbsight.query.class" not in before.attributes
    assert after.attributes["dbsight.query.class"] == "slow"


def test_a_finding_is_ignored_on_one_route(rules):
    """The other route keeps it."""
    ignore = ({"rule": "n_plus_one", "reason": "a test", "route": "GET /orders"},)
    assert rules(ignore=ignore) == []
    assert rules("/cart", ignore=ignore) == ["n_plus_one"]


def test_an_entry_that_ignored_nothing_is_in_the_report(rules):
    """For the last lines on the terminal."""
    ignore = ({"rule": "slow_query", "reason": "a test"},)
    telemetry = rules.telemetry(ignore=ignore)
    assert telemetry.processor.analyzer.snapshot().unused == [
        "ignore slow_query matched nothing: remove it if this persists"
    ]


def test_a_rule_is_taken_away_for_one_fingerprint(rules):
    """As it stands on the span of the query; the other query of the request keeps its own."""
    spans = rules.telemetry().spans()
    first, repeated = (
        {
            span.attributes["dbsight.query.fingerprint"]
            for span in spans
            if span.attributes.get("db.query.summary") == name
        }
        for name in ("SELECT orders", "SELECT customers")
    )
    for fingerprint, found in ((*first, ["n_plus_one"]), (*repeated, [])):
        assert rules(overrides={fingerprint: {"rules": ("-n_plus_one",)}}) == found


def test_an_entry_that_expired_ignores_nothing_any_more(rules):
    """The finding is back, and the report says why."""
    expires = dt.date(2020, 1, 31)
    ignore = ({"rule": "n_plus_one", "reason": "a test", "expires": expires},)
    telemetry = rules.telemetry(ignore=ignore)
    assert telemetry.span("GET").attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert telemetry.processor.analyzer.snapshot().unused == [
        "ignore n_plus_one expired on 2020-01-31: fix the finding or renew it"
    ]


def test_a_rule_is_taken_away_for_one_table(rules):
    """By the name of the table."""
    assert rules(overrides={"customers": {"rules": ("-n_plus_one",)}}) == []
    assert rules(overrides={"tags": {"rules": ("-n_plus_one",)}}) == ["n_plus_one"]


def test_what_is_in_the_baseline_is_not_reported(rules, tmp_path):
    """Made from what was found."""
    snapshot = rules.telemetry().processor.analyzer.snapshot()
    path = tmp_path / "baseline.json"
    assert write_baseline([merged.finding for merged in snapshot.findings], path) == 1
    assert rules(baseline=str(path)) == []
