"""Reads that ask for the same thing in many units of work, over the life of the process."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Final

from dbsight.model import RepeatedRead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model import Operation, Statement

_MAX_READS: Final = 1000
"""Queries with their values that are told apart; when there are more, one that was not seen lately is forgotten."""
_MAX_TABLES: Final = 1000
_WEIGHED: Final = 50
"""How many are looked at, to forget one."""
_OFTEN: Final = 2
_REPORTED: Final = 100
_TRACE: Final = 0
"""Index of the trace id in a ``SpanContext``, which is a tuple: the property costs a call."""


class _Read:
    """One query with one set of values."""

    __slots__ = ("allowed", "call_site", "database", "statement", "times", "total", "trace", "weighed", "writes")

    def __init__(self, operation: Operation, writes: int) -> None:
        self.statement = operation.statement
        self.database = operation.database
        self.call_site = operation.call_site
        self.allowed = operation.allowed
        self.times = 0
        self.weighed = 1
        self.total = 0.0
        self.trace = 0
        self.writes = writes


class Reads:
    """Counts reads by statement, database and values; threads may call everything at any time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, the lock included: in a forked child it may belong to a thread that is not there."""
        self._lock = RLock()  # a finaliser that runs a query while this thread is inside must not hang
        self._reads: dict[tuple[str, str, int, int], _Read] = {}
        self._writes: dict[str, int] = {}

    def took(self, operations: Sequence[Operation]) -> None:
        """Count operations of one statement on one database with one outcome."""
        first = operations[0]
        statement = first.statement
        if statement.operation or first.error_type is not None:
            return
        if statement.written:
            with self._lock:
                for table in statement.written:
                    if table in self._writes or len(self._writes) < _MAX_TABLES:
                        self._writes[table] = self._writes.get(table, 0) + len(operations)
        elif statement.kind == "select" and not (statement.catalogue or statement.ping or statement.blocking):
            fingerprint, database, reads = statement.fingerprint, first.database.key, self._reads
            with self._lock:
                for operation in operations:
                    parameters, parent = operation.parameters, operation.parent or operation.context
                    if parameters is not None and parent is not None:
                        key = (fingerprint, database, parameters, operation.statement.literals)
                        read = reads.get(key) or self._add(key, operation)
                        read.total += operation.duration
                        trace = parent[_TRACE]
                        if trace != read.trace:  # again in one unit of work it is redundant_query's
                            read.trace = trace
                            read.times += 1

    def _add(self, key: tuple[str, str, int, int], operation: Operation) -> _Read:
        if len(self._reads) >= _MAX_READS:
            self._forget()
        read = self._reads[key] = _Read(operation, self._written(operation.statement))
        return read

    def _written(self, statement: Statement) -> int:
        return sum([self._writes.get(table, 0) for table in statement.targets])

    def _forget(self) -> None:
        """Drop the oldest one that did not run since it was weighed last; of those that did, none but by chance."""
        for _ in range(_WEIGHED):
            key = next(iter(self._reads))
            read = self._reads.pop(key)
            if read.times <= read.weighed:
                return
            read.weighed = read.times
            self._reads[key] = read
        del self._reads[next(iter(self._reads))]

    def totals(self) -> Sequence[RepeatedRead]:
        """Those that were sent in several units of work, most time first; bounded."""
        with self._lock:
            found = [
                RepeatedRead(
                    statement=read.statement,
                    database=read.database,
                    call_site=read.call_site,
                    times=read.times,
                    total=read.total,
                    writes=self._written(read.statement) - read.writes,
                    allowed=read.allowed,
                )
                for read in self._reads.values()
                if read.times >= _OFTEN
            ]
        return sorted(found, key=lambda read: -read.total)[:_REPORTED]
