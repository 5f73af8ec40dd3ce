"""What a reply tells: how many items there are, and whether a key was found. Replies themselves are never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight import recording
from dbsight.instrument import caches
from dbsight.model import CacheEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.instrument.caches import Look
    from dbsight.model import Operation
    from dbsight.statement.redis.command import Command

_FOUND_OR_NOT = frozenset((bytes, str, type(None)))
_SIZED = (list, dict, set, frozenset, tuple)


def items(command: Command, reply: Any) -> int | None:
    """How many items a reply has, None where that says nothing."""
    if not command.collection:
        return None
    if command.operation.endswith("SCAN"):
        reply = reply[1] if isinstance(reply, (list, tuple)) and len(reply) == 2 else None
    return len(reply) if isinstance(reply, _SIZED) else None


def looks(command: Command, reply: Any) -> Sequence[Look]:
    """What a command or pipeline did to the cache that it may be, by key template; the reply is not kept."""
    if not command.parts:
        return (_look(command, reply),)
    if not isinstance(reply, list):
        return ()
    if command.alike == "get":
        if _FOUND_OR_NOT.issuperset(map(type, reply)):  # nearly always, and a third of what comes below
            misses = reply.count(None)
            sizes = [len(each) for each in reply if each is not None]
            return ((command.template, len(sizes), misses, 0, 0, sizes),)
        sizes = [len(each) for each in reply if isinstance(each, (bytes, str))]
        misses = _missing(reply) if len(sizes) < len(reply) else 0
        if len(sizes) + misses == len(reply):  # else there are errors among them
            return ((command.template, len(sizes), misses, 0, 0, sizes),)
    by_template: dict[str, list[Look]] = {}
    for part, answer in zip(command.parts, reply):  # noqa: B905 - a transaction may have fewer answers
        if part.effect and not isinstance(answer, Exception):
            look = _look(part, answer)
            by_template.setdefault(look[0], []).append(look)
    return [_together(alike) for alike in by_template.values()]


def found(command: Command, size: int | list[int] | None) -> Sequence[Look]:
    """The same of one value that was asked for, by its size, -1 where there was none; or of several that were found."""
    if size is None:
        return ()
    if isinstance(size, list):
        return ((command.template, len(size), 0, 0, 0, size),)
    return ((command.template, 0, 1, 0, 0, ()) if size < 0 else (command.template, 1, 0, 0, 0, (size,)),)


def _together(alike: Sequence[Look]) -> Look:
    templates, hits, misses, stores, removals, sizes = zip(*alike, strict=True)
    every_size = [size for each in sizes for size in each]
    return templates[0], sum(hits), sum(misses), sum(stores), sum(removals), every_size


def _missing(reply: list[Any]) -> int:
    """How many items are None; not by ``count``, which compares, and an application's objects may not like that."""
    return sum([each is None for each in reply])


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
            misses = _missing(reply)
            hits = len(reply) - misses
    elif effect == "exists":
        if isinstance(reply, int):
            hits, misses = reply, max(0, command.keys - reply)
    elif effect == "set":
        stores = max(1, command.keys)
    elif isinstance(reply, int):
        removals = reply
    return command.template, hits, misses, stores, removals, sizes


def count(seen: Iterable[tuple[Sequence[Look], Operation]]) -> None:
    """Add what commands did to what comes together; removals are told at once: a window has to remember them.

    Args:
        seen: What each of some commands that were drained together did, and its operation.
    """
    for looks, operation in seen:
        for template, hits, misses, stores, removals, sizes in looks:
            if hits or misses or stores:
                key = (operation.database.label, "", "", template)
                counter = caches.known_counter(key) or caches.counter(*key)
                counter.note(hits, misses, stores, sizes, operation.call_site, operation.origin)
            if removals:
                recording.publish(
                    CacheEvent(
                        operation.database.label,
                        operation.end_ns,
                        key_prefix=template,
                        removals=removals,
                        allowed=operation.allowed,
                        call_site=operation.call_site,
                        parent=operation.parent,
                        origin=operation.origin,
                    )
                )
