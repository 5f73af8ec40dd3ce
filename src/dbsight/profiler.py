"""Profile a block of code: its queries, their times, and the N+1s among them; measure operations by name."""

from __future__ import annotations

import functools
import html
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.metrics import get_meter_provider

from dbsight import config, recording, scope, semconv
from dbsight.detect.runner import RuleRunner
from dbsight.detect.window import Window
from dbsight.engines import process_analyzer
from dbsight.formatting import counted
from dbsight.instrument.libraries import instrument_libraries
from dbsight.monitor.quantiles import percentile
from dbsight.recording import OpenWindow
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.metrics import MeterProvider
    from typing_extensions import Self

    from dbsight.model import Finding, Operation

_MOST: Final = 10_000
"""Queries that one profile remembers; further ones are counted."""

_MAX_NAMES: Final = 500


@dataclass(frozen=True, slots=True)
class ProfiledQuery:
    """One query of a profile.

    Attributes:
        sql: Sanitised text; as executed where ``query_text`` is ``raw``.
        params: Bound values by name or position, where ``parameters`` is ``full``; else None.
        duration_ms: ms inside driver calls.
        row_count: Rows returned or written, None when unknown.
        call_site: ``file:line`` of the application, empty when unknown.
        summary: ``SELECT orders``.
        fingerprint: The same for the same query with other values.
        failed: It ended with an error.
    """

    sql: str
    params: Mapping[str, Any] | None
    duration_ms: float
    row_count: int | None
    call_site: str
    summary: str
    fingerprint: str
    failed: bool


@dataclass(frozen=True, slots=True)
class NPlusOne:
    """A query that was repeated for each row of another one.

    Attributes:
        description: What was seen, in a sentence or two.
        main_query: Text of the query before the first repetition, empty when there was none.
        repeated_query: Text of the query that was repeated.
        count: Executions.
        suggestion: Code that can be pasted.
        call_site: ``file:line`` of the application, empty when unknown.
    """

    description: str
    main_query: str
    repeated_query: str
    count: int
    suggestion: str
    call_site: str


class _Entered(scope.Block):
    """One entering of a profile: calls of a decorated function may overlap, and each leaves its own span."""

    def __init__(self, profile: QueryProfiler) -> None:
        self._profile = profile
        self._stack = ExitStack()
        self.began = 0.0

    def __enter__(self) -> Self:
        _instrument()
        process_analyzer()
        self.began = perf_counter()
        tracer = trace.get_tracer(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
        self._stack.enter_context(tracer.start_as_current_span(semconv.PROFILE_SPAN))
        scope.profile(self._profile)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope.stop_profiling(self._profile)
        recording.settle()
        self._profile.took(perf_counter() - self.began)
        self._stack.__exit__(kind, error, traceback)


class QueryProfiler(scope.Block):
    """Collects the queries that run while it is entered, in this thread or task and in those that it starts.

    It works with and without an OpenTelemetry set-up, as a context manager and a decorator, for sync and async code.
    Profiles can be nested: each has what ran inside it. The supported libraries are instrumented when the first profile
    begins, and stay so. Pings and connection setup are left out.

    Args:
        analyze: The summary names the findings of all rules, too.

    Attributes:
        total_duration_ms: ms of all queries together.
        query_count: How many ran; 10 000 are remembered one by one.

    Example:
        >>> with QueryProfiler() as profiler:
        ...     pass
        >>> profiler.query_count
        0
    """

    def __init__(self, analyze: bool = False) -> None:
        self._analyze = analyze
        self._lock = threading.RLock()  # re-entrant: a finalizer may run a query
        self._operations: list[Operation] = []
        self._extra: list[Mapping[str, Any] | None] = []
        self._entered: list[_Entered] = []
        self.query_count = 0
        self.total_duration_ms = 0.0
        self.duration_ms = 0.0

    # -- Collecting -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._entered.append(_Entered(self).__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, traceback)

    def _again(self) -> _Entered:
        return _Entered(self)

    def took(self, seconds: float) -> None:
        """Take in how long it was entered."""
        with self._lock:
            self.duration_ms += seconds * 1e3

    def add(self, operation: Operation, extra: Mapping[str, Any] | None = None) -> None:
        """Take in one query that ran inside; called in the drain."""
        statement = operation.statement
        if statement.ping or statement.setup:
            return
        with self._lock:
            self.query_count += 1
            self.total_duration_ms += operation.duration * 1e3
            if len(self._operations) < _MOST:
                self._operations.append(operation)
                self._extra.append(extra)

    # -- What was collected ---------------------------------------------------------------------------------------

    @property
    def average_duration_ms(self) -> float:
        """Mean of the queries, ms; 0 when none ran."""
        return self.total_duration_ms / self.query_count if self.query_count else 0.0

    @property
    def queries(self) -> list[ProfiledQuery]:
        """The queries in the order of their ends; while the profile is open, those that are over."""
        recording.drain()
        with self._lock:
            return [_query(*each) for each in zip(self._operations, self._extra, strict=True)]

    def detect_n_plus_one(self) -> list[NPlusOne]:
        """The N+1s among the queries, most time saved first."""
        return [self._n_plus_one(found) for found in self.findings() if found.rule == "n_plus_one"]

    def findings(self) -> list[Finding]:
        """What all enabled rules about queries find in this profile alone, most time saved first."""
        recording.drain()
        with self._lock:
            operations = list(self._operations)
        seconds = self.duration_ms / 1e3
        if not seconds and self._entered:  # it is still open
            seconds = perf_counter() - self._entered[0].began
        window = OpenWindow(semconv.PROFILE_SPAN, 0, 0, 0)
        RuleRunner(config.current()).complete(window, Window(semconv.PROFILE_SPAN, 0, operations, duration=seconds))
        return sorted(window.findings.values(), key=lambda found: -found.impact)

    def _n_plus_one(self, found: Finding) -> NPlusOne:
        statement = found.statement
        fingerprint = statement.fingerprint if statement is not None else ""
        main = ""
        for operation in self._operations:
            if operation.statement.fingerprint == fingerprint:
                break
            main = operation.statement.text
        return NPlusOne(
            found.description,
            main,
            statement.text if statement is not None else "",
            found.count,
            found.suggestion,
            str(found.call_site) if found.call_site is not None else "",
        )

    def _groups(self) -> list[tuple[str, int, float, float, int, str, str]]:
        """Summary, count, total and 95th percentile (ms), rows, line and fingerprint, most time first."""
        groups: dict[str, list[ProfiledQuery]] = {}
        for query in self.queries:
            groups.setdefault(query.fingerprint, []).append(query)
        rows = []
        for fingerprint, group in groups.items():
            durations = sorted(each.duration_ms for each in group)
            p95 = percentile(durations, 95)
            returned = sum(each.row_count or 0 for each in group)
            rows.append((group[0].summary, len(group), sum(durations), p95, returned, group[0].call_site, fingerprint))
        return sorted(rows, key=lambda row: -row[2])

    def summary(self) -> str:
        """A table of the queries by fingerprint: executions, total, 95th percentile, rows, line of code."""
        spent = f"{self.total_duration_ms:.2f} ms in the database, {self.average_duration_ms:.2f} ms on average"
        lines = [f"{counted(self.query_count, 'query', 'queries')}, {spent}"]
        rows = [
            (name, str(count), f"{total:.2f}", f"{p95:.2f}", str(returned), where, fingerprint)
            for name, count, total, p95, returned, where, fingerprint in self._groups()
        ]
        if rows:
            table = [("query", "n", "total ms", "p95 ms", "rows", "where", "fingerprint"), *rows]
            widths = [max(len(row[column]) for row in table) for column in range(7)]
            for row in table:
                cells = [
                    cell.rjust(width) if 0 < column < 5 else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                ]
                lines.append("  ".join(cells).rstrip())
        if self._analyze:
            for found in self.findings():
                lines += ["", f"{found.severity}: {found.title}", f"  {found.description}"]
                lines += [f"  fix  {line}" for line in found.suggestion.splitlines()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        head = "".join(f"<th>{name}</th>" for name in ("query", "n", "total ms", "p95 ms", "rows", "where"))
        body = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{count}</td><td>{total:.2f}</td><td>{p95:.2f}</td><td>{rows}</td>"
            f"<td>{html.escape(where)}</td></tr>"
            for name, count, total, p95, rows, where, _ in self._groups()
        )
        found = "".join(
            f"<li>{html.escape(each.description)}<pre>{html.escape(each.suggestion)}</pre></li>"
            for each in self.detect_n_plus_one()
        )
        caption = f"{counted(self.query_count, 'query', 'queries')}, {self.total_duration_ms:.2f} ms"
        table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<ul>{found}</ul>" if found else table

    def __repr__(self) -> str:
        return f"<QueryProfiler {counted(self.query_count, 'query', 'queries')}, {self.total_duration_ms:.2f} ms>"


def profile(analyze: bool = False) -> QueryProfiler:
    """Profile a block of code or, as a decorator, a function.

    Args:
        analyze: As for ``QueryProfiler``.

    Example:
        >>> with profile() as p:
        ...     pass
        >>> p.queries
        []
    """
    return QueryProfiler(analyze)


@functools.lru_cache(maxsize=1)
def _instrument() -> None:
    """Instrument what is installed, once: a decorated function would look for it at each call."""
    instrument_libraries()


def _query(operation: Operation, extra: Mapping[str, Any] | None) -> ProfiledQuery:
    statement = operation.statement
    extra = extra or {}
    prefix = semconv.DB_QUERY_PARAMETER
    params = {name[len(prefix) :]: value for name, value in extra.items() if name.startswith(prefix)}
    rows = operation.rows if operation.affected is None else operation.affected
    return ProfiledQuery(
        extra.get(semconv.DB_QUERY_TEXT, statement.text),
        params or None,
        operation.duration * 1e3,
        rows,
        str(operation.call_site) if operation.call_site is not None else "",
        statement.summary or operation.database.system,
        statement.fingerprint,
        operation.error_type is not None,
    )


# -- Operations by name -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Measured:
    """How long the operations of one name took.

    Attributes:
        count: How many ended.
        total: s.
        min: s.
        max: s.
    """

    count: int = 0
    total: float = 0.0
    min: float = float("inf")
    max: float = 0.0

    @property
    def average(self) -> float:
        """Mean, s; 0 when none ended."""
        return self.total / self.count if self.count else 0.0


class _Measure(scope.Block):
    """One operation, from its begin to its end."""

    def __init__(self, monitor: PerformanceMonitor, operation: str) -> None:
        self._monitor = monitor
        self._operation = operation
        self._stack = ExitStack()
        self._began = 0.0

    def __enter__(self) -> Self:
        tracer = trace.get_tracer(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
        self._stack.enter_context(tracer.start_as_current_span(self._operation))
        self._began = perf_counter()
        return self

    def _again(self) -> _Measure:
        return _Measure(self._monitor, self._operation)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._monitor.add(self._operation, perf_counter() - self._began)
        self._stack.__exit__(kind, error, traceback)


class PerformanceMonitor:
    """Measures operations by name: an INTERNAL span each, and the histogram ``dbsight.operation.duration``.

    Thread-safe; 500 names are told apart, further ones are ``other``.

    Args:
        meter_provider: Of the histogram; None takes the global one.

    Attributes:
        metrics: What was measured, by name.
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        self._lock = threading.RLock()
        self.metrics: dict[str, Measured] = {}
        self._histogram = (
            (meter_provider or get_meter_provider())
            .get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
            .create_histogram(
                semconv.METRIC_MEASURED,
                unit="s",
                description="Duration of operations that the application measures by name.",
                explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
            )
        )

    def measure(self, operation: str) -> _Measure:
        """Measure a block of code: ``with monitor.measure("create"):``, also ``async with``."""
        return _Measure(self, operation)

    def add(self, operation: str, seconds: float) -> None:
        """Count one operation that took so many seconds."""
        with self._lock:
            if operation not in self.metrics and len(self.metrics) >= _MAX_NAMES:
                operation = semconv.OTHER
            measured = self.metrics.setdefault(operation, Measured())
            measured.count += 1
            measured.total += seconds
            measured.min = min(measured.min, seconds)
            measured.max = max(measured.max, seconds)
        self._histogram.record(seconds, {semconv.OPERATION: operation})

    def __repr__(self) -> str:
        return f"<PerformanceMonitor {counted(len(self.metrics), 'operation')}>"

    def report(self) -> str:
        """A line per operation with average, minimum and maximum in ms; printed, and returned."""
        with self._lock:
            lines = [
                f"{name}: avg={each.average * 1e3:.2f}ms min={each.min * 1e3:.2f}ms max={each.max * 1e3:.2f}ms"
                for name, each in self.metrics.items()
            ]
        written = "\n".join(lines) or "nothing was measured"
        print(written)  # noqa: T201 - what it is for
        return written


@functools.lru_cache(maxsize=1)
def _process_monitor() -> PerformanceMonitor:
    return PerformanceMonitor()


def measure(operation: str) -> _Measure:
    """Measure a block of code in the monitor of the process: ``with dbsight.measure("create"):``.

    Args:
        operation: Name of its span and of its numbers; 500 names are told apart, further ones are ``other``.

    Returns:
        A context manager and a decorator, for sync and async code; what the block raises passes through.
    """
    return _process_monitor().measure(operation)


def measurements() -> PerformanceMonitor:
    """The monitor that ``dbsight.measure`` adds to, one in each process."""
    return _process_monitor()
