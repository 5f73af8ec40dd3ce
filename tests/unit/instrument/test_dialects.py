"""Where an engine's statements run, read from whatever stands for its URL."""

from types import SimpleNamespace
from unittest import mock

import pytest

from dbsight.instrument.dialects import buffers_rows, database_of, instrumentor_of
from dbsight.instrument.pools.drivers import runs_query


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "other"])
@pytest.mark.parametrize("database", [object(), 3, b"shop"])
def test_a_database_without_a_text_for_a_name_has_none(name, database):
    """As stand-ins for URLs have it in the tests of SQLAlchemy itself."""
    url = SimpleNamespace(database=database, host=object(), port=object(), query={})
    known = database_of(SimpleNamespace(name=name), url)
    assert known.namespace in {None, ":memory:"}
    assert known.address is None
    assert known.port is None


def test_a_dialect_need_not_name_its_driver():
    """SQLAlchemy's default dialect does not."""
    assert instrumentor_of(object()) == ("", "")
    assert not buffers_rows(object())


def test_a_stand_in_for_a_connection_runs_no_query():
    """The guard has nothing to swallow."""
    assert runs_query(mock.Mock()) is False
