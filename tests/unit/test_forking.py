"""A forked child of the tests ends with its work, and never goes on as a second run of them."""

import ast
import os
import signal
import time
from pathlib import Path

import pytest

import forking
from forking import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def test_what_the_work_gave_comes_back():
    """From another process, however long it is."""
    pid, text = in_child(lambda: (os.getpid(), "x" * 1_000_000))
    assert pid != os.getpid()
    assert text == "x" * 1_000_000


def test_work_that_raises_fails_the_test_with_its_traceback():
    """Whatever it raises: also what ends a test, or a process."""
    for raised in (ValueError("no luck"), KeyboardInterrupt("no luck"), SystemExit("no luck")):

        def work(raised=raised):
            raise raised

        with pytest.raises(AssertionError, match=r"(?s)the child ended with 1: .* in work\n.*no luck"):
            in_child(work)


def test_work_that_cannot_be_told_fails_the_test():
    """What pickle refuses is an error of the child's."""
    with pytest.raises(AssertionError, match="ended with 1: Traceback"):
        in_child(lambda: iter(lambda: 1, 2))


def test_work_that_hangs_is_ended_by_the_alarm_and_says_where(capfd):
    """The default of the signal is what ends it, whoever uses the signal in the parent."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with pytest.raises(AssertionError, match=f"ended with -{signal.SIGALRM:d}:"):
            in_child(lambda: time.sleep(600), seconds=0.1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert "in in_child" in capfd.readouterr().err


def test_work_that_the_alarm_does_not_end_is_killed(monkeypatch):
    """A blocked signal or a stopped process does not hold up the tests."""
    monkeypatch.setattr(forking, "GRACE", 0.1)
    with pytest.raises(AssertionError, match=f"ended with -{signal.SIGKILL:d}:"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGSTOP), seconds=0.1)


def test_a_child_that_ends_by_itself_has_failed():
    """Nothing was told."""
    with pytest.raises(AssertionError, match=r"ended with 7: $"):
        in_child(lambda: os._exit(7))


def test_nobody_else_forks_the_tests():
    """Programs that the tests run may."""
    tests = Path(forking.__file__).parent
    forks = [
        path.relative_to(tests).as_posix()
        for path in sorted(tests.rglob("*.py"))
        if b".fork" in path.read_bytes()  # to parse all of them takes seconds
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and node.attr == "fork"
    ]
    assert forks == ["e2e/snippets/run.py", "forking.py"]
