"""From one text to one Statement: SQL, commands of Redis, and what is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.statement.non_sql import COMMANDS, DOCUMENTS, read_command, read_document
from dbsight.statement.redis.text import SYSTEMS, read_redis_text
from dbsight.statement.spelling import unwrap
from dbsight.statement.sql.reader import read_sql

if TYPE_CHECKING:
    from dbsight.model import Statement

LENGTH_LIMIT: Final = 4_194_304
"""Characters of a text that are looked at, lists included."""


def read_text(text: str, system: str, *, longer: bool = False) -> Statement:
    """Read one text.

    Args:
        text: The query, at most ``LENGTH_LIMIT`` characters.
        system: ``db.system.name``; one that is not known is read as the union of all dialects of SQL.
        longer: Whether the query goes on behind the text.

    Returns:
        The statement. Its text holds no literal.
    """
    text, cut = unwrap(text)
    statement: Statement
    if system in SYSTEMS:
        statement = read_redis_text(f"{text}…" if cut else text, system)  # a key that was cut is no key
    elif system in COMMANDS:
        statement = read_command(text, system)
    elif system in DOCUMENTS:
        statement = read_document(text, system)
    else:
        return read_sql(text, system, longer=longer or cut)
    statement.truncated = statement.truncated or longer or cut
    return statement
