"""The pytest plug-in and the runners, on suites that some tests of fail as they should: ``tests/e2e/suites``."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

SUITES = Path(__file__).parent / "suites"


def run(directory, *arguments, **environment):
    """A command of this interpreter's; gives what it printed and its exit code."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        # In continuous integration pytest repeats whole messages in its own summary.
        env={**os.environ, "CI": "", "PYTHONPATH": str(directory), "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr, done.returncode


def pytest_of(directory, *arguments, **environment):
    """As ``run``, of pytest."""
    return run(directory, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", *arguments, **environment)


def outcomes(printed):
    """The tests by outcome."""
    found = {}
    for outcome, name in re.findall(r"(?m)^(PASSED|FAILED|ERROR) \S+::(\w+)", printed):
        found.setdefault(outcome, set()).add(name)
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The suite of a shop, copied: it writes snapshots."""
    directory = tmp_path_factory.mktemp("suites") / "shop"
    shutil.copytree(SUITES / "shop", directory)
    (directory / "pytest.ini").write_text("[pytest]\n")
    return directory


@pytest.fixture(scope="module")
def watched(shop):
    """What the plug-in says of it, in two processes."""
    return pytest_of(
        shop, "--dbsight", "--dbsight-update", "-n", "2", "--junitxml=junit.xml", "--dbsight-sarif=found.sarif"
    )


FAILING = {"test_over_budget_fails", "test_over_time_fails", "test_found_fails", "test_miscounted_fails"}


def test_what_a_marker_or_the_fixture_expects_fails_where_it_is_not_so(watched):
    """And nothing else does."""
    printed, code = watched
    found = outcomes(printed)
    assert (found["FAILED"], code) == (FAILING, 1)
    assert len(found["PASSED"]) == 11


def test_a_failure_names_the_queries_their_line_and_the_fix(watched):
    """Grouped, and ready to be pasted."""
    printed, _ = watched
    assert "11 queries ran, at most 5 may run (max_queries)" in printed
    assert "10 × SELECT customers  at shop.py:31 in names" in printed
    assert "fix  select(Order).options(joinedload(Order.customer))" in printed
    assert "at most 1us may be spent (max_time)" in printed
    assert "2 queries ran, 1 was expected" in printed


def test_the_summary_has_each_finding_once(watched):
    """With the tests that show it."""
    printed, _ = watched
    summary = printed[printed.index(" dbsight ===") :]
    assert summary.count("Order.customer is loaded one row at a time") == 1
    assert re.search(r"in test_shop\.py::test_\w+ and 2 more tests", summary)
    assert "1 finding" in summary
    assert "row_by_row_write" not in printed


def test_each_call_of_a_test_is_looked_at_by_itself(watched):
    """Six customers that six calls load are no N+1, nor are ten questions of the test itself redundant."""
    printed, _ = watched
    assert "in name\n" not in printed
    assert "count(*)" not in printed.partition("most queries")[2]


def test_other_tools_read_the_results(watched, shop):
    """JUnit's properties and SARIF."""
    case = next(each for each in ET.parse(shop / "junit.xml").iter("testcase") if each.get("name") == "test_loop")
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties["dbsight.queries"] == "11"
    assert properties["dbsight.finding"] == "n_plus_one shop.py:31"
    (result,) = json.loads((shop / "found.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], place["artifactLocation"]["uri"]) == ("n_plus_one", "shop.py")
    assert place["region"]["startLine"] == 31


def test_set_up_of_a_test_case_is_not_the_test(watched, shop):
    """One query each, though ``setUp`` sends dozens."""
    tests = ET.parse(shop / "junit.xml").iter("testcase")
    counts = {
        each.get("name"): [prop.get("value") for prop in each.iter("property") if prop.get("name") == "dbsight.queries"]
        for each in tests
    }
    assert (counts["test_one"], counts["test_other"]) == (["1"], ["1"])


def test_a_snapshot_that_differs_is_a_diff(watched, shop):
    """And without one, the message says how to make it."""
    (file,) = (shop / "__queries__" / "test_shop").iterdir()
    assert file.name == "test_snapshot-names.txt"
    (line,) = file.read_text().splitlines()
    assert line.startswith("1 x SELECT orders.id")
    printed, code = pytest_of(shop, "-k", "test_snapshot")
    assert code == 0
    source = shop / "test_shop.py"
    changed = source.read_text().replace("time.time() < 0", "time.time() > 0")
    (shop / "test_changed.py").write_text(changed)
    shutil.copytree(shop / "__queries__" / "test_shop", shop / "__queries__" / "test_changed")
    printed, code = pytest_of(shop, "test_changed.py", "-k", "test_snapshot")
    (shop / "test_changed.py").unlink()
    assert code == 1
    assert re.search(r"(?m)^E +\+10 x SELECT customers\.id", printed)
    assert re.search(r"(?m)^E +-1 x SELECT orders\.id", printed)
    assert "run pytest --dbsight-update to accept it" in printed
    assert "dbsight ===" not in printed  # without the option there is no summary


def test_a_baseline_keeps_old_findings_quiet(watched, shop):
    """What is new fails."""
    told = ["--dbsight-fail-on=warning", "--dbsight-baseline=known.json", "-k", "test_loop or test_joined"]
    printed, code = pytest_of(shop, *told)
    assert (outcomes(printed)["FAILED"], code) == ({"test_loop"}, 1)
    printed, _ = pytest_of(shop, *told, "--dbsight-update")
    assert re.search(r"1 findings? written to \S*known\.json", printed)
    printed, code = pytest_of(shop, *told, GITHUB_ACTIONS="true")
    assert code == 0, printed
    assert "no findings" in printed
    assert "::warning" not in printed
    (shop / "broken.json").write_text("{}")
    printed, code = pytest_of(shop, "--dbsight", "--dbsight-baseline=broken.json")
    assert code == 4
    assert "broken.json: the file is not a dbsight baseline" in printed


def test_findings_stand_beside_the_lines_of_a_pull_request(shop):
    """In GitHub Actions' notation."""
    printed, _ = pytest_of(shop, "--dbsight", "-k", "test_loop", GITHUB_ACTIONS="true")
    title = r"dbsight%3A Order\.customer is loaded one row at a time"
    assert re.search(rf"(?m)^::warning file=shop\.py,line=31,title={title}::10 queries", printed)


def test_a_mistake_in_an_option_or_marker_is_one_sentence(shop, tmp_path):
    """Which names what is accepted."""
    printed, code = pytest_of(shop, "--dbsight-fail-on=nonsense:much")
    assert code == 4
    assert "fail_on is a list such as n_plus_one:error,budget or error, not 'nonsense:much'" in printed
    (tmp_path / "test_marked.py").write_text(
        "import pytest\n@pytest.mark.dbsight(most_queries=1)\ndef test_it():\n    pass\n"
    )
    printed, code = pytest_of(tmp_path)
    assert code != 0
    assert "dbsight(max_queries, max_time, fail_on, allow)" in printed


def test_without_the_option_nothing_of_dbsight_is_imported(tmp_path):
    """But the plug-in itself, which pytest loads."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    ours = sorted(name for name in sys.modules if name.split('.')[0] == 'dbsight')\n"
        "    assert ours == ['dbsight', 'dbsight.pytest_plugin']\n"
    )
    printed, code = pytest_of(tmp_path)
    assert code == 0, printed


def test_with_the_option_the_sdk_is_not_imported(tmp_path):
    """Tests are watched without them, and a short suite would pay for what it does not use."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert 'dbsight.testing.watch' in sys.modules\n"
        "    unused = ('opentelemetry.sdk', 'dbsight.analyzer', 'dbsight.serve', 'dbsight.profiler')\n"
        "    assert [name for name in unused if name in sys.modules] == []\n"
    )
    printed, code = pytest_of(tmp_path, "--dbsight")
    assert code == 0, printed


def test_pytest_rewrites_and_keeps_no_module_of_dbsight(tmp_path):
    """It would any of a plug-in, and read them more slowly; afterwards modules are found as before."""
    (tmp_path / "conftest.py").write_text(
        "import atexit, sys\natexit.register(lambda: print('finders', sys.meta_path))\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "from importlib.machinery import SourceFileLoader\n"
        "import dbsight.report\n"
        "def test_it():\n"
        "    loaders = {type(module.__spec__.loader) for name, module in sys.modules.items()\n"
        "               if name.startswith('dbsight.') and name != 'dbsight.pytest_plugin'}\n"
        "    assert loaders == {SourceFileLoader}\n"
    )
    printed, code = pytest_of(tmp_path, "--dbsight")
    assert code == 0, printed
    assert "finders [" in printed
    assert "_AsWritten" not in printed


def test_each_request_is_looked_at_by_itself(tmp_path):
    """As in production, by a test client or a live server: ten requests with a query each are no loop."""
    for file in (SUITES / "web" / "test_web.py", SUITES / "shop" / "shop.py"):
        shutil.copy(file, tmp_path)
    printed, _ = pytest_of(tmp_path)
    assert outcomes(printed) == {
        "PASSED": {
            "test_ten_requests_are_no_loop",
            "test_ten_requests_are_no_loop_without_a_thread",
            "test_ten_requests_to_a_live_server_are_no_loop",
            "test_ten_requests_to_a_live_wsgi_server_are_no_loop",
        },
        "FAILED": {"test_a_request_with_a_loop_fails", "test_a_request_with_a_loop_to_a_live_server_fails"},
    }


def test_what_users_of_other_plugins_complained_of_is_otherwise(tmp_path):
    """Loops are found however they load, and what tests do for themselves is no finding."""
    for file in (*(SUITES / "reports").glob("*.py"), SUITES / "shop" / "shop.py"):
        shutil.copy(file, tmp_path)
    printed, code = pytest_of(tmp_path, "--dbsight-fail-on=warning")
    found = outcomes(printed)
    assert (found["FAILED"], code) == (
        {"test_a_loop_without_a_relationship_fails", "test_eager_loading_of_each_object_fails"},
        1,
    )
    assert "26 passed" in printed.splitlines()[-1]
    assert "in by_number" in printed
    assert "in loaded_one_by_one" in printed
    assert "factories.py" not in printed.partition("= dbsight =")[2]


SHARED = """
import sqlite3

import pytest

connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE books (title)")
connection.execute("INSERT INTO books VALUES ('one')")


@pytest.fixture
def shared():
    return connection
"""

FROZEN = """
import pytest
from freezegun import freeze_time


@freeze_time("2012-01-14")
@pytest.mark.dbsight(max_queries=1)
def test_decorated(shared):
    assert len(shared.execute("SELECT title FROM books").fetchall()) == 1


def test_a_transaction(shared):
    shared.commit()
    shared.execute("INSERT INTO books VALUES ('two')")
    with freeze_time("2082-01-14"):
        shared.execute("SELECT title FROM books").fetchall()
        shared.commit()
"""


def test_a_connection_of_the_conftest_is_watched_by_a_clock_that_runs(tmp_path):
    """From before it is made, without workers, too; while the clock of a test stands still, a query takes its time."""
    pytest.importorskip("freezegun")
    (tmp_path / "conftest.py").write_text(SHARED)
    (tmp_path / "test_frozen.py").write_text(FROZEN)
    printed, code = pytest_of(tmp_path, "--dbsight")
    assert code == 0, printed
    assert "3 queries in 2 tests" in printed
    assert not re.search(r"\s0 s\s", printed), printed


def test_unittest_has_a_runner(shop):
    """With the same summary."""
    command = ["-m", "dbsight.testing", "-q", "test_shop.TestUnit", "test_shop.TestUnitAsync"]
    printed, code = run(shop, *command)
    assert code == 0, printed
    assert "2 queries in 2 tests" in printed
    assert "no findings" in printed


def test_django_has_a_runner(tmp_path):
    """With the same summary."""
    pytest.importorskip("django")
    shutil.copytree(SUITES / "djangosite", tmp_path / "site")
    printed, code = run(tmp_path / "site", "-m", "django", "test", "--settings=settings", "-v0")
    assert code == 0, printed
    assert re.search(r"(?m)^dbsight\n\d+ quer(y|ies) in 1 test", printed)
