"""What a reply tells: how many items there are, and whether a key was found. Replies themselves are never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight import bus
from dbsight.instrument import caches
from dbsight.model import CacheEvent

if TYPE_CHECKING:
    from dbsight.model import Operation
    from dbsight.statement.redis import Command

_SIZED = (list, dict, set, frozenset, tuple)


def items(command: Command, reply: Any) -> int | None:
    """How many items a reply has, None where that says nothing."""
    if not command.collection:
        return None
    if command.operation.endswith("SCAN"):
        reply = reply[1] if isinstance(reply, (list, tuple)) and len(reply) == 2 else None
    return len(reply) if isinstance(reply, _SIZED) else None


def count(command: Command, reply: Any, operation: Operation) -> None:
    """Count what a command or pipeline did to the cache that it may be, by key template.

    Look-ups and stores come together; removals are told at once, because a window has to remember them.
    """
    if not command.parts:
        if command.effect == "delete":
            _tell_removals({command.template: _removed(reply)}, operation)
        else:
            _note(command, reply, operation)
        return
    if not isinstance(reply, list):
        return
    removed: dict[str, int] = {}
    for part, answer in zip(command.parts, reply):  # noqa: B905 - a transaction may have fewer answers
        if not part.effect or isinstance(answer, Exception):
            continue
        if part.effect == "delete":
            removed[part.template] = removed.get(part.template, 0) + _removed(answer)
        else:
            _note(part, answer, operation)
    if removed:
        _tell_removals(removed, operation)


def _note(command: Command, reply: Any, operation: Operation) -> None:
    effect = command.effect
    hits = misses = stores = 0
    size = None
    if effect == "get":
        if reply is None:
            misses = 1
        else:
            hits = 1
            size = len(reply) if isinstance(reply, (bytes, str)) else None
    elif effect == "mget":
        if not isinstance(reply, list):
            return
        misses = sum([each is None for each in reply])
        hits = len(reply) - misses
    elif effect == "exists":
        if not isinstance(reply, int):
            return
        hits = int(reply)
        misses = max(0, command.keys - hits)
    else:
        stores = max(1, command.keys)
    counter = caches.counter(operation.database.label, "", "", command.template)
    counter.note(hits, misses, stores, size, operation.call_site, operation.origin)


def _removed(reply: Any) -> int:
    return int(reply) if isinstance(reply, int) else 0


def _tell_removals(removed: dict[str, int], operation: Operation) -> None:
    for template, number in removed.items():
        bus.observe(
            CacheEvent(
                operation.database.label,
                operation.end_ns,
                key_prefix=template,
                removals=number,
                allowed=operation.allowed,
                call_site=operation.call_site,
                parent=operation.parent,
                origin=operation.origin,
            )
        )
