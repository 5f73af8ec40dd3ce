"""Partitioned tables of PostgreSQL: the whole table is judged and indexed, not one of its partitions."""

import pytest
import sqlalchemy as sa

import dbsight
import servers
from dbsight.plans.explain import explain

BY_CUSTOMER = "SELECT * FROM sales WHERE customer_id = 77"
TABLES = (
    "CREATE TABLE sales (id int, day int, customer_id int, note text) PARTITION BY RANGE (day)",
    "CREATE TABLE sales_old PARTITION OF sales FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE sales_new PARTITION OF sales FOR VALUES FROM (100) TO (200) PARTITION BY LIST (day)",
    "CREATE TABLE sales_new_rest PARTITION OF sales_new DEFAULT",
    "CREATE INDEX sales_id ON sales (id)",
    "INSERT INTO sales SELECT i, mod(i, 200), mod(i, 5000), 'note' FROM generate_series(1, 40000) AS i",
    "ANALYZE",
)


def filled(database):
    """An engine of a database with the tables."""
    engine = sa.create_engine(database.url("postgresql+psycopg"), future=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement)
    return engine


@pytest.fixture(scope="module")
def partitioned(postgresql_server):
    """Two levels of partitions, without the extension."""
    with servers.fresh(postgresql_server) as database:
        engine = filled(database)
        yield engine
        engine.dispose()


def test_a_plan_names_the_table_of_its_partitions(partitioned):
    """And what is recommended is an index of that, which cannot be created concurrently."""
    plan = explain(BY_CUSTOMER, partitioned)
    scans = {node.table: node.relation for node in plan.nodes() if node.table}
    assert scans == {"sales_old": "sales", "sales_new_rest": "sales"}
    assert "CREATE INDEX ix_sales_customer_id ON sales (customer_id)" in dbsight.ExplainAnalyzer(plan).recommendations


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        (BY_CUSTOMER, ("customer_id",)),
        ("SELECT * FROM sales WHERE day = 7 AND customer_id = 7", ("day", "customer_id")),
        ("SELECT * FROM sales WHERE id = 7", None),
        ("SELECT * FROM sales WHERE note = 'note'", None),
        ("SELECT * FROM sales_old WHERE customer_id = 7", ("customer_id",)),
        ("SELECT * FROM sales_new WHERE customer_id = 7", ("customer_id",)),
        ("SELECT o.id FROM sales o JOIN sales n ON n.customer_id = o.customer_id WHERE o.id = 7", ("customer_id",)),
    ],
    ids=["all", "one partition", "existing index", "not selective", "partition", "part with partitions", "join"],
)
def test_an_index_of_the_whole_table_is_proved(partitioned, sql, columns):
    """In a transaction: the indexes of the partitions belong to it. Once it exists, the plan uses it for less."""
    advice = dbsight.advise_index(sql, partitioned, proof="transaction")
    if columns is None:
        assert advice == []
        return
    (advised,) = advice
    assert advised.columns[0] in columns
    assert (advised.table, advised.proof) == (sql.split()[3], "proved")
    with partitioned.connect() as connection:
        before = explain(sql, connection).cost
        connection.exec_driver_sql(advised.ddl.replace("CONCURRENTLY ", ""))
        assert explain(sql, connection).cost < before
        connection.rollback()
    assert sa.inspect(partitioned).get_indexes("sales_new_rest")[1:] == []


def test_the_ddl_is_what_the_database_takes(partitioned):
    """As it is, outside a transaction: also what Alembic would run."""
    (advised,) = dbsight.advise_index(BY_CUSTOMER, partitioned, proof="transaction")
    assert advised.ddl == "CREATE INDEX ix_sales_customer_id ON sales (customer_id)"
    assert advised.alembic == "op.create_index('ix_sales_customer_id', 'sales', ['customer_id'])"
    with partitioned.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(advised.ddl)
        try:
            assert dbsight.advise_index(BY_CUSTOMER, connection, proof="transaction") == []
        finally:
            connection.exec_driver_sql("DROP INDEX ix_sales_customer_id")


def test_without_a_proof_the_index_of_the_whole_table_is_likely(partitioned):
    """What the plans of the partitions complain of is one index."""
    (advised,) = dbsight.advise_index(BY_CUSTOMER, partitioned)
    assert (advised.proof, advised.table, advised.columns) == ("likely", "sales", ("customer_id",))


def test_hypothetical_indexes_of_the_partitions_prove_that_of_the_table(contrib_database):
    """Hypopg knows those of tables with rows only."""
    engine = filled(contrib_database)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CREATE EXTENSION hypopg")
            (advised,) = dbsight.advise_index(BY_CUSTOMER, connection)
            assert (advised.proof, advised.ddl) == (
                "proved",
                "CREATE INDEX ix_sales_customer_id ON sales (customer_id)",
            )
            assert advised.cost_after < advised.cost_before / 2
    finally:
        engine.dispose()
