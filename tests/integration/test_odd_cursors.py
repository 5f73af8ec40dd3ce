"""A driver whose cursors and exceptions raise when they are asked: the query ran all the same."""

import sqlite3

import pytest
from sqlalchemy import create_engine, exc, text

from dbsight import safety, semconv

pytestmark = pytest.mark.swallows_errors


class OddError(sqlite3.OperationalError):
    """An exception whose properties raise."""

    @property
    def sqlstate(self):
        raise RuntimeError("unknown")


class OddCursor(sqlite3.Cursor):
    """Raises the first time that it is asked after each statement, which is when dbsight asks."""

    raises = ""

    def execute(self, statement, *parameters):
        if "nothing" in statement:
            raise OddError("no such table")
        done = super().execute(statement, *parameters)
        self.raises = type(self).raises
        return done

    def __getattribute__(self, name):
        if name in {"description", "rowcount"} and name == super().__getattribute__("raises"):
            self.raises = ""
            raise RuntimeError(name)
        return super().__getattribute__(name)


class OddConnection(sqlite3.Connection):
    """Gives such cursors."""

    def cursor(self, factory=OddCursor):
        return super().cursor(factory)


@pytest.fixture
def engine(telemetry):
    """On such a driver, with a table."""
    engine = create_engine("sqlite://", connect_args={"factory": OddConnection})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    telemetry.clear()
    return engine


@pytest.mark.parametrize(
    ("raises", "statement"),
    [
        pytest.param("description", "SELECT id FROM orders", id="description"),
        pytest.param("rowcount", "INSERT INTO orders VALUES (1)", id="rowcount"),
    ],
)
def test_a_query_whose_cursor_raises_has_its_span_and_its_totals(engine, telemetry, monkeypatch, raises, statement):
    """The driver has returned; what cannot be known is missing, and nothing else."""
    monkeypatch.setattr(OddCursor, "raises", raises)
    with telemetry.root(), engine.begin() as connection:
        connection.execute(text(statement))
    query, root = telemetry.spans()
    assert (query.kind, query.attributes["db.query.text"].split()[0]) == ("CLIENT", statement.split()[0])
    assert root.attributes[semconv.DB_CALLS] == 1
    assert list(safety.errors().values()) == [1]


def test_an_error_whose_properties_raise_has_its_class(engine, telemetry):
    """It has no code then."""
    with telemetry.root(), engine.connect() as connection, pytest.raises(exc.OperationalError):
        connection.execute(text("SELECT * FROM nothing"))
    query, root = telemetry.spans()
    assert query.attributes["error.type"].endswith("OddError")
    assert "db.response.status_code" not in query.attributes
    assert root.attributes[semconv.DB_CALLS] == 1
