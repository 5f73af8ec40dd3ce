"""Fixtures of the unit tests."""

import contextlib

import hypothesis
import pytest

from unit.examples import examples

hypothesis.settings.register_profile("dbsight", examples())
hypothesis.settings.load_profile("dbsight")


@pytest.fixture
def pipelines():
    """A span pipeline on a provider of its own, and the means to make others: ``pipelines.Pipelines``."""
    from pipelines import Pipelines

    with contextlib.closing(Pipelines()) as pipelines:
        pipelines.make()
        yield pipelines
