"""Fixtures of the matrix: environments of other versions, programs that run in them, what arrived from them."""

import os

import pytest

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
