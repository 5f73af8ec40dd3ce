"""Django above a driver: its queries are the driver's; what it sends as it connects is none of them."""

import pytest

from dbsight.instrument import django as instrument
from driver_clients import SQLite


@pytest.fixture
def wrapper(connect):
    """Django's connection to a database in memory, not open yet, while sqlite3 is watched."""
    pytest.importorskip("django")
    from django.db.backends.sqlite3.base import DatabaseWrapper

    client = connect(SQLite)
    settings = {
        "NAME": ":memory:",
        "TIME_ZONE": None,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "AUTOCOMMIT": True,
        "OPTIONS": {},
        "ATOMIC_REQUESTS": False,
        "ENGINE": "django.db.backends.sqlite3",
        "USER": "",
        "PASSWORD": "",
        "HOST": "",
        "PORT": "",
        "TEST": {},
    }
    wrapper = DatabaseWrapper(settings)
    yield client.telemetry, wrapper
    wrapper.close()


def test_what_django_sends_as_it_connects_is_no_query(wrapper):
    """The first request that needs the connection has its own query alone."""
    telemetry, connection = wrapper
    telemetry.clear()
    with telemetry.root():
        connection.connect()
        with connection.connection as raw:
            raw.execute("CREATE TABLE shelves (id INTEGER)")
    assert [span.name for span in telemetry.spans() if span.kind == "CLIENT"] == ["CREATE TABLE shelves"]


def test_django_is_followed_as_long_as_a_driver_is_watched(wrapper):
    """And is as it was afterwards."""
    import django.db.backends.base.base

    method = django.db.backends.base.base.BaseDatabaseWrapper.connect
    assert instrument._users
    assert method.__code__.co_filename.startswith("<dbsight generated")
