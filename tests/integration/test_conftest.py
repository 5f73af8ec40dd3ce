"""What the tests' own conftest promises, shown on small test files in processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

NEEDS_REDIS = '''
def test_needs_a_server(redis_server):
    """Never runs."""
'''

SWALLOWS = '''
import signal
from pathlib import Path

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

def test_hears_the_keyboard():
    """As in the foreground."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
'''


FAILS_ONCE = '''
from pathlib import Path

def test_fails_once():
    """As on a machine that stopped it."""
    if not Path("tried").exists():
        Path("tried").touch()
        raise ValueError("no luck")

def test_comes_after():
    """Another one."""
'''

WAITS = '''
import threading

import pytest

@pytest.fixture(scope="session")
def server():
    """Does not stop."""
    yield
    threading.Event().wait()

def test_waits(server):
    """A thread has the lock for ever."""
    held, lock = threading.Event(), threading.Lock()

    def hold():
        with lock:
            held.set()
            threading.Event().wait()

    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    lock.acquire()

def test_comes_after():
    """Another one."""
'''

WAITS_ON = '''
import threading

def test_waits_whatever_is_raised():
    """Also the end of the test."""
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
'''

LASTS = '''
import time

def test_fails():
    """Before the end."""
    assert 1 == 2

def test_lasts():
    """Until the run is ended."""
    time.sleep(600)
'''


@pytest.fixture
def start_tests(tmp_path):
    """Starts a run of the text of a test file under our conftest; its output is in ``output.txt``."""
    started = []

    def start(text, *options, **env):
        file = tmp_path / "test_one.py"
        file.write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-c"]
        with (tmp_path / "output.txt").open("w") as output:
            process = subprocess.Popen(
                [*command, TESTS.parent / "pyproject.toml", "--rootdir", tmp_path, *options, file],
                env={**os.environ, "PYTHONPATH": str(TESTS), "COLUMNS": "400", **env},
                cwd=tmp_path,
                stdout=output,
                stderr=output,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(30)


@pytest.fixture
def run_tests(start_tests, tmp_path):
    """Runs the text of a test file under our conftest; gives exit code and output."""

    def run(text, *options, **env):
        code = start_tests(text, *options, **env).wait(100)
        return code, (tmp_path / "output.txt").read_text()

    return run


def test_tests_are_skipped_failed_and_interrupted_as_they_should(run_tests):
    """In one run, for each starts an interpreter.

    A server that cannot be had skips its tests, and tells the reason. An exception that the guard swallows fails the
    test, unless that is marked, and that test alone. A run in the background can be interrupted, although a shell has
    its background jobs ignore the keyboard, and they the programs that they start.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code, output = run_tests(NEEDS_REDIS + SWALLOWS, CI="", DBSIGHT_TEST_REDIS_URL="redis://127.0.0.1:1/0")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 1, output
    assert re.search(r"4 passed, 1 skipped, .*1 error in", output)
    assert "DBSIGHT_TEST_REDIS_URL names a server that cannot be used" in output
    assert "the guard swallowed exceptions in {'test_one.hook': 1}" in output
    assert "secret" not in output.split("short test summary info")[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_fails_is_told_at_once(run_tests, workers):
    """With the end of its failure, also when it is run again and then passes.

    Where every server must be had, a skip is a failure: a green run means that every server test ran.
    """
    options = ("--reruns=1", "--only-rerun=no luck", f"--numprocesses={workers}")
    code, output = run_tests(
        FAILS_ONCE + NEEDS_REDIS, *options, CI="true", DBSIGHT_TEST_REDIS_URL="redis://127.0.0.1:1/0"
    )
    assert code == 1, output
    assert "rerun in call: test_one.py::test_fails_once\n" in output
    assert "ValueError: no luck" in output
    assert re.search(r"= 2 passed, .*1 error, 1 rerun in", output)
    assert "a test that needs redis_process, redis_server may not be skipped" in output
    assert "DBSIGHT_TEST_REDIS_URL names a server that cannot be used" in output


def test_each_part_of_each_run_of_a_test_ends(run_tests):
    """What a lock or a server holds up is named, and the run goes on to its end."""
    code, output = run_tests(WAITS, "--timeout=3", "--reruns=1", "--numprocesses=1", "--dist=worksteal")
    assert code == 1, output
    assert output.count("rerun in call: test_one.py::test_waits\n") == 1
    assert output.count("failed in call: test_one.py::test_waits\n") == 1
    assert output.count(" in teardown: test_one.py::test_") == 1
    assert "FAILED test_one.py::test_waits - Failed: Timeout" in output
    assert "1 failed, " in output


def test_a_test_that_nothing_ends_is_ended_with_its_worker(run_tests):
    """It says where it was, and the run goes on without it."""
    code, output = run_tests(WAITS_ON, "--timeout=3", "--numprocesses=1", "-p", "no:rerunfailures")
    assert code == 1, output
    assert "in test_waits_whatever_is_raised" in output
    assert "crashed while running 'test_one.py::test_waits_whatever_is_raised'" in output


def test_a_run_that_is_ended_tells_what_it_knew(start_tests, tmp_path):
    """What failed, and what ran when the end came."""
    run = start_tests(LASTS, "--numprocesses=1", "--verbose")
    deadline = time.monotonic() + 60
    # What a worker begins is told by the worker, and written once that has arrived.
    while "test_one.py::test_lasts" not in (tmp_path / "output.txt").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.terminate()
    assert run.wait(60) == pytest.ExitCode.INTERRUPTED
    output = (tmp_path / "output.txt").read_text()
    assert "terminated; what ran: test_one.py::test_lasts" in output
    assert "FAILED test_one.py::test_fails" in output
    assert re.search(r"= 1 failed.* in", output)
