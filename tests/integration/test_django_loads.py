"""What Django loads and nobody reads, on SQLite and PostgreSQL: each fault is found, and its fix is silent."""

import pytest

import servers
from integration.test_django_orm import run as run_program

pytest.importorskip("django")

OTHERS = ("Books", "template")
"""Places of queries that no line of a view asks for."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def results(request, tmp_path_factory):
    """What ``django_shop/loads.py`` prints."""
    if request.param == "sqlite":
        return run_program(tmp_path_factory, "sqlite3", "shop.db", program="loads")
    with servers.fresh(request.getfixturevalue("postgresql_server")) as at:
        arguments = (at.name, at.host, str(at.port), at.user, at.password)
        return run_program(tmp_path_factory, "postgresql", *arguments, program="loads")


def test_each_fault_is_found_with_its_suggestion(results):
    """At its place, with what it costs; once."""
    assert len(results["faults"]) >= 14
    wrong = {}
    for name, case in results["faults"].items():
        found = [each for each in case["fault"] if each["rule"] == case["rule"]]
        if [each["suggestion"].partition("  #")[0] for each in found] != [case["suggestion"]]:
            wrong[name] = case["fault"]
        elif found[0]["impact"] <= 0 or found[0]["place"].rpartition(".")[2] not in {name, "<listcomp>", *OTHERS}:
            wrong[name] = found
    assert wrong == {}


def test_the_fix_makes_the_finding_go_away(results):
    """With the suggestion in place."""
    assert {name: case["fixed"] for name, case in results["faults"].items() if case["rule"] in str(case["fixed"])} == {}


def test_what_is_read_or_may_be_read_is_left_alone(results):
    """Nothing of the three rules."""
    assert len(results["left_alone"]) >= 14
    assert {name: found for name, found in results["left_alone"].items() if found} == {}


def test_models_behave_as_they_did(results):
    """Attributes that are missing, computed, or found by the application's own hooks; then the hook is gone."""
    assert results["behaviour"] == results["behaviour_without"]
    assert results["errors"] == {}
    assert (results["patched"], results["patched_after"]) == (True, False)
