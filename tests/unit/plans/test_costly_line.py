"""The step of a plan that costs most is marked in its tree."""

import pytest

from builders import make_statement
from dbsight.model import Plan, PlanNode
from dbsight.plans.rendering import as_tree, costly_line


def plan(*children, **root):
    """A plan whose root joins its children."""
    return Plan(make_statement(), PlanNode("JOIN", "nested_loop", children=list(children), **root))


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (
            plan(
                PlanNode("SCAN", "seq_scan", "a", time=0.1, loops=1, filter="x = 1"),
                PlanNode("SEARCH", "index_scan", "b", time=0.01, loops=80, cost=1),
                time=1.0,
                cost=10,
            ),
            "SEARCH",
        ),
        (plan(PlanNode("SCAN", "seq_scan", "a", cost=90), PlanNode("SEARCH", cost=5), cost=100), "SCAN"),
        (plan(PlanNode("SEARCH", "index_scan", "b"), PlanNode("SORT", "sort"), PlanNode("SCAN", "seq_scan")), "SCAN"),
    ],
    ids=["by time and loops", "by cost", "by kind"],
)
def test_the_costly_line_is_a_line_of_the_tree(made, line):
    """Whatever the database reports: times, costs, or only what it does."""
    assert line in as_tree(made).splitlines()[costly_line(made)]


def test_no_line_is_marked_where_all_steps_use_an_index():
    """SQLite reports neither times nor costs; nothing there tells one search from another."""
    assert costly_line(plan(PlanNode("SEARCH", "index_scan", "a"), PlanNode("SEARCH", "index_scan", "b"))) == -1
