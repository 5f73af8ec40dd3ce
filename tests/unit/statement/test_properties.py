"""What holds for every statement: no literal survives, and the fingerprint follows the query alone."""

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from dbsight import safety
from dbsight.statement.cache import read
from dbsight.statement.identity import SUMMARY_LIMIT
from dbsight.statement.reader import read_text
from dbsight.statement.sql.reader import TEXT_LIMIT
from unit.examples import examples
from unit.statement.grown import LIST, MARK, NUMBER, SHAPES, SYSTEMS, VALUE, written

GROWN = examples(80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def shown(statement):
    """Everything of a statement that may leave the process, and what names its tables."""
    return f"{statement.text} {statement.summary} {statement.targets} {statement.written} {statement.allowed}"


@GROWN
@given(st.data(), SYSTEMS, SHAPES)
def test_no_literal_of_a_grown_statement_survives(data, system, shape):
    """Strings, numbers and comments are gone, also when the statement was cut anywhere."""
    query = data.draw(written(shape, system))
    cut = query[: data.draw(st.integers(0, len(query)))]
    for text in (query, cut, cut.encode(), query.encode()[: len(cut)]):
        said = shown(read_text(text, system) if isinstance(text, str) else read(text, system))
        assert MARK not in said, text
        assert NUMBER not in said, text


@GROWN
@given(st.data(), SYSTEMS, SHAPES)
def test_a_query_keeps_its_fingerprint_however_it_is_written(data, system, shape):
    """Other values, bound or inlined, other comments, white space, case and list lengths: one query."""
    first, second = data.draw(written(shape, system)), data.draw(written(shape, system))
    assert read_text(first, system).fingerprint == read_text(second, system).fingerprint, (first, second)


@GROWN
@given(st.data(), SYSTEMS, SHAPES)
def test_another_query_has_another_fingerprint(data, system, shape):
    """One more column, another table or another predicate is another query."""
    names = [place for place, part in enumerate(shape) if isinstance(part, str) and part not in (VALUE, LIST)]
    place = data.draw(st.sampled_from(names))
    other = list(shape)
    if shape[place][0].isalpha() and shape[place] == shape[place].lower():
        other[place] = f"{shape[place]}_2"  # a table or a column
    elif shape[place] in ("AND", "OR", "JOIN", "LEFT JOIN", "=", "<", ">=", "<>", "LIKE"):
        other[place] = {"AND": "OR", "OR": "AND", "JOIN": "LEFT JOIN", "LEFT JOIN": "JOIN"}.get(shape[place], "!=")
    else:
        other += ["RETURNING", "id"]
    first, second = data.draw(written(shape, system)), data.draw(written(other, system))
    assert read_text(first, system).fingerprint != read_text(second, system).fingerprint, (first, second)


@GROWN
@given(st.text(max_size=300), SYSTEMS)
def test_any_text_is_read_without_an_error(text, system):
    """Whatever is no SQL gives a statement all the same, within its bounds, that any exporter can encode."""
    statement = read(text, system)
    assert safety.errors() == {}
    assert len(statement.text) <= TEXT_LIMIT
    assert len(statement.summary) <= SUMMARY_LIMIT
    assert len(statement.fingerprint) == 16
    shown(statement).encode()


@GROWN
@given(st.binary(max_size=300), SYSTEMS)
def test_any_bytes_are_read_without_an_error(raw, system):
    """Bytes that are no UTF-8 are read like any other text."""
    statement = read(raw, system)
    assert safety.errors() == {}
    shown(statement).encode()
