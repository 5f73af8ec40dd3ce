"""Django's ORM: each fault is found with its relation, line and fix, and the fix makes it go away."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import servers
from embedded import environment

pytest.importorskip("django")


def run(tmp_path_factory, *arguments, python=sys.executable, program="program"):
    """What ``django_shop/program.py`` prints, or another program there."""
    done = subprocess.run(
        [python, "-m", f"integration.django_shop.{program}", *arguments],
        env={**environment(), "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=tmp_path_factory.mktemp("django"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory):
    """On a file."""
    return run(tmp_path_factory, "sqlite3", "shop.db")


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory, postgresql_server):
    """On psycopg."""
    with servers.fresh(postgresql_server) as at:
        return run(tmp_path_factory, "postgresql", at.name, at.host, str(at.port), at.user, at.password)


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def printed(request):
    """All of it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def results(printed):
    """By the name of the case."""
    return printed["cases"]


def test_each_fault_is_found_with_its_relation_and_fix(results):
    """Of 46, and nothing beside what is expected."""
    faults = {name: case for name, case in results.items() if case["expected"]}
    assert len(faults) >= 40
    wrong = {}
    for name, case in faults.items():
        found = [[each["rule"], each["relationship"], each["suggestion"]] for each in case["fault"]["findings"]]
        others = {each[1] or "write" for each in found if each != case["expected"]}
        if case["expected"] not in found or others != set(case["also"]):
            wrong[name] = (case["expected"], found)
    assert wrong == {}


def test_the_line_is_that_of_the_application(results):
    """Of the view, the model's method, the serializer, or the template."""
    for name, case in results.items():
        for found in case["fault"]["findings"]:
            file, line = case["place"] or ("cases.py", None)
            assert found["file"] == file or case["also"], name
            assert line in {None, found["line"]} or case["also"], name
            assert found["line"], name


def test_the_fix_makes_the_finding_go_away(results):
    """The suggestion was evaluated as it stands, or with what it leaves open filled in."""
    assert {
        name: case["fixed"]["findings"] for name, case in results.items() if case.get("fixed", {}).get("findings")
    } == {}


def test_what_is_no_fault_is_left_alone(results):
    """Pages, iterators, prefetches, a session and its user."""
    alone = {name: case["fault"]["findings"] for name, case in results.items() if not case["expected"]}
    assert len(alone) >= 6
    assert {name: found for name, found in alone.items() if found} == {}


def test_there_is_one_span_for_each_statement(results):
    """Whatever lies above the driver."""
    queries = results["foreign key"]["fault"]["queries"]
    assert len(queries) == 13
    assert results["foreign key"]["debug"]["queries"] == queries
    assert len(results["foreign key"]["fixed"]["queries"]) == 1


def test_objects_are_counted_by_model(printed):
    """Rows that become objects: of a list, of a raw query, and those that ``delete()`` looks at first; and writes."""
    assert printed["objects"] == {"loads": 16, "inserts": 3, "updates": 1, "deletes": 3}


def test_a_pickled_queryset_of_a_relation_needs_nothing_of_dbsight(printed):
    """It may be read by another program."""
    assert printed["pickled"]
    assert not [name for name in printed["pickled"] if name.startswith("dbsight")]


def test_what_cannot_be_joined_is_told_by_django(printed):
    """Its own error, in its own words, and nothing of dbsight fails on the way."""
    assert set(printed["mistakes"]) == {"title", "nothing", "author__name", "content_object"}
    assert all(said.startswith(("Non-relational", "Invalid field")) for said in printed["mistakes"].values())
    assert printed["swallowed"] == {}


def test_threads_go_on_while_instrumentation_is_switched(printed):
    """Whatever method of a manager, a descriptor or a compiler they are in."""
    assert printed["switched"] == []
    assert printed["swallowed"] == {}
