"""What a slow statement asks for that no index serves: deep pages and leading wildcards, on real databases."""

import pytest
import sqlalchemy as sa

import dbsight
from integration.conftest import fill
from integration.plans.test_slow_plans import ask, merged, plans, watched  # noqa: F401 - a fixture


def found(telemetry):
    """Title and suggestion of what was said of the plan."""
    return [(each.title.rpartition(": ")[2].split(", "), each.suggestion) for each in merged(telemetry, "bad_plan")]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT * FROM orders ORDER BY id LIMIT :rows OFFSET :first", {"rows": 20, "first": 4000}),
        ("SELECT * FROM orders ORDER BY id LIMIT 20 OFFSET 4000", {}),
    ],
    ids=["bound", "literal"],
)
def test_a_deep_page_is_named_with_the_other_way(shop, watched, sql, values):  # noqa: F811
    """Its number of skipped rows is the value's, which the text does not have."""
    telemetry = watched()
    ask(shop, telemetry, sql, **values)
    ((names, suggestion),) = found(telemetry)
    assert names == ["deep_offset"]
    assert suggestion.startswith(".where(key > last_seen).order_by(key).limit(n)")
    (finding,) = merged(telemetry, "bad_plan")
    assert "reads and discards 4 000 rows" in finding.description
    assert "deep_offset" in plans(telemetry)[0].attributes["dbsight.plan.issues"]


FIRST = {
    "sqlite": "CREATE VIRTUAL TABLE fts_orders_status USING fts5(status, content='orders', tokenize='trigram');\n",
    "postgresql": "CREATE EXTENSION IF NOT EXISTS pg_trgm;\n",
    "mysql": "CREATE FULLTEXT INDEX ft_orders_status ON orders (status);\n",
}


@pytest.mark.parametrize("value", ["%pen", "_pen"])
def test_a_leading_wildcard_is_named_with_what_serves_it(shop, watched, value):  # noqa: F811
    """The pattern is a bound value, as a rule; it is not told. The statements name the table and the column."""
    telemetry = watched()
    ask(shop, telemetry, "SELECT count(*) FROM orders AS o WHERE o.status LIKE :pattern", pattern=value)
    ((names, suggestion),) = found(telemetry)
    assert "leading_wildcard" in names
    assert suggestion.startswith(FIRST[shop.name])
    (finding,) = merged(telemetry, "bad_plan")
    assert ("proved: SQLite's planner uses it" if shop.name == "sqlite" else "likely: it was not tried") in (
        finding.description.replace("the full-text table", "it")
    )
    assert value not in str(plans(telemetry)) + str(merged(telemetry, "bad_plan"))


@pytest.mark.parametrize("value", ["%pen", "%pe%", "_pen", "%OPEN%", "%o''p%"])
def test_the_full_text_table_finds_what_the_pattern_finds(sqlite_shop, watched, value):  # noqa: F811
    """Pasted as it is: the same rows before and after writes, by an index; and other advice is still proved."""
    telemetry = watched()
    value = value.replace("''", "'")
    ask(sqlite_shop, telemetry, "SELECT count(*) FROM orders WHERE lower(status) LIKE lower(:pattern)", pattern=value)
    ((_, suggestion),) = found(telemetry)
    *statements, rewritten, _ = suggestion.splitlines()
    condition = rewritten.partition("WHERE ")[2]
    both = [f"SELECT id FROM orders WHERE {each}" for each in ("status LIKE :pattern", condition)]
    with sqlite_shop.connect() as connection:
        connection.exec_driver_sql("BEGIN")  # which the driver does not in front of DDL
        try:
            for each in statements:
                connection.exec_driver_sql(each)
            for write in (
                "SELECT 1",
                "INSERT INTO orders (id, status) VALUES (9001, 'reopened'), (9002, 'o''pen')",
                "UPDATE orders SET status = 'broken' WHERE id = 9001",
                "DELETE FROM orders WHERE id < 60",
            ):
                connection.exec_driver_sql(write)
                expected, got = (
                    {row[0] for row in connection.execute(sa.text(each), {"pattern": value})} for each in both
                )
                assert got == expected
            plan = str(dbsight.explain(both[1], connection, params={"pattern": value}))
            assert "fts_orders_status" in plan
            advice = dbsight.advise_index("SELECT * FROM orders WHERE customer_id = 7", connection)
            assert [each.proof for each in advice] == ["proved"]
        finally:
            connection.rollback()


def test_the_trigram_index_is_used_for_the_pattern(contrib_database, watched):  # noqa: F811
    """Pasted as it is, on a PostgreSQL with the extension."""
    engine = sa.create_engine(contrib_database.url("postgresql+psycopg"), future=True)
    fill(engine)
    try:
        telemetry = watched()
        sql = "SELECT * FROM customers WHERE name LIKE :pattern"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(
                "INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(501, 20000) AS i"
            )
            connection.exec_driver_sql("ANALYZE")
            ask(engine, telemetry, sql, pattern="%r 4711%")
            ((_, suggestion),) = found(telemetry)
            for each in suggestion.splitlines():
                connection.exec_driver_sql(each)
            plan = dbsight.explain(sql, connection, params={"pattern": "%r 4711%"})
            assert "ix_customers_name_trgm" in {node.index for node in plan.nodes()}
    finally:
        engine.dispose()


@pytest.mark.parametrize("system", ["mariadb", "mysql"])
def test_the_full_text_index_serves_the_word(system, request, watched):  # noqa: F811
    """Pasted as it is on MariaDB and MySQL; MySQL's parser finds parts of words."""
    shop = request.getfixturevalue(f"{system}_shop")
    telemetry = watched()
    ask(shop, telemetry, "SELECT count(*) FROM orders WHERE status LIKE :pattern", pattern="%pen")
    ((_, suggestion),) = found(telemetry)
    statement, rewritten = suggestion.splitlines()
    with shop.connect() as connection:
        connection.exec_driver_sql(statement.rstrip(";"))
        try:
            sql = f"SELECT id FROM orders WHERE {rewritten.partition('WHERE ')[2]}"
            word = "pen" if system == "mysql" else "open"
            assert len(connection.execute(sa.text(sql), {"word": word}).all()) == 100
            plan = dbsight.explain(sql, connection, params={"word": "open"})
            assert "ft_orders_status" in {node.index for node in plan.nodes()}
        finally:
            connection.exec_driver_sql("DROP INDEX ft_orders_status ON orders")


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT * FROM orders ORDER BY id LIMIT 20 OFFSET :first", {"first": 40}),
        ("SELECT count(*) FROM orders WHERE status LIKE :pattern", {"pattern": "zz%"}),
        ("SELECT count(*) FROM orders WHERE status NOT LIKE :pattern", {"pattern": "%pen"}),
        ("SELECT count(*) FROM customers WHERE name LIKE :pattern", {"pattern": "%9"}),
        ("SELECT count(*) FROM orders WHERE status <> :text", {"text": "OFFSET 5000 LIKE '%'"}),
    ],
    ids=["a near page", "a prefix", "all but", "a small table", "a value that looks like it"],
)
def test_leaves_alone_what_is_neither(sqlite_shop, watched, sql, values):  # noqa: F811
    """What reads little, or could not be written otherwise."""
    telemetry = watched()
    ask(sqlite_shop, telemetry, sql, **values)
    assert len(plans(telemetry)) == 1
    assert not {"deep_offset", "leading_wildcard"} & {name for names, _ in found(telemetry) for name in names}


def test_leaves_alone_what_was_not_slow(sqlite_shop, watched):  # noqa: F811
    """Every statement is explained once by ``always_once``: a list of what could be slow some day helps nobody."""
    telemetry = watched(explain="always_once", slow_query_threshold=500.0)
    ask(sqlite_shop, telemetry, "SELECT * FROM orders ORDER BY id LIMIT 20 OFFSET 4100")
    assert len(plans(telemetry)) == 1
    assert found(telemetry) == []
