"""What is a walk through pages, by the values of each page, and what only looks like one."""

import pytest

from unit.detect.loops import judge, loop, severities

BY_OFFSET = "SELECT id FROM orders WHERE tenant = ? ORDER BY id LIMIT ? OFFSET ?"
BY_KEY = "SELECT id FROM orders WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?"
BY_KEY_LITERAL = "SELECT id FROM orders WHERE tenant = ? AND id > ? ORDER BY id LIMIT 3"
BY_NAMES = "SELECT id FROM orders WHERE tenant = %(t)s AND id < %(last)s ORDER BY id DESC LIMIT %(size)s"
BY_TWO = "SELECT id FROM orders WHERE a > ? OR (a = ? AND id > ?) ORDER BY a, id LIMIT ?"
INTEGER = 1 << 90


def pages(text, *values, rows=3, last=1):
    """One execution for each tuple of values: positive integers keep their distance, others are only told apart."""
    operations = loop(len(values), text)
    for operation, row in zip(operations, values, strict=True):
        pairs = row.items() if isinstance(row, dict) else enumerate(row)
        operation.values = {key: value + INTEGER if value > 0 else -value for key, value in pairs}
        operation.rows = rows
    operations[-1].rows = last
    return operations


@pytest.mark.parametrize(
    "operations",
    [
        pages(BY_OFFSET, *[(7, 3, 1 + 3 * page) for page in range(9)]),
        pages(BY_OFFSET, *[(7, 3, 1 + 3 * page) for page in range(9)], rows=2),
        pages(BY_OFFSET, *[(7, 3, 1 + 3 * page) for page in range(9)], rows=None, last=None),
        pages(BY_KEY, *[(7, 1 + 5 * page, 3) for page in range(9)]),
        pages(BY_KEY, *[(7, -1 - page, 3) for page in range(9)]),
        pages(BY_KEY_LITERAL, *[(7, 1 + 5 * page) for page in range(9)]),
        pages(BY_NAMES, *[{"size": 3, "t": 7, "last": 900 - 4 * page} for page in range(9)]),
        pages(BY_TWO, *[(-page, -page, 1 + 3 * page, 3) for page in range(1, 9)]),
        pages(BY_OFFSET, *[(7, 3, 1 + 3 * page) for page in range(5)] * 2, last=3),
    ],
    ids=["offset", "half full", "unknown rows", "key", "text", "literal size", "names", "two keys", "twice"],
)
def test_leaves_alone_one_walk_through_a_listing(operations):
    """All other parameters are the same, and each page starts where the one before ended."""
    assert judge(operations) == []


@pytest.mark.parametrize(
    "operations",
    [
        pages(BY_OFFSET, *[(tenant, 3, 1) for tenant in range(1, 10)]),
        pages(BY_OFFSET, *[(tenant, 3, 1 + 3 * page) for tenant in range(1, 6) for page in range(3)]),
        pages(BY_KEY, *[(tenant, 1, 3) for tenant in range(1, 10)], last=3),
        pages(BY_OFFSET, *[(7, 3, 1 + page) for page in range(9)], last=3),
        pages(BY_KEY, *[(7, 1 + page, 3) for page in range(9)], last=3),
        pages(BY_KEY_LITERAL, *[(7, 1 + page) for page in range(9)], last=3),
        pages(BY_OFFSET, *[(7, 3, 1 + 3 * page) for page in range(3)] * 6, last=3),
    ],
    ids=["first of each", "all of each", "key of each", "by one", "own key", "own key, literal", "again and again"],
)
def test_detects_pages_of_each_parent_and_windows_that_overlap(operations):
    """Another parameter changes, the window moves by less than a page, or the walk is itself repeated."""
    assert severities(operations) == ["warning"]


def test_detects_a_window_that_starts_at_each_row_of_a_list():
    """The query before gave as many rows, and their keys are far apart."""
    listed, *_ = loop(1, "SELECT id FROM orders WHERE placed = ?", at=0.0, first=99)
    listed.rows = 9
    walk = pages(BY_KEY, *[(7, 1 + 100 * page, 3) for page in range(9)], last=3)
    assert severities([listed, *walk]) == ["warning"]
    assert judge(walk) == []


def test_leaves_alone_the_lists_of_keys_that_belong_to_pages():
    """Once after each page; more often, they are a loop."""
    walk = pages(BY_KEY, *[(7, 1 + 5 * page, 3) for page in range(9)])
    lists = loop(9, "SELECT id FROM lines WHERE order_id IN (?, ?, ?)", at=0.012, rows=5)
    again = loop(9, "SELECT id FROM lines WHERE order_id IN (?, ?, ?)", at=0.0125, rows=5, first=100)
    assert judge([*walk, *lists]) == []
    assert severities([*walk, *lists, *again]) == ["warning"]
