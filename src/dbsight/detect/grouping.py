"""The operations of a window as repetitions: by query, database, unit of work and place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.detect.repetition import places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbsight.model import CallSite, Operation


def is_allowed(rule: str, operation: Operation) -> bool:
    """Whether the code around an operation, or a comment in its text, allows what this rule would find."""
    if not operation.allowed and not operation.statement.allowed:
        return False
    allowed = operation.allowed | operation.statement.allowed
    return rule in allowed or "all" in allowed


def where(site: CallSite | None) -> str:
    """The place, to follow a sentence: ``, at shop.py:88 in list_orders, called from …``; empty when unknown."""
    if site is None:
        return ""
    place = f", at {site} in {site.function}"
    return f"{place}, called from {site.caller} in {site.caller.function}" if site.caller is not None else place


def parts(group: list[Operation], units: Mapping[int, object]) -> list[list[Operation]]:
    """Part a group by database, unit of work and place; what two instrumentations saw of one query counts once."""
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
    """Leave out the driver's view of what a client library was seen to do: it lies within, on the same thread.

    Of two foreign views the inner ones are the driver's only where nearly all come in such pairs: queries of parallel
    tasks may lie within each other, too. They need not name the database alike.
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
