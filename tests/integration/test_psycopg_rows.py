"""What psycopg's cursors are asked for by dbsight, below SQLAlchemy, on a real PostgreSQL."""

import psycopg
import pytest
import sqlalchemy as sa

STATEMENTS = (
    ("CREATE TABLE books (id int, title text)", None, None),
    ("INSERT INTO books VALUES (1, 'a'), (2, 'b')", None, 2),
    ("INSERT INTO books VALUES (3, 'c') RETURNING id", 1, None),
    ("SELECT id, title FROM books", 3, None),
    ("SELECT id FROM books WHERE id > 9", 0, None),
    ("SELECT FROM books", 3, None),
    ("UPDATE books SET title = 'd' WHERE id < 3", None, 2),
)
"""Statement, rows returned, rows affected."""


@pytest.fixture
def described(monkeypatch):
    """How often a cursor described columns."""
    columns = []
    made = psycopg.Column.__init__

    def init(column, cursor, index):
        columns.append(index)
        made(column, cursor, index)

    monkeypatch.setattr(psycopg.Column, "__init__", init)
    return columns


def test_rows_are_told_without_describing_the_columns_again(postgresql, make_telemetry, described):
    """SQLAlchemy describes the columns of a result once, which costs more than a small query; dbsight never does."""
    counts = []
    for instrument in (False, True):
        telemetry = make_telemetry(instrument=instrument)
        engine = sa.create_engine(postgresql.url("postgresql+psycopg"))
        with engine.connect() as connection:  # its setup asks for columns, too
            described.clear()
            with telemetry.root():
                for statement, _, _ in STATEMENTS:
                    connection.execute(sa.text(statement))
            counts.append(len(described))
        engine.dispose()
    assert counts[0] == counts[1] > 0
    spans = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    names = ("db.response.returned_rows", "dbsight.query.rows_affected")
    assert [tuple(span.attributes.get(name) for name in names) for span in spans] == [
        (rows, affected) for _, rows, affected in STATEMENTS
    ]
