"""Quantiles in a fixed amount of memory."""

from math import ceil, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbsight.monitor.quantiles import BUCKETS, HIGHEST, LOWEST, RELATIVE_ERROR, bucket, empty, quantiles

durations = st.lists(st.floats(LOWEST * 1.001, HIGHEST * 0.999), min_size=1, max_size=300)
parts = st.floats(0.01, 1.0)


def filled(values):
    """Buckets that count the values."""
    buckets = empty()
    for value in values:
        buckets[bucket(value)] += 1
    return buckets


def exact(values, part):
    """The smallest value that at least ``part`` of all do not exceed."""
    return sorted(values)[ceil(part * len(values)) - 1]


@given(durations, parts)
def test_an_estimate_is_within_the_relative_error(values, part):
    """Whatever was counted, a quantile is at most 5 % off."""
    (estimate,) = quantiles(filled(values), max(values), part)
    truth = exact(values, part)
    assert abs(estimate - truth) <= truth * RELATIVE_ERROR * (1 + 1e-9)


@given(durations, durations, parts)
def test_merged_counts_answer_as_if_counted_together(first, second, part):
    """Adding the counts of two histograms loses nothing."""
    merged = empty()
    for index, counts in enumerate(zip(filled(first), filled(second), strict=True)):
        merged[index] = sum(counts)
    together = first + second
    assert quantiles(merged, max(together), part) == quantiles(filled(together), max(together), part)


@pytest.mark.parametrize("count", [1, 2, 19])
def test_a_p95_of_few_values_is_the_longest_one_exactly(count):
    """Below 20 values the p95 is the maximum, which is known."""
    values = [0.1 + index for index in range(count)]
    assert quantiles(filled(values), max(values), 0.95) == (max(values),)


@pytest.mark.parametrize(
    ("value", "index"),
    [(nan, 0), (-1.0, 0), (0.0, 0), (LOWEST, 0), (HIGHEST, BUCKETS - 1), (1e9, BUCKETS - 1), (inf, BUCKETS - 1)],
)
def test_values_outside_the_range_are_counted_at_its_ends(value, index):
    """No duration, however odd, fails to be counted."""
    assert bucket(value) == index


def test_beyond_the_range_the_longest_duration_answers():
    """Where there is no error bound, the estimate errs towards the maximum."""
    values = [2 * HIGHEST] * 10 + [3 * HIGHEST] * 10
    assert quantiles(filled(values), max(values), 0.5) == (3 * HIGHEST,)


def test_nothing_counted_answers_zero():
    """An empty histogram has no quantiles, and says so with zeros."""
    assert quantiles(empty(), 0.0, 0.5, 0.95) == (0.0, 0.0)


def test_buckets_take_a_fixed_amount_of_memory():
    """Under 2 kB, whatever is counted."""
    assert empty().itemsize * len(filled([LOWEST * 1.001, HIGHEST * 0.999, 1.0] * 1000)) < 2000
