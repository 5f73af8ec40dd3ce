"""The operations of a window as repetitions: by query, database, unit of work and call site."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dbsight.detect.repetition import places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbsight.model import CallSite, Operation


def is_allowed(rule: str, operation: Operation) -> bool:
    """Return whether ``allow()`` around an operation, or a comment in its text, suppresses the rule."""
    if not operation.allowed and not operation.statement.allowed:
        return False
    allowed = operation.allowed | operation.statement.allowed
    return rule in allowed or "all" in allowed


@lru_cache(maxsize=500)
def where(site: CallSite | None) -> str:
    """Format a call site to end a sentence: ``, at shop.py:88 in list_orders, called from …``; empty if unknown."""
    if site is None:
        return ""
    place = f", at {site} in {site.function}"
    return f"{place}, called from {site.caller} in {site.caller.function}" if site.caller is not None else place


def parts(group: list[Operation], units: Mapping[int, object]) -> list[list[Operation]]:
    """Split a group by database, unit of work and call site; a query recorded by two instrumentations counts once."""
    if any([operation.foreign for operation in group]):  # noqa: C419 - twice as fast as a generator
        group = _once(group)
    if not units and len({operation.database.key for operation in group}) == 1:
        return places(group)
    parts: dict[object, list[Operation]] = {}
    for operation in group:
        key = (operation.database.key, units.get(id(operation)))
        parts.setdefault(key, []).append(operation)
    return [place for part in parts.values() for place in places(part)]


def _once(operations: list[Operation]) -> list[Operation]:
    """Drop spans of the driver for operations of a client library: they lie within these, on the same thread.

    If both are external spans, the inner ones are the driver's only if nearly all come in pairs: queries of parallel
    tasks may lie within each other, too. The two may name the database differently.
    """
    within_ours: list[Operation] = []
    within_foreign: list[Operation] = []
    outer: dict[int, Operation] = {}
    for operation in operations:
        around = outer.get(operation.thread)
        if around is not None and operation.foreign and _lies_within(operation, around):
            (within_foreign if around.foreign else within_ours).append(operation)
        else:
            outer[operation.thread] = operation
    left_out = set(map(id, within_ours))
    foreign = sum(operation.foreign for operation in operations) - len(within_ours)
    if len(within_foreign) * 2 >= foreign - 1:
        left_out.update(map(id, within_foreign))
    return [operation for operation in operations if id(operation) not in left_out]


def _lies_within(operation: Operation, around: Operation) -> bool:
    alike = operation.parameters is None or around.parameters in {None, operation.parameters}
    return alike and operation.end_ns <= around.end_ns
