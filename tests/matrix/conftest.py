"""Fixtures of the matrix: environments of other versions, programs that run in them, what arrived from them."""

import os
from pathlib import Path

import pytest

from matrix.environments import Environment, Missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Building an environment takes minutes where the registry is slow."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(900))


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
