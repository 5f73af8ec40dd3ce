"""Each wording of SQLite's plans, of versions before and after 3.36."""

import pytest

from dbsight.plans.sqlite import read


@pytest.mark.parametrize(
    ("detail", "kind", "table", "index"),
    [
        ("SCAN orders", "seq_scan", "orders", None),
        ("SCAN TABLE orders AS o", "seq_scan", "orders", None),
        ("SCAN orders USING COVERING INDEX ix", "index_scan", "orders", "ix"),
        ("SEARCH orders USING INDEX ix (a=? AND b>?)", "index_scan", "orders", "ix"),
        ("SEARCH TABLE orders AS o USING INDEX ix (a=?)", "index_scan", "orders", "ix"),
        ("SEARCH orders USING INTEGER PRIMARY KEY (rowid=?)", "index_scan", "orders", "INTEGER PRIMARY KEY"),
        ("SEARCH orders USING PRIMARY KEY (a=?)", "index_scan", "orders", "PRIMARY KEY"),
        ("SEARCH o USING AUTOMATIC COVERING INDEX (a=?)", "automatic_index", "o", None),
        ("SEARCH o USING AUTOMATIC PARTIAL COVERING INDEX (a=?) LEFT-JOIN", "automatic_index", "o", None),
        ("SCAN docs VIRTUAL TABLE INDEX 0:M1", "index_scan", "docs", None),
        ("USE TEMP B-TREE FOR ORDER BY", "sort", None, None),
        ("USE TEMP B-TREE FOR LAST TERM OF ORDER BY", "sort", None, None),
        ("USE TEMP B-TREE FOR DISTINCT", "temp_table", None, None),
        ("UNION USING TEMP B-TREE", "temp_table", None, None),
        ("MATERIALIZE recent", "temp_table", None, None),
        ("SCAN CONSTANT ROW", "other", None, None),
        ("CO-ROUTINE recent", "other", None, None),
        ("SCALAR SUBQUERY 1", "other", None, None),
        ("MULTI-INDEX OR", "other", None, None),
        ("something that a later version says", "other", None, None),
    ],
)
def test_a_step_is_understood(detail, kind, table, index):
    """Its kind, table and index; what is not known is a step of its own."""
    node = read([(2, 0, 0, detail)])
    assert (node.kind, node.table, node.index) == (kind, table, index)


def test_tables_that_are_read_inside_each_other_are_a_nested_loop():
    """SQLite lists them side by side."""
    root = read(
        [
            (4, 0, 0, "SCAN o"),
            (6, 0, 0, "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)"),
            (20, 0, 0, "USE TEMP B-TREE FOR ORDER BY"),
        ],
        {"o": "orders", "c": "customers"},
    )
    loop, sort = root.children
    assert (loop.kind, sort.kind) == ("nested_loop", "sort")
    assert [(node.table, node.alias) for node in loop.children] == [("orders", "o"), ("customers", "c")]
