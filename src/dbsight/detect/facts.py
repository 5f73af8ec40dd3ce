"""Facts that several rules derive from a closed window with repetitions, computed once."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from dbsight.detect.history import History

if TYPE_CHECKING:
    from dbsight.detect.window import Window
    from dbsight.model import Operation

_START: Final = attrgetter("start_ns")


class Facts:
    """Facts about a window.

    Args:
        window: A closed window, or a part taken out of an open one.

    Attributes:
        operations: The operations by start, with only the first fetch of each cursor; empty if no query ran more than
            once.
        by_query: The same by fingerprint, in order of first appearance.
    """

    __slots__ = ("_history", "by_query", "operations")

    def __init__(self, window: Window) -> None:
        # Not cached properties: each of these takes a lock before Python 3.12.
        self.operations = _in_order(window)
        self.by_query: dict[str, list[Operation]] = {}
        groups = self.by_query
        for operation in self.operations:
            fingerprint = operation.statement.fingerprint
            group = groups.get(fingerprint)
            if group is None:
                groups[fingerprint] = [operation]
            else:
                group.append(operation)
        self._history: History | None = None

    @property
    def history(self) -> History:
        """The history of the window: what follows from the order of its operations."""
        if self._history is None:
            self._history = History(self.operations, self.by_query)
        return self._history


def facts_of(window: Window) -> Facts:
    """Return the facts about a closed window, shared by all rules."""
    facts: Facts | None = window.facts
    if facts is None:
        facts = window.facts = Facts(window)
    return facts


def _in_order(window: Window) -> list[Operation]:
    if not window.repeats():
        return []
    operations = sorted(window.operations, key=_START)
    if any([operation.cursor for operation in operations]):  # noqa: C419 - twice as fast as a generator
        return _first_of_each_cursor(operations)
    return operations


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
