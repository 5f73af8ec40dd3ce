"""Which columns of a condition an index could search by."""

import pytest

from dbsight.plans.predicates import columns


@pytest.mark.parametrize(
    ("condition", "equal"),
    [
        ("((sku)::text = ?)", ("sku",)),
        ("((p.sku)::text = ?) AND (kind IS NULL)", ("sku", "kind")),
        ("(NOT (sold = ?)) AND (a = ?)", ("sold", "a")),
        ("length(name)=? and sku=?", ("sku",)),
        ("(p.sku = (o.sku)::text)", ("sku",)),
    ],
)
def test_a_column_that_is_compared_is_named(condition, equal):
    """Also as text, which an index on ``varchar`` serves."""
    assert columns(condition, {"p"}, sole=True).equal == equal


@pytest.mark.parametrize(
    "condition",
    [
        "(((sku)::text || ?::text) = ?)",
        "((? || (sku)::text) = ?)",
        "(a + b) = ?",
        "((a % b) = ?)",
        "(? = (p.a + ?))",
        "(? = (p.a)::bigint + ?)",
        "((data ->> ?::text) = ?)",
        "(lower((sku)::text) = ?)",
        "(upper(TRIM(BOTH FROM sku)) = ?)",
        "(date_trunc(?::text, (made)::timestamp with time zone) = ?)",
        "(COALESCE((sku)::text, ?::text) = ?)",
    ],
)
def test_a_part_of_an_expression_is_not_named(condition):
    """An index on the column does not serve what is computed from it, and the name of a type is no column."""
    assert columns(condition, {"p"}, sole=True).indexed == ()
