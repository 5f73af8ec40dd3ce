"""The base class of rules about what an ORM loaded and the application did not read; for development."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed
from dbsight.detect.rule import WindowRule
from dbsight.model import LoadEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.detect.window import Window
    from dbsight.model import Finding, Operation

_ALIVE: Final = 0.1
"""Share of objects that may still be read, from which nothing is said."""


class LoadRule(WindowRule):
    """A rule about the objects that the queries of a window loaded; without ``watch_reads`` there are none."""

    of_events: ClassVar[bool] = True

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at each query, together with its executions."""
        for event in window.events:
            if not isinstance(event, LoadEvent) or event.allowed & {self.name, "all"}:
                continue
            operations = _operations(event, window)
            if any(is_allowed(self.name, operation) for operation in operations):
                continue
            if operations and event.statement is None:
                first = operations[0]
                event.statement, event.database, event.call_site = first.statement, first.database, first.call_site
            if event.statement is not None and not event.statement.allowed & {self.name, "all"}:
                yield from self.look(event, operations, window)

    def look(self, event: LoadEvent, operations: Sequence[Operation], window: Window) -> Iterable[Finding]:
        """Look at the objects of one class that a query loaded.

        Args:
            event: What was loaded and read; its statement is known.
            operations: The executions of the query, as far as the window remembers them.
            window: Where.
        """
        return ()

    def finding_of(self, event: LoadEvent, window: Window, prefix: str, *key: str, **fields: object) -> Finding:
        """A finding about the query, with its place."""
        site, statement = event.call_site, event.statement
        return self.finding(
            (prefix, statement.fingerprint if statement else "", site.function if site is not None else "", *key),
            statement=statement,
            database=event.database,
            call_site=site,
            trace=f"{window.trace_id:032x}",
            route=window.name,
            **fields,
        )


def _operations(event: LoadEvent, window: Window) -> list[Operation]:
    if event.django is not None:
        return [operation for operation in window.operations if operation.django is event.django]
    site = str(event.call_site)
    return [
        operation
        for operation in window.operations
        if operation.statement is event.statement and str(operation.call_site) == site
    ]


def seconds_of(operations: Iterable[Operation]) -> float:
    """How long the executions of a query took, s."""
    return sum([operation.duration for operation in operations])


def is_over(event: LoadEvent) -> bool:
    """Whether nearly all objects are gone: what was read of them is all that ever will be."""
    return event.finished > 0 and event.alive <= _ALIVE * (event.alive + event.finished)
