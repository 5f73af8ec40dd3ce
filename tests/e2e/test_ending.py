"""The end of a process: FAIL_ON and the report as a file, in real processes."""

import json

import pytest

# No endpoint is set: a collector that another test has there would get what these programs send.
pytestmark = pytest.mark.usefixtures("default_ports")

PROGRAM = """
import sys
from sqlalchemy import create_engine, text
engine = create_engine("sqlite://")
with engine.connect() as connection:
    connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"))
    for number in range(30):
        connection.execute(text("SELECT name FROM things WHERE id = :n"), {"n": number}).all()
print("done")
"""

SETTINGS = {"OTEL_DBSIGHT_REPORT": "off", "OTEL_DBSIGHT_FAIL_ON": "n_plus_one:info"}


def test_a_finding_of_fail_on_makes_a_process_fail_that_succeeded(run_instrumented):
    """Exit code 3, output complete, the reason on stderr."""
    run = run_instrumented(PROGRAM, env=SETTINGS)
    assert (run.returncode, run.stdout) == (3, "done\n")
    assert run.stderr.splitlines()[-1].startswith("dbsight: exit code 3, for n_plus_one")


def test_a_function_over_its_budget_makes_a_process_fail(run_instrumented):
    """The same exit code; one that keeps to it does not."""
    budget = PROGRAM.replace("with engine", 'with __import__("dbsight").budget(max_queries=MOST, name="all"), engine')
    settings = {"OTEL_DBSIGHT_REPORT": "off", "OTEL_DBSIGHT_FAIL_ON": "budget"}
    over = run_instrumented(budget.replace("MOST", "20"), env=settings)
    assert (over.returncode, over.stdout) == (3, "done\n")
    assert over.stderr.splitlines()[-1].startswith("dbsight: exit code 3, for budget_exceeded")
    within = run_instrumented(budget.replace("MOST", "50"), env=settings)
    assert (within.returncode, within.stderr) == (0, "")


@pytest.mark.parametrize(
    ("ending", "code"), [("sys.exit(7)", 7), ("raise ValueError('own')", 1), ("sys.exit('words')", 1)]
)
def test_a_process_that_failed_by_itself_keeps_its_own_code(run_instrumented, ending, code):
    """sys.exit with a code, and an uncaught exception."""
    run = run_instrumented(f"{PROGRAM}\n{ending}\n", env=SETTINGS)
    assert (run.returncode, run.stdout) == (code, "done\n")
    assert "exit code 3" not in run.stderr


def test_one_that_is_set_too_late_says_so(run_instrumented):
    """In code under the command: the SDK was set up without it, and would not be flushed any more."""
    late = "import dbsight\ndbsight.configure(fail_on='n_plus_one:info')\n"
    run = run_instrumented(late + PROGRAM, env={"OTEL_DBSIGHT_REPORT": "off"})
    assert (run.returncode, run.stdout) == (0, "done\n")
    assert run.stderr.startswith("dbsight: fail_on has no effect, because")
    assert len(run.stderr.splitlines()) == 1


def test_without_such_a_finding_nothing_changes(run_instrumented):
    """A clean process ends with 0, and says nothing."""
    run = run_instrumented("print('done')", env=SETTINGS)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


def test_the_report_is_written_to_its_file(run_instrumented, tmp_path):
    """As JSON, where it was asked for."""
    env = {"OTEL_DBSIGHT_REPORT": "json", "OTEL_DBSIGHT_REPORT_FILE": "run.json", "OTEL_SERVICE_NAME": "loop"}
    run = run_instrumented(PROGRAM, env=env)
    assert (run.returncode, run.stderr) == (0, "")
    saved = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (saved["service"], [found["rule"] for found in saved["findings"]]) == ("loop", ["n_plus_one"])


def test_a_report_that_cannot_be_written_is_one_warning(run_instrumented):
    """The application's exit code and output are its own."""
    env = {"OTEL_DBSIGHT_REPORT": "json", "OTEL_DBSIGHT_REPORT_FILE": "/nowhere/run.json"}
    run = run_instrumented(PROGRAM, env=env)
    assert (run.returncode, run.stdout) == (0, "done\n")
    assert [line for line in run.stderr.splitlines() if line] == [
        "dbsight: cannot write the report to /nowhere/run.json: No such file or directory"
    ]
