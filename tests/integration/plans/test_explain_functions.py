"""No function with side effects is called, by whatever name, operator, view or type a statement reaches it."""

import contextlib
import time

import pytest

import dbsight
from dbsight import ExplainError, ExplainRefusedError
from dbsight.plans.explain import explain
from integration.plans.test_explain_safety import content

LOCKING = "LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(4711); RETURN 1; END $$"


def test_functions_with_side_effects_are_refused(postgresql_shop):
    """In the text, behind a view, and where the planner itself runs a function that lies about being immutable."""
    with postgresql_shop.begin() as connection:
        for statement in (
            "CREATE TABLE audit (note text)",
            "CREATE FUNCTION noted() RETURNS int LANGUAGE sql AS $$ INSERT INTO audit VALUES ('called') RETURNING 1 $$",
            "CREATE FUNCTION lying() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN noted(); END $$",
            'CREATE FUNCTION "Odd ""Name"() RETURNS int LANGUAGE sql AS $$ DELETE FROM orders RETURNING 1 $$',
            "CREATE VIEW innocent AS SELECT noted() AS value",
        ):
            connection.exec_driver_sql(statement)
    before = content(postgresql_shop)
    for text in ("SELECT noted()", "SELECT * FROM innocent", 'SELECT "Odd ""Name"()', "SELECT NOTED ()"):
        explain(text, postgresql_shop)
        with pytest.raises(ExplainRefusedError, match="volatile"):
            explain(text, postgresql_shop, analyze=True)
    with pytest.raises(ExplainError, match="25006"):  # read_only_sql_transaction: the planner evaluates it
        explain("SELECT * FROM orders WHERE id = lying()", postgresql_shop)
    assert explain("SELECT * FROM innocent", postgresql_shop, analyze=True, rollback=True).root.actual_rows == 1
    with postgresql_shop.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM audit").scalar() == 0
    assert content(postgresql_shop) == before
    assert explain("SELECT random(), now(), lower('A')", postgresql_shop, analyze=True).analyzed


def test_what_calls_a_volatile_function_without_its_name_is_refused(postgresql_shop):
    """An operator, an aggregate, a cast, a domain's check, and a function that is named like a harmless one."""
    with postgresql_shop.begin() as connection:
        for statement in (
            f"CREATE FUNCTION locks(int, int) RETURNS int {LOCKING}",
            "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = locks)",
            "CREATE AGGREGATE locked (int) (SFUNC = locks, STYPE = int, INITCOND = '0')",
            "CREATE TYPE pair AS (a int)",
            f"CREATE FUNCTION to_pair(int) RETURNS pair {LOCKING.replace('RETURN 1', 'RETURN ROW(1)::pair')}",
            "CREATE CAST (int AS pair) WITH FUNCTION to_pair(int)",
            "CREATE DOMAIN checked AS int CHECK (locks(VALUE, 1) = 1)",
            f"CREATE FUNCTION random(int) RETURNS int {LOCKING}",
            f"CREATE FUNCTION of_row(orders) RETURNS int {LOCKING}",
            "CREATE VIEW locking AS SELECT * FROM orders FOR UPDATE",
        ):
            connection.exec_driver_sql(statement)
    for text in (
        "SELECT 1 === 2",
        "SELECT count(*) FROM orders WHERE (id === 2) = 1",
        "SELECT locked(id) FROM orders",
        "SELECT id::pair FROM orders",
        "SELECT CAST(id AS checked) FROM orders",
        "SELECT random(id) FROM orders",
        "SELECT o.of_row FROM orders AS o",
        'SELECT U&"pg\\005fsleep"(9)',
        "SELECT ts_stat('SELECT ' || 'pg_advisory_' || 'lock(1)')",
    ):
        with pytest.raises(ExplainRefusedError, match=r"volatile|rollback"):
            explain(text, postgresql_shop, analyze=True)
    with pytest.raises(ExplainError, match="25006"):  # read_only_sql_transaction
        explain("SELECT * FROM locking", postgresql_shop, analyze=True)
    with postgresql_shop.connect() as connection:
        held = connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar()
    assert held == 0
    harmless = "SELECT clock_timestamp(), count(*), sum(total), array_agg(id), string_agg(status, ',') FROM orders"
    assert explain(harmless, postgresql_shop, analyze=True).analyzed


def test_functions_of_the_application_are_not_called_on_sqlite(sqlite_shop):
    """One that is not declared deterministic may do anything: in brackets, by an operator, and behind views."""
    calls = []
    with sqlite_shop.connect() as connection:
        driver = connection.connection.driver_connection
        driver.create_function("noted", 0, lambda: calls.append(1))
        driver.create_function("doubled", 1, lambda value: value * 2, deterministic=True)
        for name in ("regexp", "like", "glob"):
            driver.create_function(name, 2, lambda *_: calls.append(1))
        driver.execute("ATTACH ':memory:' AS other")
        driver.execute("CREATE VIEW other.innocent AS SELECT noted() AS value")
        driver.execute("CREATE TEMP VIEW more AS SELECT value FROM innocent")
        explain("SELECT noted()", connection)
        for text in (
            *("SELECT NOTED()", "SELECT [noted]()", 'SELECT "noted" ()', "SELECT noted/* */()"),
            *("SELECT 'a' REGEXP 'b'", "SELECT 'a' LIKE 'b'", "SELECT 'a' not glob 'b'"),
            *("SELECT * FROM innocent", "SELECT * FROM More", "SELECT * FROM [more]", "SELECT * FROM other.innocent"),
        ):
            with pytest.raises(ExplainRefusedError, match="not deterministic"):
                explain(text, connection, analyze=True)
        assert explain("SELECT doubled(2)", connection, analyze=True).root.actual_rows == 1
        connection.invalidate()
    assert calls == []


@pytest.fixture(params=["mariadb", "mysql"])
def server_with_functions(request):
    """MariaDB and MySQL with functions that write, lock, and only say that they do not."""
    shop = request.getfixturevalue(f"{request.param}_shop")
    made = (
        ("FUNCTION", "erases() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM orders; RETURN 1; END"),
        ("FUNCTION", "undeclared() RETURNS INT BEGIN SET @a = GET_LOCK('dbsight', 9); RETURN 1; END"),
        ("FUNCTION", "declared(a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a + 1"),
        ("VIEW", "sleepy AS SELECT SLEEP(9) AS a"),
        ("VIEW", "innocent AS SELECT undeclared() AS a"),
        ("VIEW", "more AS SELECT a FROM innocent"),
    )
    with shop.begin() as connection:
        for kind, text in made:
            connection.exec_driver_sql(f"CREATE {kind} {text}")
    yield shop
    with shop.begin() as connection:
        for kind, text in made:
            connection.exec_driver_sql(f"DROP {kind} {text.split('(')[0].split()[0]}")


def test_planners_that_call_functions_are_not_asked(server_with_functions):
    """MariaDB and MySQL execute a derived table of one row, and conditions on rows found by key, for a mere plan."""
    shop = server_with_functions
    before = content(shop)
    began = time.monotonic()
    texts = (
        *("SELECT * FROM sleepy", "SELECT * FROM innocent", "SELECT * FROM `more`", "SELECT erases()"),
        *(f"SELECT * FROM {shop.url.database}.more", "SELECT `undeclared`()", "SELECT * FROM (SELECT SLEEP(9)) AS a"),
        "WITH a AS (SELECT undeclared()) SELECT * FROM a",
        "SELECT o.id FROM orders o JOIN orders p ON p.id = o.id AND SLEEP(9) WHERE o.id = 1",
        "SELECT id FROM orders WHERE id = (SELECT GET_LOCK('dbsight', 9))",
    )
    for text in texts:
        for ask in (explain, dbsight.advise_index):
            with pytest.raises(ExplainRefusedError, match=r"\w+\(\) (is declared|has effects)"):
                ask(text, shop)
    assert time.monotonic() - began < 8
    assert content(shop) == before
    with shop.connect() as connection:
        assert connection.exec_driver_sql("SELECT IS_FREE_LOCK('dbsight')").scalar() == 1
    assert explain("SELECT declared(id) FROM orders WHERE id = 1", shop).root.table == "orders"


def test_a_stored_function_cannot_write_on_mariadb(mariadb_shop):
    """One that lies about what it does meets a transaction that is read only; inside the caller's own, none runs."""
    with mariadb_shop.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION lying() RETURNS INT DETERMINISTIC READS SQL DATA BEGIN DELETE FROM orders; RETURN 1; END"
        )
    before = content(mariadb_shop)
    with pytest.raises(ExplainError, match=r"25006|1792"):
        explain("SELECT lying()", mariadb_shop, analyze=True)
    with mariadb_shop.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(ExplainRefusedError, match="pass the engine"):
            explain("SELECT lying()", connection, analyze=True)
    with contextlib.suppress(ExplainError):
        explain("SELECT * FROM orders WHERE id = lying()", mariadb_shop)
    assert content(mariadb_shop) == before
