"""What rules share about a closed window."""

from dbsight.detect.facts import facts_of
from dbsight.detect.severity import is_negligible, matters
from unit.detect.loops import SELECT_CUSTOMER, loop, make_window, one


def test_facts_are_derived_once_for_all_rules():
    """Operations by start, groups by query; another window has others."""
    late, early = one("SELECT 2 FROM a", at=0.9), one("SELECT 1 FROM a, b", at=0.0)
    window = make_window([late, *loop(3), early])
    facts = facts_of(window)
    assert facts is facts_of(window)
    assert facts.history is facts_of(window).history
    assert facts.operations[0] is early
    assert [len(group) for group in facts.by_query.values()] == [1, 3, 1]
    assert facts_of(make_window([early])).by_query == {}


def test_fetches_of_a_cursor_count_once():
    """The first executes the statement; another cursor has other parameters, or another parent."""
    fetches = loop(5, SELECT_CUSTOMER, cursor=True)
    for fetch, parameters in zip(fetches, (1, 1, 1, 2, 2), strict=True):
        fetch.parameters = parameters
    assert facts_of(make_window(fetches)).operations == [fetches[0], fetches[3]]


def test_what_matters_and_what_does_not():
    """100 ms, or a fifth; under 20 executions, 25 ms and 0.5 %."""
    assert [matters(0.1, 0.0), matters(0.02, 0.1), matters(0.019, 0.1), matters(0.01, 0.0)] == [
        True,
        True,
        False,
        False,
    ]
    assert [is_negligible(19, 0.004, 1.0), is_negligible(20, 0.004, 1.0), is_negligible(19, 0.006, 1.0)] == [
        True,
        False,
        False,
    ]
