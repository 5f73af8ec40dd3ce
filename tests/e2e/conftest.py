"""Fixtures of the end-to-end tests."""

import functools

import pytest

from e2e import runner

collect_ignore = ["suites"]  # test_testing.py runs them


@pytest.fixture
def run_instrumented(tmp_path):
    """``runner.run_instrumented`` in a directory of its own."""
    return functools.partial(runner.run_instrumented, cwd=tmp_path)


@pytest.fixture
def run_bare(tmp_path):
    """``runner.run_instrumented`` with nothing in front of the program, in a directory of its own."""
    return functools.partial(runner.run_instrumented, cwd=tmp_path, prefix=())
