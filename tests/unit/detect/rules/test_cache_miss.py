"""Caches that miss too often, and a cache of compiled statements that only fills."""

import pytest

from dbsight.config import Settings
from dbsight.detect.rules.cache_miss import CacheMiss
from dbsight.model import CacheTotals, Snapshot


@pytest.mark.parametrize(
    ("cache", "stores", "found"),
    [
        ("sqlalchemy.compiled", 51, False),  # a program of 51 statements has started
        ("sqlalchemy.compiled", 900, True),  # more than are kept: texts that never repeat
        ("profiles", 51, True),
    ],
)
def test_statements_that_are_compiled_for_the_first_time_are_no_misses(cache, stores, found):
    """As long as fewer were compiled than are kept, a better ratio cannot be had."""
    totals = CacheTotals(cache, hits=stores, misses=stores + 20, stores=stores)
    told = CacheMiss(Settings()).examine(Snapshot(caches=(totals,)))
    assert [each.rule for each in told] == ["cache_miss"] * found
