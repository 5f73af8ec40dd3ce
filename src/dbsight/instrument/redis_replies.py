"""What a reply tells: how many items there are, and whether a key was found. Replies themselves are never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.model import CacheEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Database
    from dbsight.statement.redis import Command

_SIZED = (list, dict, set, frozenset, tuple)


def items(command: Command, reply: Any) -> int | None:
    """How many items a reply has, None where that says nothing."""
    if not command.collection:
        return None
    if command.operation.endswith("SCAN"):
        reply = reply[1] if isinstance(reply, (list, tuple)) and len(reply) == 2 else None
    return len(reply) if isinstance(reply, _SIZED) else None


def cache_events(command: Command, reply: Any, database: Database) -> Iterable[CacheEvent]:
    """What a command or pipeline did to the cache that it may be: look-ups, stores and removals, by key template."""
    if not command.parts:
        if not command.effect:
            return ()
        event = _event(command, reply, database)
        return () if event is None else (event,)
    if not isinstance(reply, list):
        return ()
    merged: dict[str, CacheEvent] = {}
    for part, answer in zip(command.parts, reply):  # noqa: B905 - a transaction may have fewer answers
        if part.effect and not isinstance(answer, Exception):
            event = _event(part, answer, database)
            if event is not None:
                known = merged.setdefault(event.key_prefix, event)
                if known is not event:
                    known.add(event)
    return merged.values()


def _event(command: Command, reply: Any, database: Database) -> CacheEvent | None:
    effect = command.effect
    hits = misses = stores = removals = 0
    size = None
    if effect == "get":
        if reply is None:
            misses = 1
        else:
            hits = 1
            size = _size(reply)
    elif effect == "mget":
        if not isinstance(reply, list):
            return None
        misses = sum([each is None for each in reply])
        hits = len(reply) - misses
    elif effect == "exists":
        if not isinstance(reply, int):
            return None
        hits = int(reply)
        misses = max(0, command.keys - hits)
    elif effect == "set":
        stores = max(1, command.keys)
    else:
        removals = int(reply) if isinstance(reply, int) else 0
    return CacheEvent(
        database.label,
        0,
        hits=hits,
        misses=misses,
        key_prefix=command.template,
        size=size,
        stores=stores,
        removals=removals,
        layer="",
    )


def _size(reply: Any) -> int | None:
    return len(reply) if isinstance(reply, (bytes, str)) else None
