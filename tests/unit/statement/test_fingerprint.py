"""What makes two texts one query, and what makes them two."""

import itertools

import pytest

from dbsight.statement.cache import read

SAME = {
    "other literals": (
        "SELECT a FROM t WHERE b = 'x' AND c = 5 AND d = TRUE",
        "SELECT a FROM t WHERE b = 'it''s' AND c = -7.5e3 AND d = false",
        "SELECT a FROM t WHERE b = N'y' AND c = 0xFF AND d = 'no'",
    ),
    "literal or bound, in every style": (
        "SELECT a FROM t WHERE b = 'x' LIMIT 10",
        "SELECT a FROM t WHERE b = ? LIMIT ?",
        "SELECT a FROM t WHERE b = %s LIMIT %s",
        "SELECT a FROM t WHERE b = %(b_1)s LIMIT %(param_1)s",
        "SELECT a FROM t WHERE b = :b_1 LIMIT :param_1",
        "SELECT a FROM t WHERE b = $1 LIMIT $2",
        "SELECT a FROM t WHERE b = $1::VARCHAR LIMIT $2::INTEGER",
        "SELECT a FROM t WHERE b = %(b_1)s::TIMESTAMP WITHOUT TIME ZONE LIMIT 5::numeric(10, 2)",
    ),
    "comments, white space and the case of words": (
        "SELECT a, b.c AS d FROM t WHERE e = 1",
        "select A , B.c as D\n\tfrom T\r\n where E=1",
        "SELECT /* one */ a,-- two\n b.c AS /* /* nested */ */ d FROM t WHERE e = 1 /* traceparent='00-1-2-01' */",
        "-- dbsight: allow all\nSELECT a, b.c AS d FROM t WHERE e =\n1;",
        ";SELECT a, b.c AS d FROM t WHERE e = 1 ; ",
    ),
    "the length of an IN list": (
        "SELECT a FROM t WHERE b IN (1)",
        "SELECT a FROM t WHERE b IN (1, 2, 3)",
        "SELECT a FROM t WHERE b IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "SELECT a FROM t WHERE b in($1::INTEGER,$2::INTEGER)",
        "SELECT a FROM t WHERE b IN (" + ", ".join(str(n) for n in range(500)) + ")",
        "SELECT a FROM t WHERE b IN ('x', NULL, -5, 'a,b(c', TRUE)",
    ),
    "the length of a list of tuples": (
        "SELECT a FROM t WHERE (b, c) IN ((1, 2))",
        "SELECT a FROM t WHERE (b, c) IN ((?, ?), (?, ?), (?, ?))",
        "SELECT a FROM t WHERE (b, c) IN (" + ", ".join(f"({n}, 'x')" for n in range(50)) + ")",
    ),
    "the length of an array": (
        "SELECT a FROM t WHERE b = ANY(ARRAY[1])",
        "SELECT a FROM t WHERE b = ANY(ARRAY[1, 2, 3])",
    ),
    "the number of rows": (
        "INSERT INTO t (a, b) VALUES (1, 'x') RETURNING id",
        "INSERT INTO t (a, b) VALUES (%s, %s), (%s, %s) RETURNING id",
        "INSERT INTO t (a, b) VALUES (1, NULL), (DEFAULT, 'y'), (3, lower('z')) RETURNING id",
        "INSERT INTO t (a, b) VALUES " + ", ".join(f"({n}, 'row {n}')" for n in range(500)) + " RETURNING id",
        "INSERT INTO t (a, b) VALUES " + ", ".join(f"(:a__{n}, :b__{n})" for n in range(500)) + " RETURNING id",
    ),
    "names that the client makes up": (
        "SAVEPOINT sa_savepoint_1",
        'savepoint "s140123_x7"',
    ),
    "names of cursors": (
        'FETCH FORWARD 100 FROM "_django_curs_1"',
        'FETCH FORWARD 2000 FROM "_django_curs_2"',
    ),
    "the declared name of a cursor": (
        'DECLARE "c_1" CURSOR FOR SELECT a FROM t',
        'DECLARE "c_2" CURSOR FOR SELECT a FROM t',
    ),
    "a sign in front of a value": (
        "SELECT a FROM t WHERE b = - 5 AND c BETWEEN -1 AND +1",
        "SELECT a FROM t WHERE b = 5 AND c BETWEEN ? AND ?",
    ),
}

DIFFERENT = (
    "SELECT a FROM t WHERE b = 1",
    "SELECT c FROM t WHERE b = 1",
    "SELECT a, c FROM t WHERE b = 1",
    "SELECT a FROM u WHERE b = 1",
    "SELECT a FROM s.t WHERE b = 1",
    "SELECT a FROM t WHERE c = 1",
    "SELECT a FROM t WHERE b > 1",
    "SELECT a FROM t WHERE b >= 1",
    "SELECT a FROM t WHERE b = c",
    "SELECT a FROM t WHERE b IS NULL",
    "SELECT a FROM t WHERE b IS NOT NULL",
    "SELECT a FROM t WHERE b IS TRUE",
    "SELECT a FROM t WHERE b IS FALSE",
    "SELECT a FROM t WHERE b IN (1)",
    "SELECT a FROM t WHERE b NOT IN (1)",
    "SELECT a FROM t WHERE b IN (c, d)",
    "SELECT a FROM t WHERE b IN (SELECT c FROM u)",
    "SELECT a FROM t WHERE b = 1 AND c = 1",
    "SELECT a FROM t WHERE b = 1 OR c = 1",
    "SELECT a FROM t WHERE b = 1 ORDER BY a",
    "SELECT a FROM t WHERE b = 1 ORDER BY a DESC",
    "SELECT a FROM t WHERE b = 1 LIMIT 1",
    "SELECT a FROM t WHERE b = 1 FOR UPDATE",
    "SELECT DISTINCT a FROM t WHERE b = 1",
    'SELECT "a" FROM t WHERE b = 1',
    'SELECT "A" FROM t WHERE b = 1',
    "SELECT a AS x FROM t WHERE b = 1",
    "SELECT a AS y FROM t WHERE b = 1",
    "SELECT a - b FROM t",
    "SELECT a + b FROM t",
    "SELECT a - 1 FROM t",
    "SELECT a::int FROM t",
    "SELECT a::text FROM t",
    "SELECT x.a FROM t AS x JOIN u ON x.id = u.id",
    "SELECT x.a FROM t AS x LEFT JOIN u ON x.id = u.id",
    "UPDATE t SET a = 1 WHERE b = 1",
    "UPDATE t SET a = NULL WHERE b = 1",
    "DELETE FROM t WHERE b = 1",
    "INSERT INTO t (a) VALUES (1)",
    "INSERT INTO t (b) VALUES (1)",
    "INSERT INTO t (a, b) VALUES (1, 2)",
    "INSERT INTO t (a) VALUES ((SELECT b FROM u))",
    "SAVEPOINT x",
    "RELEASE SAVEPOINT x",
    "ROLLBACK TO SAVEPOINT x",
    "ROLLBACK",
    "COMMIT",
)


@pytest.mark.parametrize("texts", SAME.values(), ids=SAME)
def test_one_query_has_one_fingerprint(texts):
    """However its values are written, a query keeps its fingerprint."""
    assert len({read(text, "postgresql").fingerprint for text in texts}) == 1


def test_two_queries_have_two_fingerprints():
    """Other columns, tables, predicates, operators, clauses or labels are another query."""
    fingerprints = {text: read(text, "postgresql").fingerprint for text in DIFFERENT}
    for first, second in itertools.combinations(DIFFERENT, 2):
        assert fingerprints[first] != fingerprints[second], (first, second)


def test_a_query_has_one_fingerprint_on_every_database():
    """The same text means the same query, whatever the dialect that reads it."""
    text = "SELECT orders.id AS orders_id FROM orders WHERE orders.customer_id = 5 AND orders.state IN ('a', 'b')"
    systems = ("postgresql", "mysql", "mariadb", "sqlite", "microsoft.sql_server", "oracle.db", "other_sql")
    assert len({read(text, system).fingerprint for system in systems}) == 1


def test_a_fingerprint_is_sixteen_hexadecimal_digits_and_stable():
    """It is the same in every process: reports of two runs can be compared."""
    assert read("SELECT id FROM orders WHERE id = 5", "sqlite").fingerprint == "08404954f2c5f330"


def test_the_hash_of_literals_tells_executions_apart():
    """Literals that were taken out of the text count as parameters: the same values, the same hash."""

    def literals(text):
        return read(text, "postgresql").literals

    assert literals("SELECT a FROM t WHERE b = 'x' AND c = 1") == literals("select a\nfrom t where b = 'x' and c = 1")
    different = [
        "SELECT a FROM t WHERE b = 'x' AND c = 1",
        "SELECT a FROM t WHERE b = 'x' AND c = -1",
        "SELECT a FROM t WHERE b = 'x' AND c = 2",
        "SELECT a FROM t WHERE b = 'y' AND c = 1",
        "SELECT a FROM t WHERE b IN ('x', 'y')",
        "SELECT a FROM t WHERE b IN ('y', 'x')",
        "INSERT INTO t VALUES (1), (2)",
        "INSERT INTO t VALUES (1), (3)",
        "INSERT INTO t VALUES (1), (2), (3)",
    ]
    assert len({literals(text) for text in different}) == len(different)
    assert literals("SELECT a FROM t WHERE b = ? AND c = $1") == 0
