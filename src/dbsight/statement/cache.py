"""The cache in front of the reader: a text is read once."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from dbsight.model import Statement
from dbsight.safety import failed
from dbsight.statement.generations import Generations
from dbsight.statement.identity import fingerprint
from dbsight.statement.reader import LENGTH_LIMIT, read_text
from dbsight.statement.salt import SALT

CACHE_LIMIT: Final = 2_000
"""Texts that are remembered."""

KEY_LIMIT: Final = 16_384
"""Characters; a longer text is remembered by its hash, not kept."""

_statements: Generations[tuple[str, str | bytes], Statement] = Generations()


def read(text: str | bytes, system: str) -> Statement:
    """Look a query text up, and read it the first time.

    Two calls with the same text and system return the same object for as long as it is remembered.

    Args:
        text: The query as the driver got it. Bytes are taken for UTF-8.
        system: ``db.system.name``: ``postgresql``, ``mysql``, ``sqlite``, ``microsoft.sql_server``, ``oracle.db``,
            ``redis`` … Any other name is read as SQL of an unknown dialect.

    Returns:
        The statement. Never raises; of a text that cannot be read, nothing but a fingerprint is kept.
    """
    try:
        return _statements.recent[system, text]
    except Exception:  # KeyError as a rule; anything when the text is no text
        return _look_further(text, system)


def clear() -> None:
    """Forget every statement. The salt of the hashes stays."""
    _statements.clear()


def size() -> int:
    """How many statements are remembered."""
    return len(_statements)


def _look_further(text: object, system: str) -> Statement:
    """Look again, among the older statements and the long ones; then read."""
    try:
        key, start, longer = _key(text)
        found = _statements.find((system, key))
        statement = found if found is not None else _read(start, system, longer=longer)
        return _statements.keep((system, key), statement, CACHE_LIMIT)
    except Exception:
        failed("statement.read")
        return Statement(str(system), "", "", fingerprint("unreadable"), truncated=True)


def _key(text: object) -> tuple[str | bytes, str, bool]:
    """What a text is remembered by, as much of it as is read, and whether there is more.

    Raises:
        TypeError: It is no text.
    """
    if isinstance(text, str):
        key: str | bytes = text
        start, longer = text[:LENGTH_LIMIT], len(text) > LENGTH_LIMIT
    elif isinstance(text, (bytes, bytearray, memoryview)):
        # Four bytes are the longest that UTF-8 needs for a character.
        key = bytes(text[: LENGTH_LIMIT * 4])
        start = key.decode("utf-8", "replace")
        longer = len(text) > len(key) or len(start) > LENGTH_LIMIT
        start = start[:LENGTH_LIMIT]
    else:
        raise TypeError(type(text).__name__)
    if len(key) > KEY_LIMIT:
        # Texts that differ only behind what is read make the same statement.
        key = blake2b(start.encode("utf-8", "replace"), digest_size=16, salt=bytes([longer])).digest()
    return key, start, longer


def _read(text: str, system: str, *, longer: bool) -> Statement:
    try:
        return read_text(text, system, longer=longer)
    except Exception:
        failed("statement.read")
        # Salted: an unsalted hash of a text would let its literals be guessed.
        return Statement(system, "", "", fingerprint(f"{SALT}{text!a}"), truncated=True)
