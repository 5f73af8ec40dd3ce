"""What rules can tell of an operation without looking at it: most of a window share one shape, or a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Kind, Operation


class Shape(NamedTuple):
    """What operations that look alike to rules have in common; the fields are those of ``Operation`` and ``Statement``.

    Attributes:
        system: Of the database.
        operation: Of the statement, as ``kind`` and ``in_length`` are.
    """

    system: str
    operation: str
    kind: Kind
    in_length: int
    rows: int | None
    affected: int | None
    batch_size: int
    error_type: str | None
    asynchronous: bool
    blocked_loop: bool
    streamed: bool


def shapes_of(operations: Iterable[Operation]) -> set[tuple[object, ...]]:
    """The shapes of operations, as plain tuples: to make a class of each would cost as much as all the rest."""
    return {
        (
            each.database.system,
            (statement := each.statement).operation,
            statement.kind,
            statement.in_length,
            each.rows,
            each.affected,
            each.batch_size,
            each.error_type,
            each.asynchronous,
            each.blocked_loop,
            each.streamed,
        )
        for each in operations
    }
