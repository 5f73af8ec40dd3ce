"""The queries of a benchmark, and percentiles."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from dbsight import scope
from dbsight.distro import instrument_libraries
from dbsight.processor import process_analyzer
from dbsight.profiler import settle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbsight.model import Operation


class Observed:
    """Counts the queries of what runs between ``begin`` and ``end``, also of several threads and tasks at once.

    Attributes:
        queries: Queries and commands; without pings, connection set-up and statements of transactions.
        seconds: s in the database, of all together.
        failed: Of the queries, those that ended with an error.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.queries = 0
        self.seconds = 0.0
        self.failed = 0

    def add(self, operation: Operation, _: Mapping[str, Any] | None = None) -> None:
        """Take in one query; called in the drain."""
        if not operation.statement.is_work:
            return
        with self._lock:
            self.queries += 1
            self.seconds += operation.duration
            self.failed += operation.error_type is not None

    def begin(self) -> None:
        """Count what begins here from now on."""
        scope.profile(self)

    def end(self) -> None:
        """Count no more of what begins here."""
        scope.stop_profiling(self)


def prepare() -> None:
    """Instrument what is installed, and start the engine."""
    instrument_libraries()
    process_analyzer()


def finish() -> None:
    """Have all queries that are over counted."""
    settle()
