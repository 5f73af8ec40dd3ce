"""Indexes that are advised exist nowhere yet, are used, and make the real plan better; where none helps, none is."""

import pytest
import sqlalchemy as sa

import dbsight
import servers
from dbsight.plans.explain import explain
from integration.plans.advising import check_the_page, counts
from integration.plans.index_cases import CASES, SQLITE_CASES


def test_advice_is_precise_and_complete(schemas):
    """Precision: each advised index helps in the real database. Recall: each missing one is advised."""
    engine, proof = schemas
    cases = CASES + SQLITE_CASES if engine.name == "sqlite" else CASES
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine.name]
    check_the_page(name, cases, counts(engine, proof, cases=cases))


def test_advice_is_as_precise_on_mariadb(mariadb_schemas):
    """It has no indexes of expressions, and its planner may prefer the order to the condition; nothing is left over."""
    check_the_page("MariaDB", CASES, counts(mariadb_schemas, "scratch"))
    with mariadb_schemas.connect() as connection:
        assert connection.exec_driver_sql("SHOW DATABASES LIKE 'dbsight_scratch%%'").fetchall() == []
        assert connection.exec_driver_sql("SELECT DATABASE()").scalar() == mariadb_schemas.url.database


def test_advice_without_a_scratch_schema_is_likely_on_mariadb(mariadb_schemas):
    """Nothing is written; columns that most rows share are left alone, and a caller's transaction is not ended."""
    (advice,) = dbsight.advise_index("SELECT * FROM orders WHERE customer_id = 5", mariadb_schemas)
    assert (advice.proof, advice.columns) == ("likely", ("customer_id",))
    assert advice.ddl == "CREATE INDEX ix_orders_customer_id ON orders (customer_id)"
    assert dbsight.advise_index("SELECT * FROM orders WHERE status = 'done'", mariadb_schemas) == []
    with mariadb_schemas.begin() as connection, pytest.raises(dbsight.ExplainError, match="pass the engine instead"):
        dbsight.advise_index("SELECT * FROM orders WHERE customer_id = 5", connection, proof="scratch")


def test_without_a_proof_advice_is_likely_and_still_right(schemas):
    """PostgreSQL is not changed unless that is allowed: what the plan complains of is advised, as precisely."""
    engine, proof = schemas
    if proof == "safe":
        return
    before = sa.inspect(engine).get_indexes("orders")
    check_the_page("PostgreSQL without", CASES, counts(engine, "safe", proofs=("likely",)))
    assert sa.inspect(engine).get_indexes("orders") == before


def test_a_tried_index_leaves_nothing_behind_in_autocommit(schemas):
    """Where the driver begins no transaction: the one begun by hand outlasts the plans that are asked for in it."""
    engine, proof = schemas
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = sa.inspect(connection).get_indexes("users")
        (advice,) = dbsight.advise_index(
            "SELECT * FROM users WHERE email = 'user9@example.org'", connection, proof=proof
        )
        assert advice.proof == "proved"
        assert sa.inspect(connection).get_indexes("users") == before
        connection.exec_driver_sql("UPDATE users SET name = name WHERE id = 1")


def test_a_tried_index_leaves_nothing_behind(schemas):
    """Neither in the catalogue nor in the caller's transaction."""
    engine, proof = schemas
    with engine.connect() as connection:
        before = sa.inspect(connection).get_indexes("orders")
        connection.exec_driver_sql("UPDATE orders SET note = 'mine' WHERE id = 1")
        (advice,) = dbsight.advise_index("SELECT * FROM orders WHERE customer_id = 5", connection, proof=proof)
        assert advice.proof == "proved"
        assert connection.exec_driver_sql("SELECT note FROM orders WHERE id = 1").scalar() == "mine"
        connection.rollback()
    assert sa.inspect(engine).get_indexes("orders") == before


def test_a_statement_of_sqlalchemy_is_judged_with_its_values(schemas):
    """A value that few rows have lacks an index, one that nearly all have does not; names stand for values in text."""
    engine, proof = schemas
    orders = sa.table("orders", sa.column("id"), sa.column("status"))
    for status, lacking in (("open", 1), ("done", 0)):
        statement = sa.select(orders).where(orders.c.status == status)
        assert len(dbsight.advise_index(statement, engine, proof=proof)) == lacking
        text = "SELECT * FROM orders WHERE status = :status"
        assert len(dbsight.advise_index(text, engine, params={"status": status}, proof=proof)) == lacking


def test_an_index_of_some_rows_serves_the_queries_of_these(schemas):
    """One with the condition before its columns is not advised beside it; for other rows it is."""
    engine, proof = schemas
    sql = "SELECT * FROM orders WHERE status = '{}' AND customer_id = 5"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE INDEX ix_some ON orders (customer_id) WHERE status = 'done'")
        connection.exec_driver_sql("ANALYZE")
        try:
            assert dbsight.advise_index(sql.format("done"), engine, proof=proof) == []
            (advice,) = dbsight.advise_index(sql.format("open"), engine, proof=proof)
            assert "customer_id" in advice.columns
        finally:
            connection.exec_driver_sql("DROP INDEX ix_some")


def test_an_index_that_was_created_is_not_advised_again(schemas):
    """Also one of an expression, and one that is the beginning of a longer one."""
    engine, proof = schemas
    sql = "SELECT * FROM users WHERE lower(email) = 'user9@example.org'"
    (advice,) = dbsight.advise_index(sql, engine, proof=proof)
    with engine.begin() as connection:
        connection.exec_driver_sql(advice.ddl.replace(" CONCURRENTLY", ""))
        connection.exec_driver_sql("CREATE INDEX ix_short ON orders (tenant_id)")
        # Another index has the name that the advised one would have.
        connection.exec_driver_sql("CREATE INDEX ix_orders_tenant_id_created ON orders (tenant_id) WHERE created < 0")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    try:
        assert dbsight.advise_index(sql, engine, proof=proof) == []
        sql = "SELECT * FROM orders WHERE tenant_id = 7 AND created > 95000"
        (longer,) = dbsight.advise_index(sql, engine, proof=proof)
        assert (longer.columns, longer.replaces) == (("tenant_id", "created"), "ix_short")
        assert "INDEX CONCURRENTLY ix_orders_tenant_id_created_new ON" in longer.ddl.replace(
            "X ix", "X CONCURRENTLY ix"
        )
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP INDEX ix_users_lower_email")
            connection.exec_driver_sql("DROP INDEX ix_short")
            connection.exec_driver_sql("DROP INDEX ix_orders_tenant_id_created")


def test_functions_of_the_application_are_not_called(tmp_path):
    """Neither to learn how selective a condition is nor to prove an index: without them it is likely at most."""
    calls = []
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'own.db'}", future=True)
    with engine.connect() as connection:
        connection.connection.driver_connection.create_function("noted", 0, lambda: calls.append(1) or 5)
        connection.exec_driver_sql("CREATE TABLE big (id INTEGER PRIMARY KEY, a INTEGER)")
        connection.exec_driver_sql(
            "INSERT INTO big WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
            " SELECT i, i % 1000 FROM n"
        )
        advice = dbsight.advise_index("SELECT * FROM big WHERE a = noted()", connection)
        connection.rollback()
    engine.dispose()
    assert calls == []
    assert [each.proof for each in advice] == ["likely"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM orders; DROP TABLE orders", "only one statement"),
        ("SELECT * FROM nowhere WHERE a = 1", "the database gave no plan"),
    ],
)
def test_what_cannot_be_explained_is_an_error(schemas, sql, message):
    """The same refusals as of explain()."""
    engine, proof = schemas
    with pytest.raises(dbsight.ExplainError, match=message):
        dbsight.advise_index(sql, engine, proof=proof)


def test_a_locked_table_ends_a_proof(schemas):
    """Creating an index waits no longer than the lock timeout."""
    engine, proof = schemas
    if proof == "safe":
        return
    with engine.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        with pytest.raises(dbsight.ExplainError, match="55P03"):
            dbsight.advise_index("SELECT * FROM orders WHERE customer_id = 5", engine, proof=proof, lock_timeout=0.2)


def test_other_databases_are_named():
    """Neither plans nor advice; and a proof that does not exist."""
    engine = sa.create_mock_engine("oracle+oracledb://nowhere", print)
    with pytest.raises(dbsight.ExplainError, match="oracle are not supported"):
        dbsight.advise_index("SELECT 1", engine)
    with pytest.raises(ValueError, match="not 'magic'"):
        dbsight.advise_index("SELECT 1", engine, proof="magic")


@pytest.fixture(scope="module")
def documents(postgresql_server):
    """A table with documents, arrays and texts in a natural order of a language."""
    with servers.fresh(postgresql_server) as database:
        engine = sa.create_engine(database.url("postgresql+psycopg"), future=True)
        with engine.begin() as connection:
            collation = connection.exec_driver_sql(
                "SELECT min(collname) FROM pg_collation WHERE collprovider = 'c' AND collname NOT IN ('C', 'POSIX')"
                " AND collencoding IN (-1, pg_char_to_encoding('UTF8'))"
            ).scalar()
            if not collation:
                pytest.skip("this PostgreSQL has no collation besides C, in which a plain b-tree finds prefixes")
            connection.exec_driver_sql(
                "CREATE TABLE documents (id int PRIMARY KEY, body jsonb, labels int[],"
                f' title text COLLATE "{collation}")'
            )
            connection.exec_driver_sql(
                "INSERT INTO documents SELECT i, jsonb_build_object('kind', mod(i, 500), 'text', repeat('x', 50)),"
                " ARRAY[mod(i, 700), mod(i, 900) + 1000], 'title ' || i FROM generate_series(1, 20000) AS i"
            )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        yield engine
        engine.dispose()


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("""body @> '{"kind": 7}'""", "ix_documents_body ON documents USING gin (body)"),
        ("labels @> ARRAY[7]", "ix_documents_labels ON documents USING gin (labels)"),
        ("labels && ARRAY[7, 1008]", "ix_documents_labels ON documents USING gin (labels)"),
        ("body ->> 'kind' = '7'", "ix_documents_body_kind ON documents ((body ->> 'kind'))"),
        ("title LIKE 'title 777%%'", "ix_documents_title_text_pattern_ops ON documents (title text_pattern_ops)"),
        ("title LIKE '%%777'", ""),
        ("title LIKE 'title%%'", ""),
        ("labels[1] > 0", ""),
    ],
)
def test_the_kind_of_index_fits_the_condition(documents, condition, index):
    """GIN for contents, an expression for a key of a document, a class of operators for a prefix; proved each."""
    condition = condition.replace("%%", "%")
    advice = dbsight.advise_index(f"SELECT id FROM documents WHERE {condition}", documents, proof="transaction")
    assert [each.ddl for each in advice] == [f"CREATE INDEX CONCURRENTLY {index}"] * bool(index)
    for each in advice:
        assert each.cost_after < each.cost_before
        with documents.connect() as connection:
            table = sa.Table("documents", sa.MetaData(), autoload_with=connection)
            made = eval(each.sqlalchemy, {"Index": sa.Index, "text": sa.text})
            table.append_constraint(made)
            made.create(connection)
            found = explain(f"SELECT id FROM documents WHERE {condition}", connection)
            connection.rollback()
        assert made.name in {node.index for node in found.nodes()}
