"""What a reply tells: how many items there are, and whether a key was found. Replies themselves are never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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


class Look(NamedTuple):
    """What was done with keys of one template.

    Attributes:
        template: Of the keys.
        hits: Keys that were found.
        misses: Keys that were not.
        stores: Keys that were written.
        removals: Keys that were removed.
        sizes: Bytes of the values that were found, of each of which it is known.
    """

    template: str
    hits: int
    misses: int
    stores: int
    removals: int
    sizes: Sequence[int]


def looks(command: Command, reply: Any) -> Sequence[Look]:
    """What a command or pipeline did to the cache that it may be, by key template; the reply is not kept."""
    if not command.parts:
        if command.effect == "get":
            if reply is None:
                return (Look(command.template, 0, 1, 0, 0, ()),)
            return (Look(command.template, 1, 0, 0, 0, (len(reply),) if isinstance(reply, (bytes, str)) else ()),)
        return (_look(command, reply),)
    if not isinstance(reply, list):
        return ()
    if command.alike == "get":
        sizes = [len(each) for each in reply if isinstance(each, (bytes, str))]
        misses = reply.count(None)
        if len(sizes) + misses == len(reply):  # else there are errors among them
            return (Look(command.template, len(sizes), misses, 0, 0, sizes),)
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
    return Look(command.template, hits, misses, stores, removals, sizes)


def _added(one: Look, other: Look) -> Look:
    return Look(
        one.template,
        one.hits + other.hits,
        one.misses + other.misses,
        one.stores + other.stores,
        one.removals + other.removals,
        (*one.sizes, *other.sizes),
    )


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
