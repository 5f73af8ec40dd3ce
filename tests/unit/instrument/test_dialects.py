"""Where an engine's statements run, read from whatever stands for its URL."""

from types import SimpleNamespace

import pytest

from dbsight.instrument.dialects import database_of


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "other"])
@pytest.mark.parametrize("database", [object(), 3, b"shop"])
def test_a_database_without_a_text_for_a_name_has_none(name, database):
    """As stand-ins for URLs have it in the tests of SQLAlchemy itself."""
    url = SimpleNamespace(database=database, host=object(), port=object(), query={})
    known = database_of(SimpleNamespace(name=name), url)
    assert known.namespace in {None, ":memory:"}
    assert known.address is None
    assert known.port is None
