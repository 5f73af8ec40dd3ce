"""The queries of a benchmark, and percentiles."""

from __future__ import annotations

import threading
from math import isfinite
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from dbsight import recording, scope, semconv
from dbsight.engines import process_analyzer
from dbsight.formatting import seconds
from dbsight.instrument.libraries import instrument_libraries
from dbsight.report.log_events import LogEvents
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbsight.bench.benchmark import BenchmarkResult
    from dbsight.bench.load import LoadTestResult
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


@guard
def emit(name: str, result: BenchmarkResult | LoadTestResult) -> None:
    """Emit the result of a benchmark or load test as a log event named ``dbsight.bench``."""
    plain = result.plain()
    load = "total_executions" in plain
    mean = plain["average_response_time_ms" if load else "average_ms"]
    rate = plain["executions_per_second" if load else "qps"]
    attributes = {
        semconv.BENCH_NAME: name,
        semconv.BENCH_EXECUTIONS: plain["total_executions" if load else "iterations"],
        semconv.BENCH_RATE: rate if isfinite(rate) else 0.0,
        semconv.BENCH_MEAN: mean / 1e3,
        semconv.BENCH_P50: plain["p50_response_time_ms" if load else "p50_ms"] / 1e3,
        semconv.BENCH_P95: plain["p95_response_time_ms" if load else "p95_ms"] / 1e3,
        semconv.BENCH_MAX: plain["max_response_time_ms" if load else "max_ms"] / 1e3,
        semconv.BENCH_ERROR_RATE: plain["error_rate"] / 100 if load else 0.0,
        semconv.BENCH_QUERIES: plain["queries_per_execution" if load else "queries"],
        semconv.BENCH_DB_TIME: plain["database_ms_per_execution" if load else "database_ms"] / 1e3,
    }
    body = f"{name}: {seconds(mean / 1e3)} on average, {rate:.1f} per second"
    LogEvents().emit(semconv.BENCH_EVENT, SeverityNumber.INFO, body, attributes)


def finish() -> None:
    """Have all queries that are over counted."""
    recording.settle()
