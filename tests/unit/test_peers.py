"""How the suites of other libraries are chosen and compared; ``make peers`` runs them."""

import pytest

from matrix.environments import Environment, tomllib
from peers import findings, run
from peers.applications import reviewed
from peers.comparison import DIFFERENCES, Run, broken, compared, kept, matches
from peers.plugged import PLUGGED
from peers.suite import Suite
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


@pytest.mark.parametrize("table", [SUITES, PLUGGED], ids=["distribution", "plugin"])
def test_suites_have_names_of_their_own(table):
    """Results are kept by name."""
    names = [suite.name for suite in table]
    assert len(set(names)) == len(names)


def test_each_finding_of_the_plugin_was_judged():
    """With a reason, in a suite that is run."""
    assert reviewed.applications(findings.FILE) <= {suite.name for suite in PLUGGED}
    for suite in reviewed.applications(findings.FILE):
        for place, review in reviewed.reviews(suite, findings.FILE).items():
            assert review.reason, place
            assert review.severity <= {"warning", "error"}


def test_a_finding_of_the_plugin_that_nobody_judged_is_told():
    """Once, with the table to fill in; what is below warning is not."""
    found = {
        "rule": "n_plus_one",
        "severity": "warning",
        "file": "shop.py",
        "function": "names",
        "query": "SELECT customers",
        "description": "10 queries",
        "tests": ["test_shop.py::test_loop"],
    }
    (told,) = findings.differences("none", [found, found, {**found, "severity": "info", "function": "other"}])
    assert 'place = "shop.py:names"' in told
    assert 'test = "test_shop.py::test_loop"' in told


def test_a_name_selects_every_suite_that_begins_so():
    """And one that selects none is an error."""
    assert {suite.name for suite in selected(["redis-5"], ci=False)} == {"redis-5", "redis-5-asyncio"}
    with pytest.raises(LookupError, match="no suite nothing"):
        selected(["nothing"], ci=False)


@pytest.mark.parametrize(
    ("watched", "again", "plain_again", "is_broken"),
    [
        ("failed", "failed", "passed", True),
        ("failed", "passed", "passed", False),
        ("failed", "failed", "failed", False),
    ],
)
def test_a_test_that_fails_by_chance_is_told_but_is_no_failure(
    monkeypatch, tmp_path, watched, again, plain_again, is_broken
):
    """Only what fails twice with dbsight, and passes twice without it, is its fault; each run is of the whole suite."""
    outcomes = {"": ["passed", plain_again], "http://sink": [watched, again]}
    ran = []

    def run_once(suite, python, chosen, *, endpoint, seconds, plugin=False):
        ran.append(chosen)
        return Run({"test_a": "passed", "test_b": outcomes[endpoint].pop(0)})

    monkeypatch.setattr(run, "run_once", run_once)
    monkeypatch.setattr(run, "compiled", lambda python: python)
    monkeypatch.setattr(Environment, "build", lambda _: tmp_path / "bin" / "python")
    verdict = run.judge(Suite("some", "some", "1.0", calls=False), endpoint="http://sink", full=False, again=False)
    assert (verdict.bad, list(verdict.broken)) == (is_broken, ["test_b"] if is_broken else [])
    assert list(verdict.unsteady) == ([] if is_broken else ["test_b"])
    assert set(ran) == {("tests",)}


def test_a_run_without_dbsight_is_kept_with_its_environment(tmp_path):
    """Once for what was run, until it is asked for again or the environment is gone."""
    ran = []

    def once():
        ran.append(1)
        return {"results": {"test_a": "passed"}, "number": len(ran)}

    python = tmp_path / "bin" / "python"
    numbers = [kept(python, described, once)["number"] for described in ("suite", "suite", "other", "suite")]
    assert numbers == [1, 1, 2, 1]
    assert kept(python, "suite", once, again=True)["number"] == 3
    assert kept(tmp_path / "another" / "bin" / "python", "suite", once)["number"] == 4


def test_a_suite_with_a_program_of_its_own_needs_no_pytest():
    """Django's; others get pytest, once."""
    requirements = {suite.name: suite.requirements for suite in SUITES}
    assert not [each for each in requirements["django-4.2-sqlite"] if each.startswith("pytest")]
    assert requirements["psycopg2"] == ("psycopg2==2.9.13", "pytest")
    assert "pytest" not in requirements["aiomysql"]
