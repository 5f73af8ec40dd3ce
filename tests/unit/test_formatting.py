"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbsight.formatting import count, counted, mean, seconds


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0 s"),
        (-1.0, "0 s"),
        (float("nan"), "0 s"),
        (4e-7, "0.40 µs"),
        (2.5e-6, "2.50 µs"),
        (0.0009994, "999 µs"),
        (0.0009996, "1.00 ms"),
        (0.0029, "2.90 ms"),
        (0.011, "11.0 ms"),
        (0.612, "612 ms"),
        (0.9996, "1.00 s"),
        (5.02, "5.02 s"),
        (59.94, "59.9 s"),
        (59.96, "1.00 min"),
        (60.349, "1.01 min"),
        (599.6, "9.99 min"),
        (599.9, "10.0 min"),
        (90.0, "1.50 min"),
        (74_400.0, "1 240 min"),
    ],
)
def test_a_time_has_three_digits_and_a_unit(value, written):
    """Rounded first, so that no time reads as a thousand of its unit."""
    assert seconds(value) == written


@pytest.mark.parametrize(("value", "written"), [(5.0, "5 s"), (0.5, "500 ms"), (1.25, "1.25 s"), (90.0, "1.5 min")])
def test_a_limit_has_no_zeros_at_its_end(value, written):
    """What somebody set is written as it was set."""
    assert seconds(value, exact=True) == written


@given(st.one_of(st.floats(1e-6, 1e6), st.floats(59.0, 700.0)))
def test_a_time_is_off_by_less_than_its_last_digit(value):
    """Reading it back gives the value within half a percent."""
    number, unit = seconds(value, gap="|").split("|")
    scale = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}[unit]
    assert float(number.replace(" ", "")) * scale == pytest.approx(value, rel=0.00501)


def test_thousands_stand_apart():
    """With spaces, whichever the locale."""
    assert [count(value) for value in (0, 999, 1486, 1_234_567)] == ["0", "999", "1 486", "1 234 567"]


def test_one_thing_is_not_plural():
    """A word with an s, or the plural that is given."""
    assert [counted(value, "query", "queries") for value in (1, 1486)] == ["1 query", "1 486 queries"]
    assert [counted(value, "request") for value in (0, 1)] == ["0 requests", "1 request"]


@pytest.mark.parametrize(
    ("total", "number", "written"),
    [(0, 0, "0"), (200, 200, "1"), (7, 1, "7"), (3, 2, "1.5"), (1001, 10, "100"), (25_000, 2, "12 500")],
)
def test_a_mean_is_whole_where_a_decimal_says_nothing(total, number, written):
    """Rows for one execution: 1, 1.5, 12 500."""
    assert mean(total, number) == written
