"""What a loop costs: the time of its queries in the driver, and what its client library takes around them."""

from __future__ import annotations

from math import fsum
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from dbsight.detect.median import median

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.detect.history import History
    from dbsight.model import Operation

IN_PROCESS: Final = frozenset({"sqlite", "duckdb"})
"""Databases that run in process."""

REMAINS: Final = 0.05
"""Share of each execution that one statement for all of them takes: measured on PostgreSQL, 5 to 200 keys."""
_REMAINS_IN_PROCESS: Final = 0.1
"""The same where no round trip is saved: measured on SQLite with SQLAlchemy (4 % to 15 %) and without (7 %)."""
_START: Final = attrgetter("start_ns")
_ORM: Final = 0.001
"""s; a longer pause around a query of an ORM is not all its work: SQLAlchemy was measured at 0.2 to 0.5 ms."""
_POOLED: Final = 0.000_5
"""s; the same where the connection is a pool's, as with SQLAlchemy's Core, which was measured at 0.1 to 0.25 ms."""


def saving(operations: Sequence[Operation], history: History, *, again: bool = True) -> float:
    """Seconds that one statement saves in place of these.

    Args:
        operations: The executions of one statement by one loop, with what followed from each.
        history: Of their window.
        again: The statement has to return or write what all of them did: a share of each remains. Otherwise, one
            execution is enough.
    """
    share = 0.0
    if again:
        share = _REMAINS_IN_PROCESS if operations[0].database.system in IN_PROCESS else REMAINS
    return (1 - share) * _cost(operations, history) * (1 - 1 / len(operations))


def _cost(operations: Sequence[Operation], history: History) -> float:
    """Seconds that the loop takes for its queries: never more than passed between its first and its last one.

    The driver's time is a small part of what a query costs in process. What the application does between two queries
    is no cost of theirs, and cannot be told from the work of a library: the usual pause counts up to what a library
    takes, and a single long one does not count. Queries of parallel tasks count once where they overlap.
    """
    ordered = sorted(operations, key=_START)
    covered = end = 0
    for each in ordered:
        start, stop = each.start_ns, each.end_ns
        if stop > end:
            covered += stop - (start if start > end else end)  # noqa: FURB136 - max() costs a call
            end = stop
    in_driver = min(covered / 1e9, fsum([each.duration for each in operations]))
    most = _most(operations[0])
    if most:
        pauses = history.pauses()
        usual = median([pauses[id(each)] for each in operations]) / 2e9  # half of each belongs to its other query
        in_driver += len(operations) * min(usual, most)
    return min((end - ordered[0].start_ns) / 1e9, in_driver)


def _most(operation: Operation) -> float:
    """Seconds that the client library takes around a query at most; 0 where the application calls the driver."""
    django = operation.django
    if operation.model or operation.relationship or operation.flush or (django is not None and not django.raw):
        return _ORM
    return _POOLED if operation.pool is not None else 0.0
