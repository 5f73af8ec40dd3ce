"""The tables that the benchmark reads: twenty, so that a request of twenty queries asks for nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

if TYPE_CHECKING:
    import sqlite3

TABLES = 20
ROWS = 50
PREFIX = "dbsight_bench_"


class Base(DeclarativeBase):
    """Registry of the benchmark's models."""

    type_annotation_map: ClassVar = {str: sa.String(255)}  # MariaDB wants a length


def _model(number: int) -> type[Base]:
    namespace: dict[str, Any] = {
        "__tablename__": f"{PREFIX}{number}",
        "__annotations__": {
            "id": Mapped[int],
            "name": Mapped[str],
            "email": Mapped[str],
            "price": Mapped[float],
            "stock": Mapped[int],
            "note": Mapped[str],
        },
        "__module__": __name__,
        "id": mapped_column(primary_key=True),
    }
    return type(f"Item{number}", (Base,), namespace)


MODELS = [_model(number) for number in range(TABLES)]

SELECTS = [sa.select(model.__table__).where(model.__table__.c.id == sa.bindparam("id")) for model in MODELS]
"""One Core statement a table: a row by primary key."""


def texts(mark: str) -> list[str]:
    """The same for bare drivers.

    Args:
        mark: The driver's placeholder.
    """
    columns = ", ".join(column.name for column in MODELS[0].__table__.columns)
    return [f"SELECT {columns} FROM {model.__tablename__} WHERE id = {mark}" for model in MODELS]


def conninfo(url: sa.URL) -> str:
    """The URL of a PostgreSQL as libpq takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def rows() -> list[dict[str, Any]]:
    """The rows of each table."""
    return [
        {"id": n, "name": f"name {n}", "email": f"{n}@example.com", "price": n / 4, "stock": n % 7, "note": "n" * 40}
        for n in range(1, ROWS + 1)
    ]


def fill_sqlite(connection: sqlite3.Connection) -> None:
    """Create and fill the tables through a bare sqlite3 connection.

    ``executescript`` alone: no instrumentation makes a span of it, so a database in memory can be filled after the
    instrumentation was switched on.
    """
    dialect = sa.create_engine("sqlite://").dialect
    script = []
    for model in MODELS:
        script.append(str(CreateTable(model.__table__).compile(dialect=dialect)))
        script.extend(
            f"INSERT INTO {model.__tablename__} VALUES ({', '.join(repr(value) for value in row.values())})"
            for row in rows()
        )
    connection.executescript(";\n".join(script))


def create(url: str) -> None:
    """Create and fill the tables in the database at ``url``; what a broken-off run left behind is replaced."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for model in MODELS:
            connection.execute(sa.insert(model), rows())
    engine.dispose()


def drop(url: str) -> None:
    """Drop the tables again."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    engine.dispose()
