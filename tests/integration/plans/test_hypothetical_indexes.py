"""Indexes of PostgreSQL that are proved with the extension hypopg, and those of contrib modules."""

import pytest
import sqlalchemy as sa

import dbsight
from integration.plans.advising import check_the_page, counts
from integration.plans.index_cases import CASES, fill

WORDS = (
    "INSERT INTO articles SELECT i, concat('word', i, ' text ', mod(i * 7919, 1000)), 'de'"
    " FROM generate_series(1, 20000) AS i"
)


@pytest.fixture(scope="module")
def hypopg(contrib_postgresql):
    """An engine of a database with all schemas and the extensions hypopg and pg_trgm."""
    engine = sa.create_engine(contrib_postgresql.url("postgresql+psycopg"), future=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA extensions")
        connection.exec_driver_sql("CREATE EXTENSION hypopg SCHEMA extensions")
        connection.exec_driver_sql("CREATE EXTENSION pg_trgm")
        fill(connection)
        connection.exec_driver_sql("CREATE TABLE articles (id INTEGER PRIMARY KEY, body TEXT, lang TEXT)")
        connection.exec_driver_sql(WORDS)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    yield engine
    engine.dispose()


def test_advice_is_proved_without_a_change_to_the_database(hypopg):
    """As precise and complete as with real indexes, in the default mode; no index is created, nothing is left."""
    before = sa.inspect(hypopg).get_indexes("orders")
    check_the_page("PostgreSQL with hypopg", CASES, counts(hypopg, "safe"))
    assert sa.inspect(hypopg).get_indexes("orders") == before
    with hypopg.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM extensions.hypopg_list_indexes").scalar() == 0


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("SELECT id FROM articles WHERE body LIKE '%word777 %'", "body gin_trgm_ops"),
        ("SELECT id FROM articles WHERE body ILIKE '%WORD777 %'", "body gin_trgm_ops"),
        (
            "SELECT id FROM articles WHERE to_tsvector('english', body) @@ to_tsquery('english', 'word777')",
            "TO_TSVECTOR('english', body)",
        ),
    ],
)
def test_a_wildcard_and_a_text_search_get_a_gin_index(hypopg, sql, column):
    """Which hypopg cannot pretend: proved in a transaction, and used once it exists."""
    (advice,) = dbsight.advise_index(sql, hypopg, proof="transaction")
    assert (advice.proof, advice.columns) == ("proved", (column,))
    assert advice.cost_after < advice.cost_before
    with hypopg.connect() as connection:
        transaction = connection.begin()
        connection.exec_driver_sql(advice.ddl.replace(" CONCURRENTLY", ""), execution_options={"no_parameters": True})
        used = {node.index for node in dbsight.explain(sql, connection).nodes()}
        transaction.rollback()
    assert advice.ddl.split()[3] in used
    assert "USING gin" in advice.ddl


def test_a_full_text_search_without_its_configuration_is_left_alone(hypopg):
    """No index can be on it: the configuration is a setting of the session."""
    sql = "SELECT id FROM articles WHERE to_tsvector(body) @@ to_tsquery('word777')"
    assert dbsight.advise_index(sql, hypopg, proof="transaction") == []
