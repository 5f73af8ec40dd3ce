"""Commands of Redis as other instrumentations write them into their spans: ``GET ?``, ``GET user:1``, ``SET user:1 x``.

Read like the commands that we see ourselves, so that summary, fingerprint and keys are the same. Blanks within keys and
values are not marked in such a text: a word counts as a key only where no value can stand before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.statement.redis.reader import build, name_of, pipeline
from dbsight.statement.redis.vocabulary import SHAPES, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.statement.redis.command import Command

SYSTEMS: Final = frozenset({"redis", "valkey"})

_MAX_COMMANDS: Final = 1_000
_ELLIPSES: Final = ("...", "…")
_KEYS: Final = {
    "one": slice(1),
    "key": slice(1),
    "pairs": slice(1),
    "two": slice(2),
    "all": slice(None),
    "most": slice(-1),
}
_QUOTES: Final = "\"'"


def read_redis_text(text: str, system: str) -> Command:
    """The statement of a text: of one command, or of a pipeline with one command a line."""
    lines = [line for line in text.split("\n") if line.strip()]
    parts = tuple([_read(line, system) for line in lines[:_MAX_COMMANDS]])
    if len(parts) == 1:
        return parts[0]
    command = pipeline(parts, system, transaction=False)
    command.truncated = len(lines) > len(parts) or any(part.truncated for part in parts)
    if command.truncated or any(part.parameters is None for part in parts):
        command.parameters = None
    return command


def _read(line: str, system: str) -> Command:
    operation, arguments = name_of(line.split())
    words = [str(argument).strip(_QUOTES) for argument in arguments]
    keys = _keys(SHAPES.get(operation, UNKNOWN).keys, words)
    command = build(system, operation, words, keys)
    if not keys:  # what is not known cannot be compared
        command.parameters = None
    command.truncated = line.rstrip().endswith(_ELLIPSES)
    return command


def _keys(where: str, words: Sequence[str]) -> Sequence[str]:
    """The keys; none where one of them was hidden or cut."""
    found = _KEYS.get(where)
    keys = words[found] if found is not None else ()
    return () if any(not key or key == "?" or key.endswith(_ELLIPSES) for key in keys) else keys
