"""Every statement of the corpus gives its record, and loses its literals wherever it is cut."""

import pytest

from dbsight import safety
from dbsight.statement.cache import read
from dbsight.statement.reader import read_text
from unit.statement.corpus import CORPUS, Case

NAMES = [f"{place}-{case.system}-{case.summary[:30]}" for place, case in enumerate(CORPUS)]
MARKERS = ("SECRET", "424242")


def record(statement, query):
    """What a statement says, in the form of a case."""
    fields = {field: getattr(statement, field) for field in Case._fields if field not in ("query", "literals")}
    return Case(query=query, literals=statement.literals != 0, **fields)


def shown(statement):
    """Everything of a statement that may leave the process, and what names its tables."""
    fields = (statement.text, statement.summary, statement.targets, statement.written, sorted(statement.allowed))
    return f"{fields} {statement!r}"


@pytest.mark.parametrize("case", CORPUS, ids=NAMES)
def test_a_statement_gives_its_record(case):
    """Text, summary, kind, targets and traits are those that the corpus says, all of them."""
    assert record(read(case.query, case.system), case.query) == case


@pytest.mark.parametrize("case", CORPUS, ids=NAMES)
def test_a_statement_read_again_from_its_own_text_says_the_same(case):
    """Sanitised text is SQL of the same statement: reading it changes neither its summary nor its identity."""
    first = read_text(case.query, case.system)
    if case.truncated:
        return  # what is left of it is another statement
    second = read_text(first.text, case.system)
    assert (second.text, second.summary, second.kind, second.targets) == (
        first.text,
        first.summary,
        first.kind,
        first.targets,
    )


@pytest.mark.parametrize("case", CORPUS, ids=NAMES)
def test_a_statement_cut_anywhere_loses_its_literals(case):
    """No marker survives in any prefix of the text, nor in any prefix of its bytes."""
    prefixes = [case.query[:end] for end in range(len(case.query) + 1)]
    raw = case.query.encode()
    prefixes += [raw[:end] for end in range(len(raw) + 1)] if not case.query.isascii() else []
    for prefix in prefixes:
        said = shown(read(prefix, case.system))
        assert not [marker for marker in MARKERS if marker in said], prefix


@pytest.mark.parametrize("case", CORPUS, ids=NAMES)
def test_a_statement_cut_at_its_front_is_read_without_an_error(case):
    """A text that begins anywhere is no SQL, and is read all the same."""
    for start in range(len(case.query)):
        read(case.query[start:], case.system)
    assert safety.errors() == {}


@pytest.mark.parametrize("system", ["postgresql", "mysql", "sqlite", "microsoft.sql_server", "oracle.db", "other_sql"])
def test_every_dialect_reads_every_statement(system):
    """Statements of one dialect are read as those of another without an error, and the same twice."""
    for case in CORPUS:
        assert read_text(case.query, system).fingerprint == read_text(case.query, system).fingerprint
    assert safety.errors() == {}


def test_a_summary_is_cut_between_two_names():
    """255 characters at most, and no name is cut in two."""
    tables = [f"very_long_table_name_{number}" for number in range(50)]
    summary = read(f"SELECT * FROM {', '.join(tables)}", "postgresql").summary
    assert summary == " ".join(["SELECT", *tables[:10]])
    assert len(summary) == 236


def test_a_long_text_is_cut_and_says_so():
    """The sanitised text keeps 8,192 characters; the record is that of the whole statement."""
    columns = ", ".join(f"column_{number}" for number in range(2000))
    statement = read(f"SELECT {columns} FROM orders LIMIT 10", "postgresql")
    assert len(statement.text) == 8192
    assert statement.text.endswith(" …")
    assert (statement.summary, statement.limit, statement.truncated) == ("SELECT orders", 10, False)
