"""Texts that are no SQL: commands of memcached and JSON of document stores."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from dbsight.model import Statement
from dbsight.model.deferred import pattern

COMMANDS: Final = frozenset(("memcached",))
DOCUMENTS: Final = frozenset(
    ("elasticsearch", "opensearch", "mongodb", "couchdb", "aws.dynamodb", "dynamodb", "geode", "hbase")
)

_OPERATION = pattern(r"\s*([A-Za-z][A-Za-z0-9_.]{0,31})(?=\s|\Z)(\s+\S)?")
# A key stays, every value goes; a string that is not closed is taken to the end.
_KEY_OR_VALUE = pattern(
    r"""((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?=\s*:))"""
    r"""|"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|(?:[^\s\[\]{}:,"']+)""",
    re.DOTALL,
)
_KEEP = 8_192  # characters


def read_command(text: str, system: str) -> Statement:
    """The first word is the operation; everything after it is hidden."""
    found = _OPERATION.match(text)
    if found is None:
        return _statement(system, "?" if text.strip() else "", "")
    operation = found[1]
    return _statement(system, f"{operation} ?" if found[2] else operation, operation)


def read_document(text: str, system: str) -> Statement:
    """JSON keeps its keys and loses its values; anything else is read as a command."""
    if not text.lstrip().startswith(("{", "[")):
        return read_command(text, system)
    return _statement(system, hide_values(text), "")


def hide_values(text: str) -> str:
    """JSON, or the literal of a Python dictionary, with ``?`` for each value; keys and nesting stay."""
    hidden = _KEY_OR_VALUE.sub(lambda found: found[1] or "?", text[: 4 * _KEEP])
    return " ".join(hidden.split())[:_KEEP]


def _statement(system: str, text: str, summary: str) -> Statement:
    return Statement(system, text, summary, blake2b(text.encode(), digest_size=8).hexdigest())
