"""MariaDB and MySQL with double quotes around names, and plans whose texts have quotes in them."""

import json

import pytest
import sqlalchemy as sa

import dbsight
from dbsight import ExplainRefusedError
from dbsight.model import Plan, PlanNode
from dbsight.plans import mariadb, mysql
from dbsight.plans.explain import explain
from dbsight.plans.quoting import read_json, with_backticks
from dbsight.statement import read


@pytest.fixture(params=["ANSI", "ANSI_QUOTES", "ORACLE"])
def ansi_shop(mariadb_shop, request):
    """The shop, through connections in a mode in which double quotes stand around names."""
    engine = sa.create_engine(mariadb_shop.url, future=True)

    def set_mode(connection, _):
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION sql_mode = '{request.param}'")

    sa.event.listen(engine, "connect", set_mode)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("analyze", [False, True])
@pytest.mark.parametrize(
    "sql", ['SELECT * FROM "orders" WHERE "status" = \'open\'', "SELECT * FROM orders WHERE status = 'open'"]
)
def test_a_plan_says_the_same_in_each_mode(ansi_shop, sql, analyze):
    """Table, condition, issue and the index to create."""
    plan = explain(sql, ansi_shop, analyze=analyze)
    assert (plan.root.table, plan.root.table_rows) == ("orders", 5000)
    assert plan.root.filter == "orders.`status` = 'open'"
    assert dbsight.ExplainAnalyzer(plan).recommendations == ["CREATE INDEX ix_orders_status ON orders (`status`)"]
    assert "open" not in str(plan)


def test_an_index_is_advised_in_each_mode(ansi_shop):
    """Also with the proof in a scratch schema."""
    for proof in ("safe", "scratch"):
        (advice,) = dbsight.advise_index('SELECT * FROM "orders" WHERE "status" = \'open\'', ansi_shop, proof=proof)
        assert advice.ddl == "CREATE INDEX ix_orders_status ON orders (status)"


def test_a_table_without_transactions_is_found_by_its_quoted_name(ansi_shop):
    """Else its rows would be gone: there is nothing to roll back."""
    with ansi_shop.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE "plain" (id INT) ENGINE=MyISAM')
        connection.exec_driver_sql('INSERT INTO "plain" VALUES (1), (2)')
    try:
        with pytest.raises(ExplainRefusedError, match="without transactions"):
            explain('DELETE FROM "plain"', ansi_shop, analyze=True, rollback=True)
        with pytest.raises(ExplainRefusedError, match="backslash"):
            explain("DELETE FROM \"plain\" WHERE id <> '\\'' ", ansi_shop, analyze=True, rollback=True)
        with ansi_shop.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM plain").scalar() == 2
    finally:
        with ansi_shop.begin() as connection:
            connection.exec_driver_sql("DROP TABLE plain")


@pytest.mark.parametrize("value", ['a"b', "a'b", "a\\b", 'x", "table_name": "evil', 'x"]', "a\nb", "ü"])
def test_a_value_with_quotes_breaks_no_plan(shop, value):
    """MariaDB does not escape what it writes into JSON: a value neither ends the plan nor becomes a part of it."""
    statement = sa.select(sa.text("id")).select_from(sa.table("orders")).where(sa.column("status") == value)
    plan = explain(statement, shop)
    assert {node.table for node in plan.nodes()} == {"orders"}
    text = json.dumps(dbsight.explain(statement, shop, format="json")) + str(plan)
    assert "evil" not in text


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ('"t"."a" = \'x\'', "`t`.`a` = 'x'"),
        ('"we""i`rd" > 1', '`we"i``rd` > 1'),
        ('a = \'say "x"\' and "b" = 2', "a = 'say \"x\"' and `b` = 2"),
        ('a = \'it\'\'s "x"\' -- "c"\nand "b"', "a = 'it''s \"x\"' -- \"c\"\nand `b`"),
        ("5--'\"x\"'", "5--'\"x\"'"),
        ('`a"b` /* "c" */ # "d"', '`a"b` /* "c" */ # "d"'),
    ],
)
def test_only_names_get_backticks(written, read_as):
    """Not what is in a string, a comment, or in backticks already."""
    assert with_backticks(written) == read_as


@pytest.mark.parametrize("reader", [mariadb.read, mysql.read])
def test_json_that_is_escaped_is_read_as_it_is(reader):
    """As MySQL writes it, in one line or in many."""
    answer = {
        "query_block": {
            "table": {"table_name": 'a"b', "possible_keys": ['k"1', "k2"], "attached_condition": "x = 'say \\\"y\\\"'"}
        }
    }
    for indent in (None, 2):
        plan = Plan(read("SELECT 1", "mysql"), PlanNode("unknown"))
        reader(read_json(json.dumps(answer, indent=indent)), plan)
        assert (plan.root.table, plan.root.filter) == ('a"b', "x = 'say \\\"y\\\"'")
