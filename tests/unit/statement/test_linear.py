"""Reading takes time in proportion to the length, whatever the text, and no more than its bounds allow."""

import time

import pytest

from dbsight.statement.cache import read
from dbsight.statement.reader import read_text
from dbsight.statement.sql.reader import READ_LIMIT, TEXT_LIMIT

SYSTEMS = ("postgresql", "mysql", "other_sql")

PATTERNS = {
    "ordinary conditions": " AND a.b = 'value' OR c IN (1, 2)",
    "quotes": "'",
    "pairs of quotes": "''",
    "double quotes": '"',
    "backticks": "`",
    "brackets": "[",
    "closing brackets": "]",
    "opening parentheses": "(",
    "closing parentheses": ")",
    "pairs of parentheses": "()",
    "lists in lists": " in (1, (",
    "comment openers": "/*",
    "comments": "/**/",
    "nested comments": "/*/**/*/",
    "executable comments": "/*!",
    "stars": "*",
    "slashes": "/",
    "dashes": "-",
    "line comments": "--\n",
    "hashes": "#",
    "hashes in words": "#a",
    "dollars": "$",
    "dollar tags": "$a$ $b$ ",
    "backslashes": "\\",
    "escaped quotes": "\\'",
    "strings with backslashes": "'a\\'",
    "Oracle quotes": " q'[",
    "escape strings": " E'\\",
    "strings over lines": "E'a'\n",
    "dots": ".",
    "names and dots": "a.",
    "one long word": "a",
    "one long number": "7",
    "exponents": "1e-",
    "blanks": " ",
    "new lines": "\n",
    "colons": ":",
    "casts": "::a",
    "casts and blanks": "::   ",
    "placeholders": "%(a",
    "commas": ",",
    "rows": " values (1, 'x'), (2, f(3)), ",
    "rows that fail late": ", (1, 2, 3, x)",
    "elements that fail late": " in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10 + ",
    "columns": "select a.b AS c, d, ",
    "statements": "select 1;",
    "FROM": " from",
    "WITH": "with a as (",
    "names": " tables",
    "non-ASCII": "é",
    "NUL": "\x00",
}


def seconds(text, system, times=2):
    """CPU time of one reading, the best of some."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        read_text(text, system)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_four_times_the_length_takes_about_four_times_the_time(pattern, system):
    """No text makes the reader quadratic: sixteen times the time would say so."""
    short = "SELECT x FROM t WHERE y = 1 " + pattern * (READ_LIMIT // 8 // len(pattern))
    long = "SELECT x FROM t WHERE y = 1 " + pattern * (READ_LIMIT // 2 // len(pattern))
    # Once is enough for nearly all; where other programs made it slow, the better of two counts.
    for times in (1, 2):
        quick, slow = seconds(short, system, times), seconds(long, system, times)
        if slow < 0.01 or slow / quick < 10:
            return
    pytest.fail(f"{quick} s, and {slow} s for four times the length")


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_text_of_a_megabyte_costs_no_more_than_what_is_read_of_it(pattern):
    """What is read is capped, what is kept is capped, and the statement says that it is not whole."""
    text = "SELECT 'SECRET' FROM t WHERE y = 424242 " + pattern * (1_000_000 // len(pattern))
    began = time.process_time()
    statement = read(text, "postgresql")
    assert time.process_time() - began < 1.0
    assert len(statement.text) <= TEXT_LIMIT
    assert "SECRET" not in statement.text
    assert "424242" not in statement.text
    assert statement.truncated or pattern.isspace()  # blanks at the end are no part of a statement


def test_a_long_list_is_read_faster_than_its_elements():
    """Ten thousand bound values take a few milliseconds: lists and rows are read in one step."""
    values = ", ".join(["%s"] * 10_000)
    rows = ", ".join(["(%s, %s)"] * 5_000)
    listed = read_text(f"SELECT id FROM orders WHERE id IN ({values})", "postgresql")
    inserted = read_text(f"INSERT INTO orders (id, total) VALUES {rows}", "postgresql")
    assert (listed.text, listed.in_length) == ("SELECT id FROM orders WHERE id IN (%s)", 10_000)
    assert inserted.text == "INSERT INTO orders (id, total) VALUES (%s, %s)"
    word_by_word = seconds("SELECT " + "a b " * (len(values) // 4), "postgresql")
    assert seconds(f"SELECT id FROM orders WHERE id IN ({values})", "postgresql") < word_by_word
