"""What users of other advisers reported: dexter, HypoPG, pg_qualstats, doctrine-doctor. Each kind is a case here."""

# ruff: noqa: E501, ISC004 - statements and queries, each of which is a text in one or more pieces

import pytest
import sqlalchemy as sa

import dbsight
import servers
from dbsight.plans.explain import explain
from integration.plans.advising import helpful_ones

TABLES = (
    "CREATE TABLE reports (id int PRIMARY KEY, updated_at timestamptz, body jsonb, ref text, a int, b int, kind int)",
    "INSERT INTO reports SELECT i, now() - make_interval(mins => 60 * i),"
    " jsonb_build_object('code', jsonb_build_object('text', 'T' || mod(i, 4000))), 'ref' || i, mod(i, 100), mod(i, 100),"
    " CASE WHEN mod(i, 50) = 0 THEN NULL ELSE mod(i, 3000) END FROM generate_series(1, 20000) AS i",
    "CREATE INDEX reports_kind ON reports (kind)",
    "CREATE VIEW recent AS SELECT id, a::numeric / (b + 1) AS ratio, a, updated_at FROM reports WHERE b >= 10 AND a > 0",
    "ANALYZE",
)


@pytest.fixture(scope="module")
def reported(postgresql_server):
    """A table with times, documents, references, and two columns that depend on each other."""
    with servers.fresh(postgresql_server) as database:
        engine = sa.create_engine(database.url("postgresql+psycopg"), future=True)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in TABLES:
                connection.exec_driver_sql(statement)
        yield engine
        engine.dispose()


@pytest.mark.parametrize(
    ("sql", "begins"),
    [
        ("SELECT * FROM reports WHERE updated_at >= current_date - 1", "updated_at"),
        ("SELECT * FROM reports WHERE updated_at > current_timestamp - interval '2 days' AND ref IS NOT NULL", "updated_at"),
        ("SELECT * FROM reports WHERE body -> 'code' ->> 'text' = 'T7'", "("),
        ("SELECT * FROM reports r JOIN reports s ON s.id = r.id AND s.ref IS NOT NULL WHERE r.ref = 'ref7'", "ref"),
    ],
    ids=["a date that is computed", "a time that is computed", "a path in a document", "a join with IS NOT NULL"],
)  # fmt: skip
def test_obvious_cases_are_found(reported, sql, begins):
    """Each index helps the real plan."""
    (advice,) = dbsight.advise_index(sql, reported, proof="transaction")
    assert advice.columns[0].startswith(begins)
    assert helpful_ones(reported, sql, [advice]) == [advice]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM reports WHERE id::text ILIKE '%77%' OR ref::text ILIKE '%77%' ORDER BY id DESC LIMIT 10",
        "SELECT * FROM reports WHERE kind = 7 OR kind IS NULL",
        "SELECT * FROM reports WHERE kind = 7",
        "SELECT max(id) FROM reports",
        "SELECT * FROM reports WHERE kind = ANY (ARRAY[1, 2])",
    ],
    ids=["ILIKE with OR", "a value or NULL", "an existing index", "the end of a key", "an array"],
)
def test_nothing_is_advised_where_nothing_helps(reported, sql):
    """No b-tree for patterns, none that exists."""
    assert dbsight.advise_index(sql, reported, proof="transaction") == []


def test_columns_that_depend_on_each_other_get_statistics(reported):
    """Fresh statistics of each column do not help; what is recommended does."""
    sql = "SELECT * FROM reports WHERE a = 7 AND b = 7"
    with reported.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        analyzer = dbsight.ExplainAnalyzer(explain(sql, connection, analyze=True))
        assert "misestimated_rows" in analyzer.labels
        (statements,) = (each for each in analyzer.recommendations if "STATISTICS" in each)
        assert statements == "CREATE STATISTICS ON a, b FROM reports; ANALYZE reports"
        for statement in statements.split(";"):
            connection.exec_driver_sql(statement)
        assert "misestimated_rows" not in dbsight.ExplainAnalyzer(explain(sql, connection, analyze=True)).labels


def test_no_partial_index_is_pretended(contrib_database):
    """HypoPG ends the server when a query reaches a table with one by a view; the server is there afterwards."""
    engine = sa.create_engine(contrib_database.url("postgresql+psycopg"), future=True)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in ("CREATE EXTENSION hypopg", *TABLES):
                connection.exec_driver_sql(statement)
            started = connection.exec_driver_sql("SELECT pg_postmaster_start_time()").scalar()
            for sql in (
                "SELECT ratio FROM recent WHERE updated_at >= now() - interval '9 days' ORDER BY ratio DESC LIMIT 20",
                "SELECT r.id FROM recent v JOIN reports r ON r.id = v.id WHERE r.kind IS NULL AND r.a = 7 AND r.ref = 'x'",
            ):
                assert all(not each.where for each in dbsight.advise_index(sql, connection))
            assert connection.exec_driver_sql("SELECT pg_postmaster_start_time()").scalar() == started
    finally:
        engine.dispose()
