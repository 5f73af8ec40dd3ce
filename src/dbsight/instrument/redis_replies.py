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


class _Looked:
    """What was done with the keys of one template."""

    __slots__ = ("hits", "misses", "removals", "sizes", "stores")

    def __init__(self) -> None:
        self.hits = self.misses = self.stores = self.removals = 0
        self.sizes: list[int] = []

    def take(self, command: Command, reply: Any) -> None:
        """Count one command and its reply."""
        effect = command.effect
        if effect == "get":
            if reply is None:
                self.misses += 1
            else:
                self.hits += 1
                if isinstance(reply, (bytes, str)):
                    self.sizes.append(len(reply))
        elif effect == "mget":
            if isinstance(reply, list):
                misses = sum([each is None for each in reply])
                self.misses += misses
                self.hits += len(reply) - misses
        elif effect == "exists":
            if isinstance(reply, int):
                self.hits += reply
                self.misses += max(0, command.keys - reply)
        elif effect == "set":
            self.stores += max(1, command.keys)
        elif isinstance(reply, int):
            self.removals += reply

    def tell(self, template: str, operation: Operation) -> None:
        """Add it to what comes together; removals are told at once, because a window has to remember them."""
        label = operation.database.label
        if self.hits or self.misses or self.stores:
            counter = caches.counter(label, "", "", template)
            counter.note(self.hits, self.misses, self.stores, self.sizes, operation.call_site, operation.origin)
        if self.removals:
            bus.observe(
                CacheEvent(
                    label,
                    operation.end_ns,
                    key_prefix=template,
                    removals=self.removals,
                    allowed=operation.allowed,
                    call_site=operation.call_site,
                    parent=operation.parent,
                    origin=operation.origin,
                )
            )


def count(command: Command, reply: Any, operation: Operation) -> None:
    """Count what a command or pipeline did to the cache that it may be, by key template."""
    if not command.parts:
        if command.effect == "get":
            found = reply is not None
            counter = caches.counter(operation.database.label, "", "", command.template)
            sizes = [len(reply)] if isinstance(reply, (bytes, str)) else []
            counter.note(found, not found, 0, sizes, operation.call_site, operation.origin)
            return
        looked = _Looked()
        looked.take(command, reply)
        looked.tell(command.template, operation)
        return
    if not isinstance(reply, list):
        return
    if command.alike == "get":
        sizes = [len(each) for each in reply if isinstance(each, (bytes, str))]
        misses = reply.count(None)
        if len(sizes) + misses == len(reply):  # else there are errors among them
            counter = caches.counter(operation.database.label, "", "", command.template)
            counter.note(len(sizes), misses, 0, sizes, operation.call_site, operation.origin)
            return
    by_template: dict[str, _Looked] = {}
    template = None
    looked = _Looked()
    for part, answer in zip(command.parts, reply):  # noqa: B905 - a transaction may have fewer answers
        if not part.effect or isinstance(answer, Exception):
            continue
        if part.template != template:
            template = part.template
            looked = by_template.setdefault(template, _Looked())
        looked.take(part, answer)
    for template, looked in by_template.items():
        looked.tell(template, operation)
