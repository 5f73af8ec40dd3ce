"""Plans, advice and safety on a real MySQL: 8.0.15, which explains but does not analyze."""

import contextlib
import random
import time

import pytest
import sqlalchemy as sa

import dbsight
import servers
from dbsight import ExplainError, ExplainRefusedError
from dbsight.plans.explain import explain
from integration.plans.advising import check_the_page, counts
from integration.plans.hostile import LOCKS_OR_WAITS, NOT_ONE_QUERY, mixture
from integration.plans.index_cases import CASES
from integration.plans.test_explain_safety import content
from integration.plans.test_slow_plans import ask, merged, plans, watched  # noqa: F401 - a fixture

READ = "SELECT * FROM orders WHERE customer_id = 7"
SECRET = "private-4711"
SESSION = "SELECT @@max_execution_time, @@lock_wait_timeout, @@innodb_lock_wait_timeout, @@transaction_read_only"


def test_advice_is_as_precise_on_mysql(mysql_schemas):
    """In a scratch schema, judged by the rows that the query reads with the index and without; nothing is left over."""
    check_the_page("MySQL", CASES, counts(mysql_schemas, "scratch"))
    with mysql_schemas.connect() as connection:
        assert connection.exec_driver_sql("SHOW DATABASES LIKE 'dbsight_scratch%%'").fetchall() == []
        assert connection.exec_driver_sql("SELECT DATABASE()").scalar() == mysql_schemas.url.database


def test_advice_without_a_scratch_schema_is_likely_on_mysql(mysql_schemas):
    """What the plan complains of: precise, but not complete."""
    check_the_page("MySQL without", CASES, counts(mysql_schemas, "safe", proofs=("likely",)))


def test_an_index_merge_names_its_indexes(mysql_schemas):
    """MySQL writes ``union(ix_a,ix_b)`` where the name of one index would be."""
    sql = "SELECT * FROM events WHERE kind = 7 OR payload = 'payload 9'"
    (advice,) = dbsight.advise_index(sql, mysql_schemas, proof="scratch")
    with mysql_schemas.begin() as connection:
        connection.exec_driver_sql(advice.ddl)
        plan = explain(sql, mysql_schemas)
        connection.exec_driver_sql("DROP INDEX ix_events_payload ON events")
    assert {node.index for node in plan.nodes() if node.index} == {"events_kind", "ix_events_payload"}


def test_a_slow_query_gets_plan_and_advice(mysql_shop, watched):  # noqa: F811
    """From the background, and without a value."""
    telemetry = watched()
    ask(
        mysql_shop,
        telemetry,
        "SELECT * FROM orders WHERE customer_id = :customer AND status <> 'o''secret'",
        customer=76,
    )
    (event,) = plans(telemetry)
    assert event.body.startswith("ALL on orders")
    assert "secret" not in event.body
    (found,) = merged(telemetry, "missing_index")
    assert found.details["proof"] == "likely"
    assert "ON orders (customer_id)" in found.suggestion


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO orders (customer_id, status, total) VALUES (1, 'new', 1)",
        "INSERT INTO orders (customer_id) WITH one AS (SELECT 1 AS id) SELECT id FROM one",
        "REPLACE INTO orders (id, total) VALUES (1, 1)",
        "UPDATE orders SET total = 0",
        "WITH one AS (SELECT 1 AS id) DELETE FROM orders WHERE id IN (SELECT id FROM one)",
        "WITH one AS (SELECT 1 AS id) UPDATE orders SET total = 0 WHERE id IN (SELECT id FROM one)",
        "SELECT * FROM orders FOR UPDATE SKIP LOCKED",
    ],
)
def test_what_writes_or_locks_is_planned_and_never_executed(mysql_shop, text):
    """With analyze it is refused before the server is asked whether it can."""
    before = content(mysql_shop)
    assert not explain(text, mysql_shop).analyzed
    with pytest.raises(ExplainRefusedError, match=r"writes|locks"):
        explain(text, mysql_shop, analyze=True)
    assert content(mysql_shop) == before


def test_more_or_other_than_one_query_is_never_sent(mysql_shop):
    """Commands, several statements, and mixtures of quotes and comments; nothing changes, and nothing waits."""
    before = content(mysql_shop)
    began = time.monotonic()
    explained = []
    for text in (*NOT_ONE_QUERY, *LOCKS_OR_WAITS):
        with contextlib.suppress(ExplainError):
            explain(text, mysql_shop)
            explained.append(text)
    assert [each for each in explained if ";" in each and not each.startswith(r"SELECT '\'")] == []
    for text in LOCKS_OR_WAITS:
        with pytest.raises(ExplainError):
            explain(text, mysql_shop, analyze=True)
    chance = random.Random(5)
    for _ in range(200):
        with contextlib.suppress(ExplainError):
            explain(mixture(chance), mysql_shop, timeout=1)
    assert content(mysql_shop) == before
    assert time.monotonic() - began < 60


def test_a_server_without_analyze_is_named(mysql_shop):
    """Instead of a syntax error; later versions have it."""
    with mysql_shop.connect() as connection:
        version = connection.exec_driver_sql("SELECT VERSION()").scalar()
    if tuple(map(int, version.split("-")[0].split("."))) >= (8, 0, 18):
        assert explain(READ, mysql_shop, analyze=True).analyzed
        return
    with pytest.raises(ExplainError, match=f"since 8.0.18, and this is {version.split('-', maxsplit=1)[0]}"):
        explain(READ, mysql_shop, analyze=True)


def test_a_function_that_lies_about_what_it_does_cannot_write(mysql_shop):
    """The planner may call one that is declared deterministic; the transaction is read only."""
    with mysql_shop.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION lying() RETURNS INT DETERMINISTIC MODIFIES SQL DATA"
            " BEGIN DELETE FROM orders; RETURN 1; END"
        )
    before = content(mysql_shop)
    for text in ("SELECT lying()", "SELECT * FROM orders WHERE id = lying()", "SELECT * FROM (SELECT lying()) AS one"):
        with contextlib.suppress(ExplainError):
            explain(text, mysql_shop)
        with contextlib.suppress(ExplainError):
            dbsight.advise_index(text, mysql_shop)
    assert content(mysql_shop) == before


def test_locks_cost_no_more_than_the_lock_timeout(mysql_shop):
    """A locked table ends as an error; a locked row does not matter, and none is locked by explaining."""
    with mysql_shop.connect() as holder:
        holder.exec_driver_sql("LOCK TABLES orders WRITE")
        began = time.monotonic()
        with pytest.raises(ExplainError, match=r"1205|40001|HY000"):
            explain(READ, mysql_shop, lock_timeout=0.3)
        assert time.monotonic() - began < 5
        holder.exec_driver_sql("UNLOCK TABLES")
        holder.rollback()
        holder.exec_driver_sql("UPDATE orders SET total = 1 WHERE id = 77")
        with mysql_shop.connect() as other:
            assert explain("SELECT * FROM orders WHERE id = 77 FOR UPDATE", other).root.table == "orders"
            holder.exec_driver_sql("UPDATE orders SET total = 1 WHERE id BETWEEN 70 AND 80")
            other.rollback()
        holder.rollback()


@pytest.mark.parametrize("isolation", [None, "AUTOCOMMIT"])
@pytest.mark.parametrize("text", [READ, "SELECT * FROM nowhere"])
def test_a_connection_is_left_as_it_was(mysql_shop, isolation, text):
    """Limits and transaction are the caller's, also after an error and in autocommit."""
    with mysql_shop.connect() as connection:
        if isolation:
            connection = connection.execution_options(isolation_level=isolation)  # noqa: PLW2901
        before = connection.exec_driver_sql(SESSION).fetchone()
        with pytest.raises(ExplainError) if "nowhere" in text else contextlib.nullcontext():
            explain(text, connection)
        assert connection.exec_driver_sql(SESSION).fetchone() == before
        connection.exec_driver_sql("INSERT INTO customers (id, name) VALUES (9002, 'works')")
        assert connection.exec_driver_sql("DELETE FROM customers WHERE id = 9002").rowcount == 1
        if not isolation:
            connection.rollback()


def test_a_replica_and_a_user_without_rights(mysql_server, mysql_shop):
    """A server that is read only explains and advises; without a right there is an error that quotes nothing."""
    name = f"`{mysql_shop.url.database}`"
    servers.mariadb_says(
        mysql_server.database,
        "CREATE USER dbsight_nobody IDENTIFIED WITH mysql_native_password BY 'nothing'",
        f"GRANT SELECT ON {name}.customers TO dbsight_nobody",
    )
    engine = sa.create_engine(mysql_shop.url.set(username="dbsight_nobody", password="nothing"), future=True)
    try:
        for get in (explain, dbsight.advise_index):
            with pytest.raises(ExplainError, match=r"1142|42000") as caught:
                get(f"SELECT * FROM orders WHERE status = '{SECRET}'", engine)
            assert SECRET not in str(caught.value)
        servers.mariadb_says(
            mysql_server.database, f"GRANT SELECT ON {name}.orders TO dbsight_nobody", "SET GLOBAL read_only = 1"
        )
        assert explain(READ, engine).root.table == "orders"
        (advice,) = dbsight.advise_index(READ, engine, proof="scratch")
        assert (advice.proof, advice.columns) == ("likely", ("customer_id",))
        assert isinstance(dbsight.index_report(engine).indexes, tuple)
    finally:
        engine.dispose()
        servers.mariadb_says(mysql_server.database, "SET GLOBAL read_only = 0", "DROP USER dbsight_nobody")


def test_a_connection_that_the_server_ended_is_an_error(mysql_server, mysql_shop):
    """And the engine has plans again with the next connection."""
    engine = sa.create_engine(mysql_shop.url, future=True)
    with engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        connection.rollback()
        servers.mariadb_says(mysql_server.database, f"KILL {number}")
        with pytest.raises(ExplainError):
            explain(READ, connection)
    assert explain(READ, engine).root.table == "orders"
    engine.dispose()


def test_hostile_names_are_only_names(mysql_shop):
    """Quotes, percent signs and semicolons in names of tables, columns and aliases, for plans and for advice."""
    name = "o'r\"d%s`; DROP TABLE orders; --"
    table = sa.Table(name, sa.MetaData(), sa.Column("c'o%(l)s;", sa.Integer), sa.Column("x", sa.Integer))
    table.create(mysql_shop)
    before = content(mysql_shop)
    try:
        alias = table.alias("a'; DELETE FROM orders; --")
        for get in (explain, dbsight.advise_index):
            with contextlib.suppress(ExplainRefusedError):
                get(sa.select(alias).where(alias.c[0] == 1), mysql_shop)
        assert isinstance(dbsight.index_report(mysql_shop).indexes, tuple)
        assert content(mysql_shop) == before
    finally:
        table.drop(mysql_shop)
