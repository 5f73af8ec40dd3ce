"""Columns that are compared as another type than their own, on real databases, and what makes an index serve again."""

from types import SimpleNamespace

import pytest
import sqlalchemy as sa

import dbsight
import servers
from dbsight.plans.casts import casts
from dbsight.plans.sessions import SQLAlchemySession
from integration.plans.test_slow_plans import ask, merged, plans, watched  # noqa: F401 - a fixture

PARTS = {
    "postgresql": (
        "CREATE DOMAIN code AS varchar(20)",
        "CREATE TABLE parts (id integer PRIMARY KEY, sku varchar(20), made timestamp, code code, fixed char(10))",
        "INSERT INTO parts SELECT i, i, date '2024-01-01' + i * interval '1 h', i, i FROM generate_series(1, 5000) i",
        *(f"CREATE INDEX ix_parts_{name} ON parts ({name})" for name in ("sku", "made", "code", "fixed")),
        "ANALYZE parts",
    ),
    "mariadb": (
        "CREATE TABLE parts (id integer PRIMARY KEY, sku varchar(20), INDEX ix_parts_sku (sku))",
        "INSERT INTO parts SELECT seq, seq FROM seq_1_to_5000",
        "CREATE TABLE orders (id integer PRIMARY KEY, part integer, made_of varchar(20))",
        "INSERT INTO orders SELECT seq, seq, seq FROM seq_1_to_50",
        "ANALYZE TABLE parts, orders",
    ),
}
DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}


@pytest.fixture(scope="module")
def warehouses(postgresql_server, mariadb_server):
    """An engine per database, by its name."""
    with (
        servers.fresh(postgresql_server) as postgresql,
        servers.fresh(mariadb_server) as mariadb,
    ):
        engines = {
            database.system: sa.create_engine(database.url(DRIVERS[database.system]), future=True)
            for database in (postgresql, mariadb)
        }
        for name, engine in engines.items():
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for statement in PARTS[name]:
                    connection.exec_driver_sql(statement)
        yield engines
        for engine in engines.values():
            engine.dispose()


@pytest.mark.parametrize(
    ("system", "condition", "values", "names"),
    [
        (
            "postgresql",
            "sku::integer = :value",
            {"value": 42},
            "sku of parts, which is varchar(20), as integer",
        ),
        ("postgresql", "p.id::text = :value", {"value": "42"}, "id of parts, which is integer, as text"),
        ("postgresql", "id = 42.0", {}, "id of parts, which is integer, as numeric"),
        ("postgresql", "code::integer = 42", {}, "code of parts, which is code, as integer"),
        (
            "postgresql",
            "fixed = CAST(:value AS text)",
            {"value": "42"},
            "fixed of parts, which is char(10), as text",
        ),
        ("postgresql", "sku::integer IN (41, 42)", {}, "sku of parts, which is varchar(20), as integer"),
        ("mariadb", "sku = :value", {"value": 42}, "sku of parts, which is varchar(20), as a number"),
        ("mariadb", "p.sku IN (41, 42)", {}, "sku of parts, which is varchar(20), as a number"),
        ("mariadb", "42 = sku", {}, "sku of parts, which is varchar(20), as a number"),
        ("mariadb", "sku = 42 AND id > 5", {}, "sku of parts, which is varchar(20), as a number"),
    ],
)
def test_a_converted_column_is_named_and_the_suggestion_uses_its_index(
    warehouses,
    watched,  # noqa: F811
    system,
    condition,
    values,
    names,
):
    """What is suggested, run with the same value, reads by the index, and nothing is said of it."""
    engine, telemetry = warehouses[system], watched()
    ask(engine, telemetry, f"SELECT * FROM parts AS p WHERE {condition}", **values)
    (finding,) = merged(telemetry, "bad_plan")
    assert "implicit_cast" in finding.title
    assert "selective_filter" not in finding.title
    described = finding.description.replace("character varying", "varchar").replace("character(", "char(")
    assert f"compares {names}" in described
    assert merged(telemetry, "missing_index") == []
    fixed = finding.suggestion.splitlines()[0].partition("  #")[0]
    telemetry = watched()
    ask(engine, telemetry, f"SELECT * FROM parts AS p WHERE {fixed}", value=values.get("value", 42))
    assert merged(telemetry, "bad_plan") == []
    assert {node.index for node in explained(engine, f"SELECT * FROM parts WHERE {fixed}", value=42)} & {
        *(f"ix_parts_{name}" for name in ("sku", "code", "fixed")),
        "parts_pkey",
    }


@pytest.mark.parametrize("condition", ["p.sku = o.part", "o.part = p.sku", "o.id < 40 AND o.part <=> p.sku"])
def test_a_text_that_is_joined_with_a_number_is_named(warehouses, watched, condition):  # noqa: F811
    """MariaDB's plan says nothing of the condition; with the number as a text, the index serves the join."""
    engine, telemetry = warehouses["mariadb"], watched()
    ask(engine, telemetry, f"SELECT p.*, o.id FROM orders AS o JOIN parts AS p ON {condition}")
    (finding,) = merged(telemetry, "bad_plan")
    assert "compares sku of parts, which is varchar(20), as a number" in finding.description
    assert merged(telemetry, "missing_index") == []
    fixed = finding.suggestion.splitlines()[0].partition("  #")[0]
    nodes = explained(engine, f"SELECT p.*, o.id FROM orders AS o JOIN parts AS p ON {fixed}")
    assert "ix_parts_sku" in {node.index for node in nodes}


def test_leaves_alone_texts_that_are_joined(warehouses):
    """Both are texts, and the index serves."""
    with warehouses["mariadb"].connect() as connection:
        text = "SELECT p.*, o.id FROM orders AS o JOIN parts AS p ON p.sku = o.made_of"
        plan = dbsight.explain(text, connection)
        assert list(casts(plan, SQLAlchemySession(connection))) == []


def test_a_conversion_that_mysql_writes_into_its_plan_is_read(warehouses):
    """As MySQL from 8.0.21 on has it; the types are MariaDB's."""
    with warehouses["mariadb"].connect() as connection:
        plan = dbsight.explain("SELECT * FROM parts WHERE sku = 42", connection)
        (node,) = [each for each in plan.nodes() if each.relation]
        node.filter = "(cast(`shop`.`parts`.`sku` as double) = 42)"
        (issue,) = casts(plan, SQLAlchemySession(connection))
        node.filter = "(cast(`shop`.`parts`.`id` as double) = 42)"
        assert list(casts(plan, SQLAlchemySession(connection))) == []
    assert "compares sku of parts, which is varchar(20), as a number" in str(issue)


@pytest.mark.parametrize("condition", ["sku || '' = '42'", "lower(sku) = '42'", "id + id = 42"])
def test_no_index_is_suggested_on_what_is_no_column(warehouses, watched, condition):  # noqa: F811
    """The plan writes the type behind the column, and only a part of the expression is one."""
    telemetry = watched()
    ask(warehouses["postgresql"], telemetry, f"SELECT * FROM parts WHERE {condition}")
    suggested = [finding.suggestion for rule in ("bad_plan", "missing_index") for finding in merged(telemetry, rule)]
    assert len(suggested) == 1
    assert "CREATE INDEX" not in suggested[0] or "(LOWER(sku))" in suggested[0]


def explained(engine, sql, **values):
    """The nodes of a plan."""
    with engine.connect() as connection:
        return list(dbsight.explain(sql, connection, params=values).nodes())


def test_the_range_of_a_day_uses_the_index(warehouses, watched):  # noqa: F811
    """A time that is compared as a date is suggested to be compared with both ends of the day."""
    engine, telemetry = warehouses["postgresql"], watched()
    ask(engine, telemetry, "SELECT * FROM parts WHERE made::date = :day", day="2024-02-01")
    (finding,) = merged(telemetry, "bad_plan")
    assert "compares made of parts, which is timestamp without time zone, as date" in finding.description
    fixed = finding.suggestion.splitlines()[0].partition("  #")[0]
    nodes = explained(engine, f"SELECT * FROM parts WHERE {fixed}", day="2024-02-01", next_day="2024-02-02")
    assert "ix_parts_made" in {node.index for node in nodes}


@pytest.mark.parametrize(
    ("system", "condition", "values"),
    [
        ("postgresql", "sku = :value", {"value": "42"}),
        ("postgresql", "sku::text = '42' OR sku || '' = '43'", {}),
        ("postgresql", "code = '42'", {}),
        ("postgresql", "id = ANY (ARRAY[41, 42])", {}),
        ("postgresql", "sku LIKE '%(id)::text = 42%'", {}),
        ("mariadb", "sku = :value", {"value": "42"}),
        ("mariadb", "sku = CAST(42 AS CHAR)", {}),
        ("mariadb", "id = '42'", {}),
        ("mariadb", "sku <> 'x' AND id % 50 = 1", {}),
        ("mariadb", "concat(sku, '') = ' sku = 42'", {}),
    ],
)
def test_leaves_alone_what_is_compared_as_it_is(warehouses, system, condition, values):
    """PostgreSQL writes ``(sku)::text`` for a varchar, too, whose index serves it."""
    with warehouses[system].connect() as connection:
        plan = dbsight.explain(f"SELECT * FROM parts WHERE {condition}", connection, params=values or None)
        assert list(casts(plan, SQLAlchemySession(connection))) == []


def test_leaves_alone_a_small_table(warehouses):
    """It is read faster than an index."""
    with warehouses["postgresql"].connect() as connection:
        plan = dbsight.explain("SELECT * FROM parts WHERE id::text = '42'", connection)
        for node in plan.nodes():
            node.table_rows = 100
        assert list(casts(plan, SQLAlchemySession(connection))) == []


def test_does_not_ask_for_types_where_nothing_is_converted(warehouses):
    """A session that cannot be asked."""
    with warehouses["mariadb"].connect() as connection:
        plan = dbsight.explain("SELECT * FROM parts WHERE sku = '42'", connection)
    assert list(casts(plan, SimpleNamespace())) == []
