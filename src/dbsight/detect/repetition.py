"""Executions of one statement, on one database, from one call site."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import fsum
from typing import TYPE_CHECKING

from dbsight.detect.median import median
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import CallSite, Database, Operation, Statement

PLACEHOLDER = r"(?:\?|\$\d+|%s|%\(\w+\)s|(?<!:):\w+|@\w+)"
"""A bound value in a sanitised text, in the styles of all drivers; literals have become ``?``."""

_PLACEHOLDER = pattern(PLACEHOLDER)

MAX_TEXTS = 500
"""Number of query texts whose parsed properties are cached."""

KEY_VALUE = frozenset({"redis", "valkey", "memcached", "dragonfly"})
"""Systems that have commands and keys instead of queries and tables."""

OTHER_WORK = 0.05
"""s; a longer pause between two writes is more than a commit takes."""

LOADED_ONCE = frozenset({"lazy", "deferred", "inherited"})
"""ORM loads that are kept on an object: each execution is for another object, so the parameters differ."""


@lru_cache(maxsize=MAX_TEXTS)
def binds_values(text: str) -> bool:
    """Return whether a sanitised text has placeholders or removed literals."""
    return _PLACEHOLDER.search(text) is not None


class Repetition:
    """Executions of one statement, on one database, from one call site.

    Attributes:
        operations: By start.
        statement: That of the first.
        database: That of all.
        relationship: What the ORM was loading, None for a query that the application wrote.
        load: How the ORM was loading it.
        to_many: Whether the relationship is a collection.
        entity: The class that the ORM was loading.
        call_site: The most frequent call site; of equals, the first in the file.
        distinct: Number of different parameters, as far as they are known.
        unknown: Number of executions whose parameters are unknown.
        duration: s; the sum of all durations.
    """

    __slots__ = (
        "call_site",
        "database",
        "distinct",
        "duration",
        "entity",
        "load",
        "operations",
        "relationship",
        "statement",
        "to_many",
        "unknown",
    )

    def __init__(self, operations: Sequence[Operation]) -> None:
        first = operations[0]
        self.operations = operations
        self.statement: Statement = first.statement
        self.database: Database = first.database
        self.relationship = first.relationship
        self.load = first.load
        self.to_many = first.to_many
        self.entity = first.entity
        self.call_site: CallSite | None = _most_frequent(operations)
        self.distinct, self.unknown = _tell_apart(operations)
        self.duration = fsum([operation.duration for operation in operations])

    def __len__(self) -> int:
        return len(self.operations)

    def __repr__(self) -> str:
        return f"Repetition({self.statement.summary!r} × {len(self)}, at {self.call_site})"

    @property
    def span(self) -> float:
        """Seconds from the start of the first to the start of the last."""
        return (self.operations[-1].start_ns - self.operations[0].start_ns) / 1e9

    @property
    def slow_paced(self) -> bool:
        """Whether they are usually more than 1 s apart."""
        # Half of the gaps are longer than 1 s only where the whole is longer than their sum.
        return self.span > (len(self) - 1) / 2 and median(self.gaps()) > 1.0

    @property
    def one_place(self) -> bool:
        """Whether one line ran all of them."""
        first = self.operations[0].call_site
        return first is not None and all(
            site is not None and (site is first or (site.line == first.line and site.file == first.file))
            for site in (operation.call_site for operation in self.operations)
        )

    @property
    def between_other_work(self) -> bool:
        """Whether each waits for something else, such as a call of another service, for nine tenths of the time."""
        return self.duration < 0.1 * self.span and median(self.gaps()) > OTHER_WORK

    def gaps(self) -> list[float]:
        """Seconds between the end of one execution and the start of the next; negative where they overlapped."""
        return [(later.start_ns - earlier.end_ns) / 1e9 for earlier, later in pairwise(self.operations)]


def _most_frequent(operations: Sequence[Operation]) -> CallSite | None:
    first = operations[0].call_site
    if len({operation.call_site for operation in operations}) == 1:
        return first
    counts: dict[tuple[str, int, str, str], list[CallSite]] = {}
    for operation in operations:
        site = operation.call_site
        if site is not None:
            key = (site.file, site.line, site.function, str(site.caller or ""))
            counts.setdefault(key, []).append(site)
    if not counts:
        return None
    # Do not depend on the order of executions: threads and tasks finish in any order.
    return min(counts.items(), key=lambda item: (-len(item[1]), item[0]))[1][0]


def _tell_apart(operations: Sequence[Operation]) -> tuple[int, int]:
    """Count the different parameters, and the executions with unknown parameters."""
    values = {operation.parameters for operation in operations}
    if len(values) == len(operations) and None not in values:
        return len(values), 0
    seen: set[tuple[int | None, int]] = set()
    loaded_once = unknown = 0
    for operation in operations:
        statement = operation.statement
        parameters = operation.parameters
        key = (parameters, statement.literals)
        if key not in seen and (parameters is not None or key[1] or not binds_values(statement.text)):
            seen.add(key)
        elif statement.truncated or (parameters is None and binds_values(statement.text)):
            if operation.load in LOADED_ONCE:
                loaded_once += 1
            else:
                unknown += 1
    return len(seen) + loaded_once, unknown


def places(operations: list[Operation]) -> list[list[Operation]]:
    """Split executions by what ran them.

    A relationship of the ORM counts as one place, wherever it is accessed. Otherwise it is the line of code together
    with the line that called it: the first is often a helper with unrelated callers.
    """
    first = operations[0]
    if len({operation.relationship for operation in operations}) == 1:
        if first.relationship is None:
            alike = len({operation.call_site for operation in operations}) == 1
        else:
            alike = len({operation.load for operation in operations}) == 1
        if alike:
            return [operations]
    parts: dict[object, list[Operation]] = {}
    for operation in operations:
        asked = operation.relationship
        place: object = operation.call_site if asked is None else (asked, operation.load)
        part = parts.get(place)
        if part is None:
            parts[place] = [operation]
        else:
            part.append(operation)
    # Call sites of one place are usually one object, but this is not guaranteed.
    merged: dict[object, list[Operation]] = {}
    for place, part in parts.items():
        key = place if place is None or isinstance(place, tuple) else _position(part[0].call_site)
        merged.setdefault(key, []).extend(part)
    return list(merged.values())


def _position(site: CallSite | None) -> object:
    if site is None:
        return None
    caller = site.caller
    return (site.file, site.line, caller.file, caller.line) if caller is not None else (site.file, site.line)
