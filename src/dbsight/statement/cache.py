"""The cache in front of the reader: a text is read once."""

from __future__ import annotations

import os
import threading
from hashlib import blake2b
from typing import Final

from dbsight.model import Statement
from dbsight.safety import failed
from dbsight.statement.identity import fingerprint
from dbsight.statement.reader import LENGTH_LIMIT, read_text
from dbsight.statement.salt import SALT

CACHE_LIMIT: Final = 2_000
"""Texts that are remembered."""

KEY_LIMIT: Final = 16_384
"""Characters; a longer text is remembered by its hash, not kept."""

# Two generations: what is asked for moves into the recent one; when that is full, it becomes the older one and what was
# the older one is forgotten. A hit takes no lock, and nothing is ever sorted.
_recent: dict[tuple[str, str | bytes], Statement] = {}
_older: dict[tuple[str, str | bytes], Statement] = {}
_lock = threading.Lock()


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
        return _recent[system, text]
    except Exception:  # KeyError as a rule; anything when the text is no text
        return _look_further(text, system)


def clear() -> None:
    """Forget every statement. The salt of the hashes stays."""
    global _recent, _older  # noqa: PLW0603 - the cache is this module
    with _lock:
        _recent = {}
        _older = {}


def size() -> int:
    """How many statements are remembered."""
    return len(_recent) + len(_older)


def _look_further(text: object, system: str) -> Statement:
    """Look again, among the older statements and the long ones; then read."""
    try:
        key, start, longer = _key(text)
        statement = _recent.get((system, key))
        return statement or _remember((system, key), _older.get((system, key)) or _read(start, system, longer=longer))
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


def _remember(key: tuple[str, str | bytes], statement: Statement) -> Statement:
    global _recent, _older  # noqa: PLW0603 - the cache is this module
    with _lock:
        # Another thread may have been faster: all get the same object.
        statement = _recent.get(key) or _older.get(key) or statement
        if len(_recent) >= CACHE_LIMIT // 2:
            _older = _recent
            _recent = {}
        _recent[key] = statement
    return statement


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the cache is this module
    _lock = threading.Lock()  # another thread of the parent may have held it
    clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
