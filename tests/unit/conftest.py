"""Fixtures of the unit tests."""

import contextlib

import hypothesis
import pytest

# How long an example takes says nothing: machines that run the tests are shared.
hypothesis.settings.register_profile("dbsight", deadline=None)
hypothesis.settings.load_profile("dbsight")


@pytest.fixture
def pipelines():
    """A span pipeline on a provider of its own, and the means to make others: ``pipelines.Pipelines``."""
    from pipelines import Pipelines

    with contextlib.closing(Pipelines()) as pipelines:
        pipelines.make()
        yield pipelines
