"""Plans of real databases: what they say, what is wrong with them, and in which shapes they come."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import dbsight
from dbsight.plans.explain import explain

ORDERS = sa.table("orders", *(sa.column(name) for name in ("id", "customer_id", "status", "total")))
CUSTOMERS = sa.table("customers", sa.column("id"), sa.column("name"))
SECRET = "hidden-4711@example.org"


def warnings_of(plan):
    """Names of what is wrong with it."""
    return {issue.name for issue in dbsight.ExplainAnalyzer(plan).issues if issue.severity == "warning"}


@pytest.mark.parametrize("analyze", [False, True])
def test_the_recommended_index_ends_the_issue(shop, analyze):
    """A selective filter on a whole table is a warning; once its index is created, the plan uses it."""
    statement = sa.select(ORDERS).where(ORDERS.c.customer_id == 7)
    plan = explain(statement, shop, analyze=analyze)
    assert (plan.root.kind, plan.root.table, plan.root.table_rows) == ("seq_scan", "orders", 5000)
    assert warnings_of(plan) == {"selective_filter"}
    (advice,) = dbsight.ExplainAnalyzer(plan).recommendations
    assert advice.replace(" CONCURRENTLY", "") == "CREATE INDEX ix_orders_customer_id ON orders (customer_id)"
    with shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(advice)
    try:
        after = explain(statement, shop, analyze=analyze)
        assert warnings_of(after) == set()
        assert {node.index for node in after.nodes()} - {None} == {"ix_orders_customer_id"}
        assert after.hash != plan.hash
    finally:
        with shop.begin() as connection:
            connection.exec_driver_sql(f"DROP INDEX ix_orders_customer_id{' ON orders' * (shop.name == 'mysql')}")


def test_what_a_plan_does_is_labelled(shop):
    """A join with a sort is one of the join kinds, sorts, and reads a table or an index."""
    statement = (
        sa.select(CUSTOMERS.c.name, ORDERS.c.total)
        .join_from(ORDERS, CUSTOMERS, ORDERS.c.customer_id == CUSTOMERS.c.id)
        .order_by(ORDERS.c.total)
    )
    labels = set(dbsight.ExplainAnalyzer(explain(statement, shop)).labels)
    assert "sort" in labels
    assert len(labels & {"nested_loop", "hash_join", "merge_join"}) == 1
    assert "seq_scan" in labels


def test_a_join_without_an_index_names_the_column(sqlite_shop):
    """SQLite builds an index for one execution: it is told, with the index that would stay."""
    with sqlite_shop.connect() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE seen (customer_ref INTEGER, note TEXT)")
        connection.exec_driver_sql("INSERT INTO seen SELECT id % 500, 'x' FROM orders")
        plan = explain(
            "SELECT count(b.note) FROM seen AS a JOIN seen AS b ON b.customer_ref = a.customer_ref", connection
        )
        connection.rollback()
    assert "automatic_index" in warnings_of(plan)
    assert "CREATE INDEX ix_seen_customer_ref ON seen (customer_ref)" in dbsight.ExplainAnalyzer(plan).recommendations


def test_rows_and_times_are_measured_when_the_statement_runs(shop):
    """Without analyze nothing is executed; with it there are actual rows and a time in seconds."""
    plan = explain("SELECT * FROM orders WHERE status = 'open'", shop)
    assert (plan.analyzed, plan.execution_time, plan.root.actual_rows) == (False, None, None)
    plan = explain("SELECT * FROM orders WHERE status = 'open'", shop, analyze=True)
    assert (plan.analyzed, plan.root.actual_rows) == (True, 100)
    assert 0 < plan.root.time < 5
    assert 0 < plan.execution_time < 5


def test_wrong_estimates_are_reported_with_their_cure(postgresql_shop):
    """PostgreSQL takes two columns that depend on each other for independent: 10 times off or more is a warning."""
    statement = "SELECT * FROM orders WHERE status = 'open' AND (id - 1) % 50 = 0 AND total % 50 = 0"
    plan = explain(statement, postgresql_shop, analyze=True)
    assert "misestimated_rows" in warnings_of(plan)
    assert "ANALYZE orders" in dbsight.ExplainAnalyzer(plan).recommendations


def test_a_sort_on_disk_is_reported(postgresql_shop):
    """A sort that work_mem was too small for says how much it wrote."""
    with postgresql_shop.connect() as connection:
        connection.exec_driver_sql("SET work_mem = '64kB'")
        plan = explain("SELECT * FROM orders ORDER BY status, total", connection, analyze=True)
    assert "sort_spill" in warnings_of(plan)
    assert plan.root.spill > 64 * 1024


def test_rows_that_an_index_found_in_vain_are_reported(mariadb_shop, postgresql_shop):
    """An index that finds thousands of rows, most of which the filter drops, lacks a column."""
    for shop in (postgresql_shop, mariadb_shop):
        with shop.begin() as connection:
            connection.exec_driver_sql("CREATE INDEX ix_total ON orders (total)")
            if shop is postgresql_shop:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            hint = "" if shop is postgresql_shop else " FORCE INDEX (ix_total)"
            text = f"SELECT * FROM orders{hint} WHERE total < 4000 AND customer_id = 7"
            plan = explain(text, connection if shop is postgresql_shop else shop, analyze=True)
            connection.exec_driver_sql("DROP INDEX ix_total" + ("" if shop is postgresql_shop else " ON orders"))
        assert "filter_after_index" in warnings_of(plan), shop.name
        assert any("(customer_id, total)" in each for each in dbsight.ExplainAnalyzer(plan).recommendations)


def test_no_literal_leaves_in_text_tree_or_json(shop):
    """Values stay in the attributes of the plan that the caller gets, and nowhere else."""
    statement = f"SELECT * FROM customers WHERE name = '{SECRET}' OR name LIKE '{SECRET}%'"
    plan = explain(statement, shop)
    shown = [
        *(explain(statement, shop, format="text"), explain(statement, shop, format="tree"), str(plan), repr(plan)),
        json.dumps(explain(statement, shop, format="json")),
        *(str(issue) + repr(issue) for issue in dbsight.ExplainAnalyzer(plan).issues),
        *dbsight.ExplainAnalyzer(plan).recommendations,
    ]
    assert not [each for each in shown if SECRET in each or "4711" in each]
    if shop.name != "sqlite":
        assert SECRET in plan.root.filter


def test_json_is_made_of_plain_values(shop):
    """What json.dumps takes, with the statement sanitised."""
    answer = json.loads(json.dumps(explain("SELECT * FROM orders WHERE total = 5", shop, format="json", analyze=True)))
    assert answer["statement"] == "SELECT * FROM orders WHERE total = ?"
    assert (answer["plan"]["kind"], answer["plan"]["table"], answer["plan"]["actual_rows"]) == ("seq_scan", "orders", 1)
    assert answer["analyzed"] is True


def test_parameters_reach_the_database_in_every_form(shop):
    """Bound values of a construct, lists, named ones of a text, and the driver's own."""
    mark = "?" if shop.name == "sqlite" else "%s"
    for statement, params in (
        (sa.select(ORDERS).where(ORDERS.c.id.in_([1, 2, 3])), None),
        (sa.text("SELECT * FROM orders WHERE id IN (1, 2, :third)"), {"third": 3}),
        ("SELECT * FROM orders WHERE id IN (1, 2, :third)", {"third": 3}),
        (f"SELECT * FROM orders WHERE id IN (1, 2, {mark})", (3,)),
        (f"SELECT * FROM orders WHERE id IN (1, 2, {mark})", [3]),
    ):
        assert explain(statement, shop, params=params, analyze=True).root.actual_rows == 3
    # Without parameters, the text is the driver's: percent signs and colons mean themselves.
    assert explain("SELECT * FROM customers WHERE name LIKE 'customer 4%'", shop, analyze=True).root.actual_rows == 111
    assert explain("SELECT * FROM customers WHERE name = 'a:b'", shop, analyze=True).root.actual_rows == 0


@pytest.mark.parametrize("of", ["engine", "connection"])
@pytest.mark.parametrize("system", ["sqlite", "postgresql"])
def test_asynchronous_engines_and_connections_are_awaited(system, of, request):
    """The same plan as the synchronous one."""
    shop = request.getfixturevalue(f"{system}_shop")
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[system]
    url = shop.url.set(drivername=driver)
    statement = sa.select(ORDERS).where(ORDERS.c.status == "open")

    async def ask():
        engine = create_async_engine(url)
        try:
            if of == "engine":
                return await explain(statement, engine, analyze=True)
            async with engine.connect() as connection:
                return await explain(statement, connection, analyze=True)
        finally:
            await engine.dispose()

    plan = asyncio.run(ask())
    assert (plan.root.kind, plan.root.actual_rows) == ("seq_scan", 100)
    assert plan.hash == explain(statement, shop).hash


def test_a_timeout_interrupts_an_asynchronous_sqlite(sqlite_shop):
    """The thread of aiosqlite is interrupted as well."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def ask():
        engine = create_async_engine(sqlite_shop.url.set(drivername="sqlite+aiosqlite"))
        try:
            await explain(endless, engine, analyze=True, timeout=0.2)
        finally:
            await engine.dispose()

    with pytest.raises(dbsight.ExplainError, match="OperationalError"):
        asyncio.run(ask())


def test_an_unsupported_database_is_named():
    """Nothing is connected to."""
    engine = sa.create_mock_engine("mssql+pyodbc://nowhere", print)
    with pytest.raises(dbsight.ExplainError, match=r"plans of mssql are not supported; those of sqlite, postgresql"):
        explain("SELECT 1", engine)
    with pytest.raises(TypeError, match="not str"):
        explain("SELECT 1", "sqlite://")
    with pytest.raises(ValueError, match="not 'yaml'"):
        explain("SELECT 1", engine, format="yaml")
