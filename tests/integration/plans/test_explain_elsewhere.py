"""Replicas, users without rights, servers that are away, and conditions with side effects."""

import asyncio
import contextlib
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import dbsight
import servers
from dbsight import ExplainError, ExplainRefusedError
from dbsight.plans.explain import explain

READ = "SELECT * FROM orders WHERE customer_id = 7"
SECRET = "private-4711"


@pytest.fixture
def replica(shop):
    """The shop as a replica shows it: no transaction may write."""
    if shop.name == "sqlite":
        engine = sa.create_engine(f"sqlite:///file:{shop.url.database}?mode=ro&uri=true", future=True)
    elif shop.name == "postgresql":
        options = {"options": "-c default_transaction_read_only=on"}
        engine = sa.create_engine(shop.url, connect_args=options, future=True)
    else:
        options = {"init_command": "SET SESSION TRANSACTION READ ONLY"}
        engine = sa.create_engine(shop.url, connect_args=options, future=True)
    yield engine
    engine.dispose()


def test_a_replica_is_explained_and_never_written_to(replica):
    """Plans, measurements, advice and the report of indexes need no right to write; a write that is wanted fails."""
    assert explain(READ, replica).root.table == "orders"
    assert explain(READ, replica, analyze=True).root.actual_rows == 10
    with pytest.raises(ExplainError):
        explain("DELETE FROM orders", replica, analyze=True, rollback=True)
    for proof in ("safe", "transaction", "scratch"):
        (advice,) = dbsight.advise_index(READ, replica, proof=proof)
        assert advice.columns == ("customer_id",)
        assert advice.proof == ("proved" if replica.name == "sqlite" else "likely")
    assert isinstance(dbsight.index_report(replica).indexes, tuple)


@pytest.mark.parametrize("system", ["sqlite", "mariadb", "postgresql"])
def test_an_engine_of_the_version_s_own_kind_commits_nothing(system, request):
    """SQLAlchemy 1.4, without ``future=True``, commits behind each text that writes, unless it is told not to."""
    shop = request.getfixturevalue(f"{system}_shop")
    engine = sa.create_engine(shop.url)
    try:
        with engine.connect() as connection:
            for target in (engine, connection):
                assert explain("DELETE FROM orders", target, analyze=True, rollback=True).analyzed
        with shop.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 5000
    finally:
        engine.dispose()


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite", "postgresql+asyncpg"])
def test_advice_of_an_asynchronous_engine_and_connection_is_awaited(driver, request):
    """The same indexes as of a synchronous one, also for several statements."""
    shop = request.getfixturevalue(f"{driver.partition('+')[0]}_shop")
    statements = [READ, "SELECT * FROM orders WHERE customer_id = 7 AND total > 4900"]

    async def ask():
        engine = create_async_engine(shop.url.set(drivername=driver))
        try:
            async with engine.connect() as connection:
                return [
                    await dbsight.advise_index(statements, each, proof="transaction") for each in (engine, connection)
                ]
        finally:
            await engine.dispose()

    expected = dbsight.advise_index(statements, shop, proof="transaction")
    assert [each.serves for each in expected] == [(0, 1)]
    for advice in asyncio.run(ask()):
        assert [each.ddl for each in advice] == [each.ddl for each in expected]
    assert sa.inspect(shop).get_indexes("orders") == []


def test_a_user_of_mariadb_without_rights_gets_no_plan(mariadb_shop):
    """No message quotes the statement; with the right to read there is a plan, and advice without a scratch schema."""
    with mariadb_shop.begin() as connection:
        connection.exec_driver_sql("DROP USER IF EXISTS dbsight_nobody")
        connection.exec_driver_sql("CREATE USER dbsight_nobody IDENTIFIED BY 'nothing'")
        connection.exec_driver_sql(f"GRANT SELECT ON `{mariadb_shop.url.database}`.customers TO dbsight_nobody")
    engine = sa.create_engine(mariadb_shop.url.set(username="dbsight_nobody", password="nothing"), future=True)
    try:
        for ask in (explain, dbsight.advise_index):
            with pytest.raises(ExplainError, match=r"1142|42000") as caught:
                ask(f"SELECT * FROM orders WHERE status = '{SECRET}'", engine)
            assert SECRET not in str(caught.value)
        with mariadb_shop.begin() as connection:
            connection.exec_driver_sql(f"GRANT SELECT ON `{mariadb_shop.url.database}`.orders TO dbsight_nobody")
        assert explain(READ, engine, analyze=True).root.actual_rows == 10
        (advice,) = dbsight.advise_index(READ, engine, proof="scratch")
        assert (advice.proof, advice.columns) == ("likely", ("customer_id",))
    finally:
        engine.dispose()
        with mariadb_shop.begin() as connection:
            connection.exec_driver_sql("DROP USER dbsight_nobody")


@pytest.mark.parametrize("ask", [explain, dbsight.advise_index, lambda _, engine: dbsight.index_report(engine)])
def test_a_server_that_is_away_is_an_error_that_names_no_password(shop, ask, tmp_path):
    """Nobody listens, or there is no such file."""
    away = f"sqlite:///{tmp_path / 'no' / 'such.db'}"
    if shop.name != "sqlite":
        away = shop.url.set(username="dbsight_away", password=SECRET, host="127.0.0.1", port=1, query={})
    with pytest.raises(ExplainError, match="OperationalError") as caught:
        ask(READ, sa.create_engine(away, future=True))
    assert SECRET not in str(caught.value)


def test_a_connection_that_mariadb_ended_is_an_error(mariadb_server, mariadb_shop):
    """And the engine has plans again with the next connection."""
    engine = sa.create_engine(mariadb_shop.url, future=True)
    with engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        connection.rollback()
        servers.mariadb_says(mariadb_server.database, f"KILL {number}")
        with pytest.raises(ExplainError):
            explain(READ, connection)
    assert explain(READ, engine).root.table == "orders"
    engine.dispose()


def test_advice_evaluates_no_condition_with_side_effects(mariadb_shop):
    """To learn how selective a condition is, only what reads is tried on rows: no sequence, no lock, no sleep."""
    with mariadb_shop.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE numbers")
    try:
        began = time.monotonic()
        for call in ("NEXTVAL(numbers)", "GET_LOCK('dbsight', 9)", "SLEEP(9)", "NEXT VALUE FOR numbers"):
            with contextlib.suppress(ExplainError):
                dbsight.advise_index(f"SELECT * FROM orders WHERE customer_id = {call}", mariadb_shop)
        assert time.monotonic() - began < 8
        with mariadb_shop.connect() as connection:
            assert connection.exec_driver_sql("SELECT NEXTVAL(numbers)").scalar() == 1
            assert connection.exec_driver_sql("SELECT IS_FREE_LOCK('dbsight')").scalar() == 1
    finally:
        with mariadb_shop.begin() as connection:
            connection.exec_driver_sql("DROP SEQUENCE numbers")


def test_hostile_names_are_only_names_for_advice_and_report(shop):
    """Quotes, percent signs and semicolons in names of tables, columns and indexes."""
    name = "o'r\"d%s`; DROP TABLE orders; --"
    table = sa.Table(name, sa.MetaData(), sa.Column("c'o%(l)s;", sa.Integer), sa.Column("x", sa.Integer))
    table.create(shop)
    try:
        with shop.begin() as connection:
            quote = connection.dialect.identifier_preparer.quote
            for index in ("i'1%s", 'i"2;'):
                connection.exec_driver_sql(
                    f"CREATE INDEX {quote(index).replace('%%', '%')} ON {quote(name).replace('%%', '%')} (x)",
                    execution_options={"no_parameters": True},
                )
        (found,) = (each for each in dbsight.index_report(shop).indexes if each.table == name)
        with shop.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(found.ddl, execution_options={"no_parameters": True})
        assert not [each for each in dbsight.index_report(shop).indexes if each.table == name]
        with contextlib.suppress(ExplainRefusedError):
            dbsight.advise_index(sa.select(table).where(table.c[0] == 1), shop)
        assert explain(READ, shop).root.table_rows == 5000
    finally:
        table.drop(shop)


LABELS = {
    "sqlite": {
        "index_scan": "SELECT * FROM orders WHERE id = 7",
        "nested_loop": "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id < 9",
        "sort": "SELECT * FROM orders ORDER BY total",
        "temp_table": "SELECT status, count(*) FROM orders GROUP BY status",
        "temp_btree": "SELECT * FROM orders ORDER BY total",
        "automatic_index": "SELECT count(*) FROM orders a JOIN orders b ON b.total = a.total",
    },
    "postgresql": {
        "index_scan": "SELECT * FROM orders WHERE id = 7",
        "nested_loop": "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id < 3",
        "hash_join": "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id",
        "merge_join": "SELECT * FROM orders o FULL JOIN customers c ON c.id = o.customer_id",
        "sort": "SELECT * FROM orders ORDER BY total",
        "temp_table": "WITH o AS MATERIALIZED (SELECT * FROM orders) SELECT * FROM o a, o b WHERE a.id = b.total",
        "missing_join_index": "SELECT count(*) FROM orders a JOIN orders b ON b.total = a.id WHERE a.id < 3",
        "large_nested_loop": "SELECT count(*) FROM orders, customers c, (VALUES (1), (2), (3)) v WHERE c.id > total",
        "hash_spill": "SELECT count(*) FROM orders a JOIN orders b ON b.status = a.status AND b.total = a.total",
    },
    "mysql": {
        "index_scan": "SELECT * FROM orders WHERE id = 7",
        "nested_loop": "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id < 9",
        "hash_join": "SELECT * FROM orders a JOIN orders b ON b.total = a.total",
        "sort": "SELECT * FROM orders ORDER BY total",
        "temp_table": "SELECT status, count(*) FROM orders GROUP BY status ORDER BY 2",
        "large_nested_loop": "SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer_id"
        " CROSS JOIN (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) v",
    },
}
SET = {
    ("postgresql", "nested_loop"): "SET enable_hashjoin = off; SET enable_mergejoin = off",
    ("postgresql", "merge_join"): "SET enable_hashjoin = off",
    (
        "postgresql",
        "missing_join_index",
    ): "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off",
    ("postgresql", "hash_spill"): "SET work_mem = '64kB'; SET enable_mergejoin = off",
    ("mysql", "hash_join"): "SET join_cache_level = 8",
}
MEASURED = ("hash_spill", "large_nested_loop")


def test_each_label_is_found_in_a_plan_of_the_database(shop):
    """What a plan does, and what is wrong with it; those that are measured, with analyze."""
    wrong = {}
    for label, sql in {"seq_scan": "SELECT * FROM orders", **LABELS[shop.name]}.items():
        with shop.connect() as connection:
            for setting in filter(None, SET.get((shop.name, label), "").split("; ")):
                connection.exec_driver_sql(setting)
            if shop.name == "mysql":
                connection.rollback()
            plan = explain(sql, connection, analyze=label in MEASURED)
            if label not in dbsight.ExplainAnalyzer(plan).labels:
                wrong[label] = (dbsight.ExplainAnalyzer(plan).labels, str(plan))
            connection.rollback()
            connection.invalidate()
    assert wrong == {}
