"""Fixtures of the end-to-end tests."""

import functools

import pytest

from e2e import observed, runner
from e2e.programs import filled


@pytest.fixture
def run_instrumented(tmp_path):
    """``runner.run_instrumented`` in a directory of its own."""
    return functools.partial(runner.run_instrumented, cwd=tmp_path)


@pytest.fixture
def run_bare(tmp_path):
    """``runner.run_instrumented`` with nothing in front of the program, in a directory of its own."""
    return functools.partial(runner.run_instrumented, cwd=tmp_path, prefix=())


@pytest.fixture(scope="session")
def observe(receiver_process, tmp_path_factory):
    """Runs a program under ``opentelemetry-instrument`` and keeps what arrived: ``observed.observe``.

    Each run has a directory of its own unless it is given one. For fixtures that several tests share.
    """

    def run(program, **options):
        options.setdefault("cwd", tmp_path_factory.mktemp("run"))
        return observed.observe(program, options.pop("receiver", receiver_process), **options)

    return run


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory):
    """A filled SQLite file that is only read."""
    return filled(f"sqlite:///{tmp_path_factory.mktemp('database') / 'shop.db'}")
