"""A query that waits in the database without working, as for a disk: SQLite runs in this process, and has none."""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Float, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_SECONDS: Final = 0.03
"""Below the limit of a slow query that ``make demo`` sets."""


class Pause(FunctionElement[float]):
    """Waits for 30 ms, once per query."""

    type = Float()
    inherit_cache = True


@compiles(Pause)
def _as_own_function(*_: Any, **__: Any) -> str:
    return f"pause({_SECONDS})"  # of SQLite, where ``provide_pause`` defines it


@compiles(Pause, "postgresql")
def _as_pg_sleep(*_: Any, **__: Any) -> str:
    return f"CASE WHEN pg_sleep({_SECONDS}) IS NULL THEN 1.0 ELSE 0.0 END"


@compiles(Pause, "mysql", "mariadb")
def _as_sleep(*_: Any, **__: Any) -> str:
    return f"SLEEP({_SECONDS})"


def provide_pause(engine: Any) -> None:
    """Define the function on each connection of an engine, where the database is SQLite."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _define)


def _define(connection: Any, _: Any) -> None:
    connection.create_function("pause", 1, time.sleep)
