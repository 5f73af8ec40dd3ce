"""One index for several statements, indexes of a part of a table, and what indexes cost writes."""

import pytest
import sqlalchemy as sa

import dbsight
import servers
from integration.plans.advising import helpful_ones

SEVERAL = [
    ("SELECT * FROM orders WHERE tenant_id = 7 AND customer_id = 9", "SELECT * FROM orders WHERE customer_id = 9"),
    ("SELECT * FROM orders WHERE customer_id = 9", "SELECT * FROM orders WHERE customer_id = 9 AND created > 500"),
]


@pytest.mark.parametrize("statements", SEVERAL)
def test_one_index_serves_several_statements(schemas, statements):
    """It begins with what both compare; each of them uses it once it exists."""
    engine, proof = schemas
    (advice,) = dbsight.advise_index([*statements, "SELECT * FROM tags WHERE color = 3"], engine, proof=proof)
    assert (advice.serves, advice.proof, advice.columns[0]) == ((0, 1), "proved", "customer_id")
    for each in statements:
        assert helpful_ones(engine, each, [advice]) == [advice]


def test_statements_that_share_no_index_get_one_each(schemas):
    """In the order of the statements, with the values of each; other tables are told apart."""
    engine, proof = schemas
    statements = ["SELECT * FROM orders WHERE total > :low", "SELECT * FROM orders WHERE customer_id = :customer"]
    statements += ["SELECT * FROM items WHERE order_id = 7", "SELECT * FROM items WHERE order_id = 8"]
    params = [{"low": 9990}, {"customer": 3}, None, None]
    advice = dbsight.advise_index(statements, engine, params=params, proof=proof)
    assert [(each.columns, each.serves) for each in advice] == [
        (("total",), (0,)),
        (("customer_id",), (1,)),
        (("order_id",), (2, 3)),
    ]
    for wrong in ([{}], {"low": 1}):
        with pytest.raises(TypeError, match="a list with the values of each"):
            dbsight.advise_index(statements, engine, params=wrong, proof=proof)


def test_a_longer_index_takes_the_place_of_a_shorter_one_without_a_proof(mariadb_schemas):
    """Where the planner was not asked, what begins with the same columns serves."""
    (advice,) = dbsight.advise_index(SEVERAL[1], mariadb_schemas)
    assert (advice.proof, advice.columns, advice.serves) == ("likely", ("customer_id", "created"), (0, 1))


@pytest.mark.parametrize(
    ("sql", "params", "where"),
    [
        ("SELECT * FROM jobs WHERE status = 'queued' ORDER BY run_at LIMIT 10", None, "status = 'queued'"),
        ("SELECT * FROM jobs WHERE status = :s ORDER BY run_at LIMIT 10", {"s": "queued"}, ""),
        ("SELECT * FROM jobs WHERE tenant_id = 7 AND deleted_at IS NULL", None, "deleted_at IS NULL"),
        ("SELECT * FROM jobs WHERE tenant_id = :t AND archived = 0 AND order_id < 9000", {"t": 7}, "archived = 0"),
        ("SELECT * FROM jobs WHERE tenant_id = 7 AND priority = 3", None, ""),
        ("SELECT * FROM jobs WHERE order_id = 7 AND deleted_at IS NULL", None, ""),
    ],
)
def test_a_constant_condition_makes_a_partial_index(postgresql_schemas, sql, params, where):
    """Only one that is written into the statement, and only where the index gets better by it."""
    (advice,) = dbsight.advise_index(sql, postgresql_schemas, params=params, proof="transaction")
    assert (advice.proof, advice.where) == ("proved", where)
    if not params:
        assert helpful_ones(postgresql_schemas, sql, [advice]) == [advice]


def test_a_table_that_is_written_often_is_named(postgresql_server):
    """With the numbers, which the database counts; one that is read more often is not."""
    with servers.fresh(postgresql_server) as database:
        engine = sa.create_engine(database.url("postgresql+psycopg"), future=True)
        sql = "SELECT * FROM log WHERE kind = 7"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CREATE TABLE log (id int, kind int)")
            connection.exec_driver_sql("INSERT INTO log SELECT i, mod(i, 1000) FROM generate_series(1, 20000) AS i")
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
            (advice,) = dbsight.advise_index(sql, connection, proof="transaction")
            assert advice.write_cost.startswith("log is written often (20 000 rows written, ")
            connection.exec_driver_sql("DO $$ BEGIN FOR i IN 1..2200 LOOP PERFORM 1 FROM log LIMIT 1; END LOOP; END $$")
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
            (advice,) = dbsight.advise_index(sql, connection, proof="transaction")
            assert advice.write_cost == ""
        engine.dispose()
