"""What the tests' own conftest promises, shown on small test files in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

NEEDS_REDIS = '''
def test_needs_a_server(redis_server):
    """Never runs."""
'''

SWALLOWS = '''
import pytest
from dbsight import safety

@safety.guard
def hook():
    raise ValueError("secret")

def test_swallows():
    """The guard swallows."""
    hook()

@pytest.mark.swallows_errors
def test_swallows_on_purpose():
    """The guard swallows, and the test says so."""
    hook()
    assert len(safety.errors()) == 1

def test_begins_without_errors():
    """What came before is forgotten."""
    assert safety.errors() == {}
'''


@pytest.fixture
def run_tests(tmp_path):
    """Runs the text of a test file under our conftest; gives exit code and output."""

    def run(text, **env):
        file = tmp_path / "test_one.py"
        file.write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-c"]
        done = subprocess.run(
            [*command, TESTS.parent / "pyproject.toml", "--rootdir", tmp_path, file],
            env={**os.environ, "PYTHONPATH": str(TESTS), "COLUMNS": "400", **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_server_that_cannot_be_had_skips_its_tests(run_tests):
    """The reason is told; the run is green."""
    code, output = run_tests(NEEDS_REDIS, CI="", DBSIGHT_TEST_REDIS_URL="redis://127.0.0.1:1/0")
    assert code == 0, output
    assert "1 skipped" in output
    assert "DBSIGHT_TEST_REDIS_URL names a server that cannot be used" in output


def test_where_every_server_must_be_had_the_skip_is_a_failure(run_tests):
    """A green run of the whole suite means that every server test ran."""
    code, output = run_tests(NEEDS_REDIS, CI="true", DBSIGHT_TEST_REDIS_URL="redis://127.0.0.1:1/0")
    assert code == 1, output
    assert "a test that needs redis_process, redis_server may not be skipped" in output
    assert "DBSIGHT_TEST_REDIS_URL names a server that cannot be used" in output


def test_an_exception_that_the_guard_swallows_fails_the_test(run_tests):
    """Unless the test is marked, and for that test alone."""
    code, output = run_tests(SWALLOWS)
    assert code == 1, output
    assert "3 passed, 1 error" in output
    assert "the guard swallowed exceptions in {'test_one.hook': 1}" in output
    assert "secret" not in output.split("short test summary info")[1]
