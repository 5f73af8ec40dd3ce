"""Long lists: how long a list is, is no part of the query, wherever the text is cut."""

import time

import pytest

from dbsight.statement.cache import read
from dbsight.statement.reader import read_text
from dbsight.statement.sql.reader import READ_LIMIT

LENGTHS = (3, 300, 9_000, 11_000, 13_000, 30_000)

IN_LISTS = {
    "numbers": "1000{}",
    "strings": "'value, number {}'",
    "parameters": "%s",
    "strings with quotes": "'it''s {}'",
    "casts": "'{}'::uuid",
}
ROWS = {
    "values": "({}, 'name, {}', NULL)",
    "parameters": "(%s, %s, %s)",
    "calls": "({}, now(), lower('x{}'))",
    "escape strings": "({}, E'a\\n(b{}', E'it\\'s')",
    "casts": "({}, '2026-01-01'::timestamp, array[1, {}])",
    "documents": """({}, '{{"a": [{}, ")", "b"]}}', 1.5e3)""",
}


@pytest.mark.parametrize("element", IN_LISTS.values(), ids=IN_LISTS)
def test_an_in_list_of_any_length_is_one_query(element):
    """From three elements to a text of half a megabyte: one text, one fingerprint, and what follows is read."""
    seen = set()
    for length in LENGTHS:
        values = ", ".join(element.format(number) for number in range(length))
        statement = read(f"SELECT a FROM t WHERE b IN ({values}) AND c = 5 ORDER BY d LIMIT 7", "postgresql")
        assert statement.in_length == length
        assert (statement.limit, statement.truncated) == (7, False)
        seen.add((statement.text, statement.fingerprint))
    assert len(seen) == 1
    assert next(iter(seen))[0].startswith("SELECT a FROM t WHERE b IN (")
    assert next(iter(seen))[0].endswith(") AND c = ? ORDER BY d LIMIT ?")


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("ending", ["", " ON CONFLICT (a) DO UPDATE SET b = 'SECRET' RETURNING id"])
def test_rows_of_any_number_are_one_query(row, ending):
    """Also where the rows are no plain values and each has to be read by itself."""
    seen = set()
    for length in LENGTHS:
        rows = ", ".join(row.format(number, number) for number in range(length))
        statement = read(f"INSERT INTO t (a, b, c) VALUES {rows}{ending}", "postgresql")
        assert (statement.written, statement.truncated) == (("t",), False)
        seen.add((statement.text, statement.fingerprint))
    assert len(seen) == 1
    assert "SECRET" not in str(seen)


@pytest.mark.parametrize("system", ["postgresql", "mysql", "sqlite", "microsoft.sql_server", "oracle.db", "other_sql"])
def test_a_list_whose_end_is_not_seen_is_one_query(system):
    """A text that was cut within a list, at any place, by anybody: the list is shortened as if it had ended there."""
    whole = "SELECT a FROM t WHERE b IN (" + ", ".join(f"'SECRET{number}'" for number in range(20))
    seen = {
        (statement.text, statement.fingerprint, statement.truncated)
        for cut in range(whole.index(", 'SECRET7") + 1, len(whole))
        for statement in [read(whole[:cut], system)]
    }
    assert seen == {("SELECT a FROM t WHERE b IN (?", read(whole, system).fingerprint, True)}


def test_a_list_that_is_too_long_to_be_looked_at_is_cut():
    """Beyond four million characters what follows is unknown; the query is the same for every such length."""
    seen = set()
    for length in (700_000, 800_000):
        values = ", ".join(str(number) for number in range(length))
        statement = read(f"SELECT a FROM t WHERE b IN ({values}) AND c = 5", "mysql")
        assert statement.truncated
        seen.add((statement.text, statement.fingerprint))
    assert {text for text, _ in seen} == {"SELECT a FROM t WHERE b IN (? …"}
    assert len(seen) == 1


def test_elements_that_cannot_be_passed_with_certainty_are_cut():
    """In an unknown dialect a backslash may end a string or not: what follows is unknown, and nothing is shown."""
    rows = ", ".join(f"({number}, f('SECRET\\{number}'))" for number in range(10_000))
    statement = read(f"INSERT INTO t (a, b) VALUES {rows}", "other_sql")
    assert statement.truncated
    assert "SECRET" not in statement.text
    assert len(statement.text) < 100


def test_a_list_with_a_query_in_it_is_no_list():
    """A subquery keeps all that it selects."""
    one = read("SELECT a FROM t WHERE b IN (SELECT c, d FROM u WHERE e IN (1, 2))", "postgresql")
    other = read("SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE e IN (1, 2))", "postgresql")
    assert one.fingerprint != other.fingerprint
    assert one.text == "SELECT a FROM t WHERE b IN (SELECT c, d FROM u WHERE e IN (?))"


NESTED = {
    "IN in IN": ("in (", "1", ")"),
    "IN in IN, second": ("in (1, ", "2", ")"),
    "rows in rows": ("values (1), (", "2", ")"),
    "first rows": ("values (null, ", "2", ")"),
    "calls behind rows": ("values (1) a (", "", ")"),
    "arrays": ("array[1, ", "2", "]"),
}


@pytest.mark.parametrize(("opening", "middle", "closing"), NESTED.values(), ids=NESTED)
def test_lists_in_lists_take_time_in_proportion_to_their_depth(opening, middle, closing):
    """Each list looks at its own elements alone: four times the depth is no sixteen times the time."""

    def seconds(depth):
        text = f"SELECT a FROM t WHERE b {opening * depth}{middle}{closing * depth}"
        assert len(text) < READ_LIMIT
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            read_text(text, "postgresql")
            best = min(best, time.process_time() - began)
        return best

    deep = (READ_LIMIT - 100) // len(opening + closing)
    assert seconds(deep) < 10 * seconds(deep // 4)
