"""Django above a driver: its queries are the driver's; what it sends as it connects is none of them."""

import gc
import sqlite3

import pytest

from dbsight import config, scope
from dbsight.instrument import django as instrument
from dbsight.instrument.pools import registry
from driver_clients import SQLite


def settings_of(name):
    """As Django completes them."""
    return {
        "NAME": name,
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


@pytest.fixture
def open_file(connect, tmp_path):
    """Makes Django's connections to a file, not open yet, while sqlite3 is watched."""
    pytest.importorskip("django")
    from django.db.backends.sqlite3.base import DatabaseWrapper

    connect(SQLite)

    def make(path="shop.db"):
        return DatabaseWrapper(settings_of(str(tmp_path / path)))

    return make


@pytest.fixture
def wrapper(connect):
    """Django's connection to a database in memory, not open yet, while sqlite3 is watched."""
    pytest.importorskip("django")
    from django.db.backends.sqlite3.base import DatabaseWrapper

    client = connect(SQLite)
    wrapper = DatabaseWrapper(settings_of(":memory:"))
    yield client.telemetry, wrapper
    wrapper.close()


def counts():
    """Of the one pool of Django: connections in use, idle, made, and closed by reason."""
    (state,) = [state for state in registry.snapshots("django", gone=True) if state.created]
    return state.used, state.idle, state.created, dict(state.closed_by)


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


def test_a_connection_is_counted_while_it_is_open(open_file):
    """In use from when it is opened; closed by the end of a request, by the application, or because it broke."""
    connection = open_file()
    connection.connect()
    assert counts() == (1, 0, 1, {})
    connection.close_if_unusable_or_obsolete()
    assert counts() == (0, 0, 1, {"unpooled": 1})
    connection.connect()
    connection.close_at = None
    connection.close()
    connection.close()  # again
    connection.connect()
    connection.errors_occurred = True
    connection.close()
    assert counts() == (0, 0, 3, {"unpooled": 1, "dispose": 1, "invalid": 1})


def test_a_connection_that_a_thread_left_behind_is_gone(open_file):
    """Nobody closes it: its wrapper belonged to the thread."""
    connection = open_file()
    connection.connect()
    connection.connection = None
    del connection
    gc.collect()
    assert counts() == (0, 0, 1, {"collected": 1})


def test_a_connection_that_cannot_be_opened_leaves_nothing_behind(open_file):
    """The error is the driver's; what follows is no set-up."""
    with pytest.raises(sqlite3.OperationalError):
        open_file("missing/shop.db").connect()
    assert scope.connecting.get() == ""
    (state,) = registry.snapshots("django")
    assert (state.used, state.pending, state.created) == (0, 0, 0)


def test_a_database_in_memory_has_no_connections_to_keep(wrapper):
    """It is gone with its connection."""
    wrapper[1].connect()
    assert registry.snapshots("django") == []


def test_django_is_left_alone_where_it_is_disabled(monkeypatch):
    """By its own name; drivers are watched all the same."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "dbsight_django")
    config.reset()
    import django.db.backends.base.base

    user = object()
    instrument.follow(user)
    try:
        method = django.db.backends.base.base.BaseDatabaseWrapper.connect
        assert not method.__code__.co_filename.startswith("<dbsight generated")
    finally:
        instrument.unfollow(user)
