"""Facts that several rules derive from a closed window, computed once."""

from __future__ import annotations

from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING

from dbsight.detect.history import History

if TYPE_CHECKING:
    from dbsight.detect.window import Window
    from dbsight.model import Operation


class Facts:
    """Facts about a window, each computed on first access.

    Args:
        window: A closed window, or a part taken out of an open one.
    """

    def __init__(self, window: Window) -> None:
        self._window = window

    @cached_property
    def repeats(self) -> bool:
        """Whether a query ran more than once."""
        return self._window.repeats()

    @cached_property
    def operations(self) -> list[Operation]:
        """The operations by start, with only the first fetch of each cursor; empty if no query ran more than once."""
        if not self.repeats:
            return []
        operations = sorted(self._window.operations, key=attrgetter("start_ns"))
        if any([operation.cursor for operation in operations]):  # noqa: C419 - twice as fast as a generator
            return _first_of_each_cursor(operations)
        return operations

    @cached_property
    def by_query(self) -> dict[str, list[Operation]]:
        """The same by fingerprint, in order of first appearance."""
        groups: dict[str, list[Operation]] = {}
        for operation in self.operations:
            fingerprint = operation.statement.fingerprint
            group = groups.get(fingerprint)
            if group is None:
                groups[fingerprint] = [operation]
            else:
                group.append(operation)
        return groups

    @cached_property
    def history(self) -> History:
        """The history of the window: what follows from the order of its operations."""
        return History(self.operations, self.by_query)


def facts_of(window: Window) -> Facts:
    """Return the facts about a closed window, shared by all rules."""
    facts: Facts | None = window.facts
    if facts is None:
        facts = window.facts = Facts(window)
    return facts


def _first_of_each_cursor(operations: list[Operation]) -> list[Operation]:
    """Drop all fetches of a cursor except the first, which executes its statement."""
    seen: set[object] = set()
    kept = []
    for operation in operations:
        key = operation.execution
        if operation.cursor and key in seen:
            continue
        seen.add(key)
        kept.append(operation)
    return kept
