"""How the suites of other libraries are chosen and compared; ``make peers`` runs them."""

import pytest

from matrix.environments import tomllib
from peers.comparison import DIFFERENCES, Run, broken, compared, matches
from peers.suites import SUITES, selected


def test_a_test_that_fails_or_is_missing_with_dbsight_alone_is_broken():
    """What fails without dbsight, too, or was skipped, shows nothing."""
    plain = Run({"a": "passed", "b": "passed", "c": "failed", "d": "skipped", "e": "passed", "f": "passed"})
    watched = Run({"a": "passed", "b": "failed", "c": "failed", "d": "failed", "e": "skipped"})
    assert broken(plain, watched) == ["b", "e", "f"]
    assert compared(plain) == 4


def test_a_known_difference_names_tests_by_stars_alone():
    """Brackets and question marks are parts of node ids."""
    entry = {"test": "test/a.py::*::test_it[x?]"}
    assert matches(entry, "test/a.py::Case::test_it[x?]")
    assert not matches(entry, "test/a.py::Case::test_it[xy]")
    assert not matches(entry, "test/a.py::Case::test_it[x?] and more")


def test_each_known_difference_has_a_reason():
    """And the names of suites that exist."""
    for entry in tomllib.loads(DIFFERENCES.read_text(encoding="utf-8")).get("difference", []):
        assert entry["reason"]
        assert selected([name.rstrip("*") for name in entry["suites"]], ci=False)


def test_suites_have_names_of_their_own():
    """Results are kept by name."""
    names = [suite.name for suite in SUITES]
    assert len(set(names)) == len(names)


def test_a_name_selects_every_suite_that_begins_so():
    """And one that selects none is an error."""
    assert {suite.name for suite in selected(["redis-5"], ci=False)} == {"redis-5", "redis-5-asyncio"}
    with pytest.raises(LookupError, match="no suite nothing"):
        selected(["nothing"], ci=False)
