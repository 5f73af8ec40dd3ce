"""What a reply tells: how many items there are, and whether a key was found. Replies themselves are never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight import bus
from dbsight.instrument import caches
from dbsight.model import CacheEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

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


Look = tuple[str, int, int, int, int, "Sequence[int]"]
"""What was done with keys of one template: it, keys that were found, that were not, that were written, that were
removed, and the bytes of the values that were found, of each of which it is known. To make a class of it costs as much
as all the rest."""


def looks(command: Command, reply: Any) -> Sequence[Look]:
    """What a command or pipeline did to the cache that it may be, by key template; the reply is not kept."""
    if not command.parts:
        if command.effect == "get":
            if reply is None:
                return ((command.template, 0, 1, 0, 0, ()),)
            return ((command.template, 1, 0, 0, 0, (len(reply),) if isinstance(reply, (bytes, str)) else ()),)
        return (_look(command, reply),)
    if not isinstance(reply, list):
        return ()
    if command.alike == "get":
        sizes = [len(each) for each in reply if isinstance(each, (bytes, str))]
        misses = reply.count(None)
        if len(sizes) + misses == len(reply):  # else there are errors among them
            return ((command.template, len(sizes), misses, 0, 0, sizes),)
    by_template: dict[str, Look] = {}
    for part, answer in zip(command.parts, reply):  # noqa: B905 - a transaction may have fewer answers
        if part.effect and not isinstance(answer, Exception):
            look = _look(part, answer)
            known = by_template.get(part.template)
            by_template[part.template] = look if known is None else _added(known, look)
    return tuple(by_template.values())


def _look(command: Command, reply: Any) -> Look:
    """Of one command."""
    effect = command.effect
    hits = misses = stores = removals = 0
    sizes: Sequence[int] = ()
    if effect == "get":
        hits, misses = (0, 1) if reply is None else (1, 0)
        if isinstance(reply, (bytes, str)):
            sizes = (len(reply),)
    elif effect == "mget":
        if isinstance(reply, list):
            misses = reply.count(None)
            hits = len(reply) - misses
    elif effect == "exists":
        if isinstance(reply, int):
            hits, misses = reply, max(0, command.keys - reply)
    elif effect == "set":
        stores = max(1, command.keys)
    elif isinstance(reply, int):
        removals = reply
    return command.template, hits, misses, stores, removals, sizes


def _added(one: Look, other: Look) -> Look:
    hits, misses, stores, removals = (mine + more for mine, more in zip(one[1:5], other[1:5], strict=True))
    return one[0], hits, misses, stores, removals, (*one[5], *other[5])


def count(seen: Sequence[Look], operation: Operation) -> None:
    """Add what a command did to what comes together; removals are told at once: a window has to remember them."""
    label = operation.database.label
    for template, hits, misses, stores, removals, sizes in seen:
        if hits or misses or stores:
            counter = caches.counter(label, "", "", template)
            counter.note(hits, misses, stores, sizes, operation.call_site, operation.origin)
        if removals:
            bus.observe(
                CacheEvent(
                    label,
                    operation.end_ns,
                    key_prefix=template,
                    removals=removals,
                    allowed=operation.allowed,
                    call_site=operation.call_site,
                    parent=operation.parent,
                    origin=operation.origin,
                )
            )
