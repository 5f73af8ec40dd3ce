"""What the rules about plans report on real databases, and what they leave alone."""

import json

import pytest

import dbsight
from dbsight import safety, semconv
from dbsight.detect.rules.bad_plan import BadPlan
from dbsight.detect.suppressions import write_baseline
from dbsight.report.json import document, read, write
from dbsight.report.terminal import render
from integration.plans.test_slow_plans import ask, merged, plans, watched  # noqa: F401 - a fixture

BY_CUSTOMER = "SELECT * FROM orders WHERE customer_id = :customer"
INDEX = "CREATE INDEX ix_by_customer ON orders (customer_id)"


def drop(engine):
    """What removes the index again."""
    on = " ON orders" if engine.dialect.name in ("mysql", "mariadb") else ""
    return f"DROP INDEX ix_by_customer{on}"


def run(engine, *statements):
    """Change the schema, and let the planner know."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_reports_a_missing_index_with_the_proof(shop, watched):  # noqa: F811
    """Proved where the planner can be asked: always on SQLite, on PostgreSQL where a transaction is allowed."""
    telemetry = watched(index_proof="transaction")
    ask(shop, telemetry, BY_CUSTOMER, customer=77)
    (found,) = merged(telemetry, "missing_index")
    assert found.severity == "warning"
    assert found.category == "index"
    assert found.suggestion.endswith("ON orders (customer_id)")
    assert found.route == "GET /orders"
    assert found.call_site.function == "ask"
    assert found.details["sqlalchemy"] == "Index('ix_orders_customer_id', 'customer_id')"
    if shop.dialect.name in ("mysql", "mariadb"):
        assert found.details["proof"] == "likely"
    else:
        assert found.details["proof"] == "proved"
        assert "proved: the planner uses it" in found.description
    if shop.dialect.name == "postgresql":
        assert found.current_value > found.threshold * 2
        assert found.impact > 0
    logged = [each for each in telemetry.logs() if each.attributes.get(semconv.FINDING_RULE) == "missing_index"]
    assert [each.attributes[semconv.PLAN_HASH] for each in logged] == [found.plan.hash]
    assert merged(telemetry, "bad_plan") == []


ALSO_BY_TOTAL = "SELECT id FROM orders WHERE customer_id = :customer AND total > 10"
ALSO_BY_STATUS = "SELECT id FROM orders WHERE status = :status AND customer_id = :customer"


@pytest.mark.parametrize("longer", [ALSO_BY_TOTAL, ALSO_BY_STATUS], ids=["a longer index", "in another order"])
def test_statements_that_one_index_serves_share_a_finding(shop, watched, longer):  # noqa: F811
    """The later one needs a longer index: it takes the place of the one that was advised before, and names who else."""
    telemetry = watched(index_proof="transaction")
    values = {"status": "open"} if longer is ALSO_BY_STATUS else {}
    ask(shop, telemetry, BY_CUSTOMER, customer=77)
    (before,) = merged(telemetry, "missing_index")
    ask(shop, telemetry, longer, customer=77, **values)
    if shop.name == "mysql" and longer is ALSO_BY_STATUS:  # nobody was asked whether another order serves as well
        assert len(merged(telemetry, "missing_index")) == 2
        return
    (found,) = merged(telemetry, "missing_index")
    if found.id == before.id:  # the planner gains too little by a longer one
        assert found.suggestion == before.suggestion
        assert "customer_id, " not in found.suggestion
    else:
        assert "(customer_id, " in found.suggestion
        assert "It also serves SELECT orders" in found.description
    (counted,) = [e for e in telemetry.processor.analyzer.snapshot().findings if e.finding.rule == "missing_index"]
    assert counted.count == 2


def test_a_later_statement_gets_the_index_that_was_advised_before(sqlite_shop, watched):  # noqa: F811
    """The longer one serves it; one of another table or column is another finding."""
    telemetry = watched(explain_per_minute=100)
    ask(sqlite_shop, telemetry, ALSO_BY_TOTAL, customer=77)
    (before,) = merged(telemetry, "missing_index")
    assert before.suggestion.endswith("(customer_id, total)")
    ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=77)
    assert [each.suggestion for each in merged(telemetry, "missing_index")] == [before.suggestion]
    ask(sqlite_shop, telemetry, "SELECT id FROM orders WHERE total = :total", total=7)
    assert len(merged(telemetry, "missing_index")) == 2


def test_an_index_that_was_created_meanwhile_is_not_advised_again(sqlite_shop, watched):  # noqa: F811
    """What was advised before is compared with the catalogue of now."""
    telemetry = watched(explain_per_minute=100)
    ask(sqlite_shop, telemetry, ALSO_BY_TOTAL, customer=77)
    run(sqlite_shop, "CREATE INDEX ix_orders_customer_id_total ON orders (customer_id, total)")
    try:
        ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=77)
        ask(sqlite_shop, telemetry, "SELECT id FROM orders WHERE total = :total", total=7)
    finally:
        run(sqlite_shop, "DROP INDEX ix_orders_customer_id_total")
    assert sorted(each.suggestion.rpartition(" ON ")[2] for each in merged(telemetry, "missing_index")) == [
        "orders (customer_id, total)",
        "orders (total)",
    ]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT * FROM orders WHERE id = :id", {"id": 5}),
        ("SELECT * FROM orders WHERE status = :status", {"status": "done"}),
        ("SELECT * FROM customers WHERE name = :name", {"name": "customer 5"}),
        ("SELECT * FROM orders", {}),
    ],
    ids=["the primary key", "a condition that most rows meet", "a small table", "no condition"],
)
def test_leaves_alone_what_no_index_serves(shop, watched, sql, values):  # noqa: F811
    """And what one serves already; the plan is there all the same."""
    telemetry = watched(index_proof="transaction")
    ask(shop, telemetry, sql, **values)
    assert len(plans(telemetry)) == 1
    assert merged(telemetry, "missing_index") == merged(telemetry, "bad_plan") == []


def test_a_very_long_statement_gets_a_plan_but_is_not_parsed(sqlite_shop, watched):  # noqa: F811
    """Parsing holds the interpreter, for which requests wait; on request it is parsed all the same."""
    telemetry = watched()
    sql = f"SELECT * FROM orders WHERE customer_id = 7 /* {'long ' * 5000} */"
    ask(sqlite_shop, telemetry, sql)
    assert len(plans(telemetry)) == 1
    assert merged(telemetry, "missing_index") == []
    assert [each.columns for each in dbsight.advise_index(sql, sqlite_shop)] == [("customer_id",)]


def test_leaves_alone_what_was_allowed(sqlite_shop, watched):  # noqa: F811
    """By a block of code, and by a comment in the text."""
    telemetry = watched()
    with dbsight.allow("missing_index", reason="known"):
        ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=1)
    ask(sqlite_shop, telemetry, f"/* dbsight: allow missing_index */ {BY_CUSTOMER} AND total > 1", customer=1)
    assert len(plans(telemetry)) == 2
    assert merged(telemetry, "missing_index") == []


def test_reports_a_bad_plan(shop, watched):  # noqa: F811
    """A join on an expression runs the inner side once per row of the outer one; a join on a key does not."""
    telemetry = watched()
    ask(
        shop,
        telemetry,
        "SELECT count(*) FROM orders AS a JOIN orders AS b ON a.total + b.total = -1 WHERE a.id < 5000",
    )
    (found,) = merged(telemetry, "bad_plan")
    assert found.plan.issues
    assert any(name in found.title for name in ("large_nested_loop", "missing_join_index"))
    telemetry.close()
    telemetry = watched()
    ask(shop, telemetry, "SELECT o.id FROM orders AS o JOIN customers AS c ON c.id = o.customer_id WHERE o.id = 5")
    assert merged(telemetry, "bad_plan") == []


def test_reports_a_plan_that_changed_for_the_worse(shop, watched):  # noqa: F811
    """An index was dropped: another plan for more than twice the cost. The other way round is no finding."""
    telemetry = watched(explain_interval=0.0, explain_per_minute=100)
    try:
        ask(shop, telemetry, BY_CUSTOMER, customer=3)
        run(shop, INDEX)
        ask(shop, telemetry, BY_CUSTOMER, customer=4)
        assert merged(telemetry, "regression") == []
    finally:
        run(shop, drop(shop))
    ask(shop, telemetry, BY_CUSTOMER, customer=5)
    (found,) = merged(telemetry, "regression")
    assert "changed for the worse" in found.title
    assert "in this process" in found.description
    ask(shop, telemetry, BY_CUSTOMER, customer=6)
    assert merged(telemetry, "regression")[0].count == 1


def test_compares_with_the_plans_of_a_baseline(sqlite_shop, watched, tmp_path):  # noqa: F811
    """Saved with the report of another run, by fingerprint."""
    telemetry = watched()
    run(sqlite_shop, INDEX)
    try:
        ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=3)
    finally:
        run(sqlite_shop, drop(sqlite_shop))
    report, baseline = tmp_path / "run.json", tmp_path / "baseline.json"
    write(telemetry.processor.analyzer.snapshot(), report)
    telemetry.close()
    saved = read(report)
    write_baseline((), baseline, saved.statements)
    assert [list(each) for each in json.loads(baseline.read_text())["plans"].values()] == [["hash", "cost", "issues"]]
    telemetry = watched(baseline=str(baseline))
    ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=4)
    (found,) = merged(telemetry, "regression")
    assert "in the baseline" in found.description


def test_the_reports_show_plan_index_and_proof(sqlite_shop, watched):  # noqa: F811
    """On the terminal and in JSON, without a value."""
    telemetry = watched()
    ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=987654)
    snapshot = telemetry.processor.analyzer.snapshot()
    page = render(snapshot, width=100)
    assert "MISSING INDEX" in page
    assert "CREATE INDEX ix_orders_customer_id ON orders (customer_id)" in page
    assert "proved: the planner uses the index" in " ".join(page.split())
    assert "SCAN on orders" in page
    saved = document(snapshot)
    (slow,) = [each for each in saved["findings"] if each["rule"] == "slow_query"]
    assert slow["plan"]["tree"].startswith("SCAN on orders")
    assert [each["plan"]["hash"] for each in saved["statements"]] == [slow["plan"]["hash"]]
    assert "987654" not in page + json.dumps(saved)


@pytest.mark.swallows_errors
def test_a_rule_that_raises_does_not_end_the_worker(sqlite_shop, watched, monkeypatch):  # noqa: F811
    """It is disabled; the plan is reported."""

    def fail(self, explained):
        raise RuntimeError("broken")

    monkeypatch.setattr(BadPlan, "judge", fail)
    telemetry = watched()
    ask(sqlite_shop, telemetry, BY_CUSTOMER, customer=1)
    assert [each.rule for each in merged(telemetry, "missing_index")] == ["missing_index"]
    assert list(safety.errors()) == ["rule bad_plan (disabled for this process)"]
