"""``benchmark()``: how long queries take, one after the other."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.metrics import get_meter_provider

from dbsight import semconv
from dbsight.bench.observed import Observed, emit, finish, prepare
from dbsight.monitor.quantiles import percentile
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.metrics import Histogram, MeterProvider

_WARM_UP: Final = 5
"""Executions that are not measured: connections are opened, statements compiled, caches filled."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """How long one function took.

    Attributes:
        iterations: Measured executions.
        average_ms: ms, mean by the wall clock.
        min_ms: ms.
        max_ms: ms.
        p50_ms: ms, median.
        p95_ms: ms, 95th percentile.
        qps: Executions per second of the wall clock.
        queries: Queries per execution, as dbsight observed them.
        database_ms: ms in the database per execution, as dbsight observed them.
        samples_ms: ms; each execution, in order.
    """

    iterations: int
    average_ms: float
    min_ms: float
    max_ms: float
    p50_ms: float
    p95_ms: float
    qps: float
    queries: float
    database_ms: float
    samples_ms: tuple[float, ...] = field(repr=False, default=())

    @classmethod
    def of(cls, seconds: list[float], observed: Observed) -> BenchmarkResult:
        """Made from the executions of one function."""
        ordered = sorted(seconds)
        count, total = len(seconds), sum(seconds)
        return cls(
            count,
            total / count * 1e3,
            ordered[0] * 1e3,
            ordered[-1] * 1e3,
            percentile(ordered, 50) * 1e3,
            percentile(ordered, 95) * 1e3,
            count / total if total else float("inf"),
            observed.queries / count,
            observed.seconds / count * 1e3,
            tuple(each * 1e3 for each in seconds),
        )

    def plain(self) -> dict[str, Any]:
        """As values that JSON knows."""
        return asdict(self)


def benchmark(
    queries: Mapping[str, Callable[[], Any]] | Callable[[], Any],
    iterations: int = 100,
    *,
    warm_up: int = _WARM_UP,
) -> dict[str, BenchmarkResult]:
    """Measure functions that send queries.

    Every execution is an INTERNAL span ``dbsight.bench`` and a value of the metric ``dbsight.bench.duration``; each
    result is a log event ``dbsight.bench``. Several functions take turns, so that what disturbs the machine disturbs
    all of them. What a function returns must be read by it: a query that nobody fetches is not measured.

    Args:
        queries: Functions or coroutine functions without arguments, by name; a single one is called by its own name.
        iterations: Measured executions of each.
        warm_up: Executions of each that are not measured.

    Returns:
        The results by name.

    Raises:
        ValueError: No function, or no iteration, was asked for.
        RuntimeError: A coroutine function is measured where an event loop runs: use ``asyncio.to_thread``.

    Example:
        >>> benchmark({"nothing": lambda: None}, iterations=10)["nothing"].iterations
        10
    """
    named = dict(queries) if isinstance(queries, Mapping) else {getattr(queries, "__name__", "query"): queries}
    if not named or iterations < 1 or warm_up < 0:
        raise ValueError("benchmark() needs at least one function and one iteration")
    prepare()
    loop = _Loop()
    runs = [_Run(name, function, loop) for name, function in named.items()]
    try:
        for _ in range(warm_up):
            for run in runs:
                run.warm_up()
        for _ in range(iterations):
            for run in runs:
                run.execute()
    finally:
        loop.close()
        finish()
    results = {run.name: BenchmarkResult.of(run.seconds, run.observed) for run in runs}
    for name, result in results.items():
        emit(name, result)
    return results


class _Run:
    """One function, and its executions."""

    def __init__(self, name: str, function: Callable[[], Any], loop: _Loop) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.observed = Observed()
        self._function = function
        self._loop = loop
        self._histogram = duration_histogram()

    def warm_up(self) -> None:
        """Run the function once without measuring it."""
        self._once()

    def execute(self) -> None:
        """Run the function once."""
        with tracer().start_as_current_span(semconv.BENCH_SPAN, attributes={semconv.BENCH_NAME: self.name}):
            self.observed.begin()
            try:
                seconds = self._once()
            finally:
                self.observed.end()
        self.seconds.append(seconds)
        self._histogram.record(seconds, {semconv.BENCH_NAME: self.name})

    def _once(self) -> float:
        began = perf_counter()
        result = self._function()
        if inspect.isawaitable(result):
            return self._loop.time(result)
        return perf_counter() - began


class _Loop:
    """An event loop for the coroutines among the functions, made when it is needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def time(self, waiting: Awaitable[Any]) -> float:
        """Await something; gives the s that it took, without starting the loop."""

        async def timed() -> float:
            began = perf_counter()
            await waiting
            return perf_counter() - began

        if self._loop is None:
            try:
                self._loop = own_loop()
            except RuntimeError:
                if inspect.iscoroutine(waiting):
                    waiting.close()
                raise
        return self._loop.run_until_complete(timed())

    def close(self) -> None:
        """The loop is over."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


def own_loop() -> asyncio.AbstractEventLoop:
    """A new event loop for this thread.

    Raises:
        RuntimeError: One runs here already.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.new_event_loop()
    raise RuntimeError("an event loop runs in this thread: await asyncio.to_thread(…) instead")


def tracer() -> trace.Tracer:
    """For the spans of executions."""
    return trace.get_tracer(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)


def duration_histogram(provider: MeterProvider | None = None) -> Histogram:
    """The metric ``dbsight.bench.duration`` of a meter provider; None takes the global one."""
    meter = (provider or get_meter_provider()).get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
    return meter.create_histogram(
        semconv.METRIC_BENCH,
        unit="s",
        description="Duration of one execution in a benchmark or load test.",
        explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
    )
