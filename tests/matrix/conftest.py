"""Fixtures of the matrix: environments of other versions, programs that run in them, what arrived from them."""

import os

import pytest

from e2e import observed
from e2e.programs import filled
from matrix.environments import Environment, Missing


@pytest.fixture(scope="session")
def python_of():
    """The interpreter of an ``Environment``; a test is skipped where none can be had, and fails where all must be."""

    def build(*packages, **options):
        try:
            return str(Environment(tuple(packages), **options).build())
        except Missing as reason:
            if os.environ.get("CI") == "true" and "no Python" not in str(reason):
                pytest.fail(str(reason), pytrace=False)
            pytest.skip(str(reason))

    return build


@pytest.fixture(scope="session")
def observe(receiver_process, tmp_path_factory):
    """Runs a program in a directory of its own and keeps what arrived: ``observed.observe``."""

    def run(program, **options):
        options.setdefault("cwd", tmp_path_factory.mktemp("run"))
        return observed.observe(program, options.pop("receiver", receiver_process), **options)

    return run


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory):
    """A filled SQLite file that is only read."""
    return filled(f"sqlite:///{tmp_path_factory.mktemp('database') / 'shop.db'}")
