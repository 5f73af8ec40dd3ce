"""An outlet on a machine whose ports are the test's."""

import pytest

from dbsight.export import Outlet
from exporting import PATIENT, Ports, watchers


@pytest.fixture
def ports():
    """Nobody listens anywhere."""
    return Ports()


@pytest.fixture
def outlets(ports):
    """Makes outlets that look at ``ports`` only when the test says so; their watchers end with the test."""
    made = []

    def make(environ=None, *, kind=Outlet, interval=3600.0, probe=ports, **options):
        outlet = kind(environ or {}, probe=probe, interval=interval, **options)
        made.append(outlet)
        return outlet

    yield make
    for outlet in made:
        outlet.closing()
    for watcher in watchers():
        watcher.join(PATIENT)


@pytest.fixture
def outlet(outlets):
    """An outlet with nothing configured."""
    return outlets()
