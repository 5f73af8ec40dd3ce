"""A short run of the fuzz target, and of the second opinion that it asks."""

import random

import pytest

from fuzz.fuzz_statement import check, one_input, random_loop
from fuzz.reference import hidden_spans

HIDDEN = (
    (
        "postgresql",
        """a 'b''c' "d'e" $x$f$x$ E'g\\'h' -- i\n/* j /* k */ l */ m""",
        ("'b''c'", "$x$f$x$", "E'g\\'h'", "-- i", "/* j /* k */ l */"),
    ),
    ("mysql", """a 'b\\'c' "d" `e'f` # g\n5--1 /*! 'h' */ i""", ("'b\\'c'", '"d"', "# g", "'h'")),
    ("sqlite", "a [b'c] 'd\\' `e` /* f /* g */ h 'i", ("'d\\'", "/* f /* g */", "'i")),
    ("microsoft.sql_server", "a [b]]'c] N'd' /* e /* f */ g */ h", ("'d'", "/* e /* f */ g */")),
    ("oracle.db", "a q'[b'c]' nq'!d!' :q'e' f", ("q'[b'c]'", "nq'!d!'", "'e'")),
)


@pytest.mark.parametrize(("system", "text", "hidden"), HIDDEN, ids=[system for system, _, _ in HIDDEN])
def test_the_second_opinion_knows_quotes_and_comments(system, text, hidden):
    """The reference finds what the manuals say that there is."""
    assert tuple(text[start:end] for start, end in hidden_spans(text, system)) == hidden


def test_random_texts_show_no_value():
    """Two thousand soups of tokens, whole and cut, in every dialect, agree with the second opinion."""
    random_loop(2000, seed=20)


def test_random_bytes_show_no_value():
    """What atheris would hand over."""
    draw = random.Random(21)
    for _ in range(2000):
        one_input(draw.randbytes(draw.randrange(80)))


def test_a_value_that_is_shown_is_reported(monkeypatch):
    """The target would notice: a reader that hides nothing is caught."""
    from dbsight import model, statement

    monkeypatch.setattr(statement, "read", lambda text, system: model.Statement(system, text, "", "0" * 16))
    with pytest.raises(AssertionError, match="zq1z"):
        check("SELECT a FROM t WHERE b = 'zq1z'", "postgresql")
