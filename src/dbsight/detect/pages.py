"""Detection of pagination: a listing is read page by page, each page once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dbsight.detect.history import moves_a_bound
from dbsight.detect.placeholders import BOUND, OFFSET, SIZE, placeholders
from dbsight.statement.parameters import INTEGERS_FROM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbsight.detect.history import History
    from dbsight.detect.placeholders import Placeholder
    from dbsight.detect.repetition import Repetition
    from dbsight.model import Operation

_MAX_WALKS: Final = 2
"""Number of times that a listing may be read; more reads mean one per row of something else."""


def pages(repetition: Repetition, history: History) -> bool:
    """Return whether a listing is read page by page: OFFSET, or a key that advances, with LIMIT above 1.

    All other parameters are the same, and each page starts where the one before ended. The newest three of each parent
    are not pages, nor is what follows each row's own key, nor windows that overlap.
    """
    statement = repetition.statement
    if statement.limit == 1 or (statement.limit is None and not statement.offset):
        return False
    full = max((operation.rows for operation in repetition.operations if operation.rows is not None), default=None)
    if full is not None and full <= 1:
        return False
    values = _values(repetition)
    if values is None:
        return _look_like_pages(repetition, full)
    walks = _Walks(repetition, values)
    return walks.are_pages() and (bool(walks.offsets) or _read_to_the_end(walks, full, history))


def _values(repetition: Repetition) -> list[Mapping[object, int]] | None:
    """Return the values of each execution; None if those of one are unknown, or only literals differ."""
    operations = repetition.operations
    values = [operation.values for operation in operations if operation.values is not None]
    if len(values) < len(operations) or len({operation.statement.literals for operation in operations}) > 1:
        return None
    keys = {placeholder.key for placeholder in _bound(repetition)}
    return values if keys and all(keys == set(each) for each in values) else None


def _bound(repetition: Repetition) -> list[Placeholder]:
    """Return the placeholders, without that of the page size if it is a literal."""
    known = placeholders(repetition.statement.text)
    if repetition.statement.limit == -1:
        return list(known)
    kept = [each for each in known if each.role != SIZE]
    return [
        each._replace(key=min(each.key, place)) if isinstance(each.key, int) else each
        for place, each in enumerate(kept)
    ]


class _Walks:
    """The executions, grouped into walks through a listing.

    Attributes:
        offsets: Keys of the values that are a moving OFFSET.
        bounds: Keys of those that are a moving bound.
        walks: The executions of each walk, by start.
        overlaps: How often a page did not start where the one before ended.
        steps: From page to page, in all walks.
    """

    def __init__(self, repetition: Repetition, values: Sequence[Mapping[object, int]]) -> None:
        moving = {key for key in values[0] if len({each[key] for each in values}) > 1}
        known = _bound(repetition)
        self.offsets = [each.key for each in known if each.role == OFFSET and each.key in moving]
        self.bounds = [each.key for each in known if each.role == BOUND and each.key in moving]
        # ``a > ? OR (a = ? AND b > ?)`` binds one value twice.
        others = [
            each.key
            for each in known
            if each.key in moving
            and each.role not in {OFFSET, BOUND, SIZE}
            and not any(all(row[each.key] == row[bound] for row in values) for bound in self.bounds)
        ]
        self.walks: list[list[Operation]] = []
        self.overlaps = self.steps = 0
        listings: dict[tuple[int, ...], list[Operation]] = {}
        for operation, row in zip(repetition.operations, values, strict=True):
            listings.setdefault(tuple(row[key] for key in others), []).append(operation)
        for listing in listings.values():
            self._follow(listing)

    def _follow(self, listing: Sequence[Operation]) -> None:
        first = self._position(listing[0])
        self.walks.append([listing[0]])
        for earlier, later in pairwise(listing):
            if self._position(later) == first:
                self.walks.append([later])
                continue
            self.steps += 1
            self.overlaps += not self._goes_on(earlier, later)
            self.walks[-1].append(later)

    def _position(self, operation: Operation) -> tuple[int, ...]:
        values = operation.values or {}
        return tuple(values[key] for key in (*self.offsets, *self.bounds))

    def _goes_on(self, earlier: Operation, later: Operation) -> bool:
        """Return whether a page starts where the one before ended, as far as its position is a number."""
        before, after = self._position(earlier), self._position(later)
        rows = earlier.rows or 0
        if self.offsets:
            return after[0] - before[0] >= max(rows, 2)
        if len(before) == 1 and min(before[0], after[0]) >= INTEGERS_FROM:
            return abs(after[0] - before[0]) >= max(rows, 1)  # keys of rows are different integers
        return before != after

    def are_pages(self) -> bool:
        """Return whether the listing is read once or twice, and nearly every page starts where the one before ended."""
        return (
            bool(self.offsets or self.bounds)
            and len(self.walks) <= _MAX_WALKS
            and max(map(len, self.walks)) > 1
            and self.overlaps * 4 <= self.steps
        )


def _read_to_the_end(walks: _Walks, full: int | None, history: History) -> bool:
    """Return whether all pages but the last are full, and their number differs from the rows of the query before.

    (If the bound is the key of each row of a list, it differs each time, too.)
    """
    if full is None:
        return True
    if any(operation.rows != full for walk in walks.walks for operation in walk[:-1]):
        return False
    for walk in walks.walks:
        before = next(history.before(walk[0]), None)
        if walk[-1].rows == full and before is not None and before.rows == len(walk) > 2:
            return False
    return True


def _look_like_pages(repetition: Repetition, full: int | None) -> bool:
    """The same if bound values are unknown: by OFFSET or comparison, with all pages but the last full."""
    statement = repetition.statement
    rows = [operation.rows for operation in repetition.operations if operation.rows is not None]
    if full is None:
        return statement.offset or moves_a_bound(statement.text)
    if statement.offset:
        return sum(count == full for count in rows) * 2 >= len(rows)
    return all(count == full for count in rows[:-1]) and moves_a_bound(statement.text)
