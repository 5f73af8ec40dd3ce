"""``load_test()``: a scenario, run by many users at once."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight import semconv
from dbsight.bench.benchmark import duration_histogram, own_loop, tracer
from dbsight.bench.observed import Observed, emit, finish, prepare
from dbsight.instrument import pools
from dbsight.monitor.quantiles import percentile

if TYPE_CHECKING:
    from collections.abc import Callable

_GRACE: Final = 30.0
"""s that executions may take to end after the last one was begun; then they are cancelled, and errors."""

_SAMPLE_EVERY: Final = 0.1  # s
_MOST_SAMPLES: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class LoadTestResult:
    """What a load test found.

    Attributes:
        total_executions: Executions that ended, failed ones included.
        executions_per_second: Of the wall clock.
        average_response_time_ms: ms; with a constant arrival rate, from the moment at which an execution was due.
        p50_response_time_ms: ms, median.
        p95_response_time_ms: ms, 95th percentile.
        p99_response_time_ms: ms, 99th percentile.
        max_response_time_ms: ms.
        error_rate: Percent of the executions that raised.
        errors: How many raised, by the name of the exception's class.
        duration: s; from the first begin to the last end.
        queries_per_execution: As dbsight observed them in this process.
        database_ms_per_execution: ms; as dbsight observed them in this process.
        pools: By pool: the most connections that were ``active``, and the most requests that were ``waiting``.
    """

    total_executions: int
    executions_per_second: float
    average_response_time_ms: float
    p50_response_time_ms: float
    p95_response_time_ms: float
    p99_response_time_ms: float
    max_response_time_ms: float
    error_rate: float
    errors: dict[str, int] = field(default_factory=dict)
    duration: float = 0.0
    queries_per_execution: float = 0.0
    database_ms_per_execution: float = 0.0
    pools: dict[str, dict[str, int]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As values that JSON knows."""
        return asdict(self)


def load_test(
    scenario: Callable[[], Any],
    concurrency: int = 50,
    duration: float = 60.0,
    *,
    rate: float | None = None,
    warm_up: float = 0.0,
    progress: Callable[[float, int], object] | None = None,
) -> LoadTestResult:
    """Run a scenario many times at once. A synchronous function: it returns when the test is over.

    Without ``rate`` the loop is *closed*: each user begins again when the execution before has ended, so a stall of the
    system keeps the users from asking, and hides itself. With ``rate`` it is *open*: executions are due at a constant
    rate, and what they wait for a free user belongs to their response time (coordinated omission is avoided).

    Args:
        scenario: A coroutine function, or a function, which runs in a thread.
        concurrency: Users: executions at the same time.
        duration: s in which executions are begun; those that run then are waited for, 30 s at most.
        rate: Executions to begin per second; None begins one when another ends.
        warm_up: s before, which are not measured.
        progress: Called from the test with the s that have passed and the executions so far, every 0.1 s.

    Returns:
        Response times in ms, and what failed: an execution that raises is counted, and does not end the test.

    Raises:
        ValueError: A number is not above zero.
        RuntimeError: It is called where an event loop runs.

    Example:
        >>> load_test(lambda: None, concurrency=1, duration=0.05).error_rate
        0.0
    """
    if concurrency < 1 or duration <= 0 or warm_up < 0 or (rate is not None and rate <= 0):
        raise ValueError("concurrency, duration and rate are numbers above zero")
    prepare()
    loop = own_loop()
    try:
        with ThreadPoolExecutor(concurrency, thread_name_prefix="load") as threads:
            if warm_up:
                loop.run_until_complete(_Test(scenario, threads, concurrency, warm_up, rate, None).run())
            test = _Test(scenario, threads, concurrency, duration, rate, progress)
            loop.run_until_complete(test.run())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    finish()
    result = test.result()
    emit(test.name, result)
    return result


class _Test:
    """One test while it runs."""

    def __init__(
        self,
        scenario: Callable[[], Any],
        threads: ThreadPoolExecutor,
        concurrency: int,
        duration: float,
        rate: float | None,
        progress: Callable[[float, int], object] | None,
    ) -> None:
        self._scenario = scenario
        self._asynchronous = inspect.iscoroutinefunction(scenario)
        self._threads = threads
        self._concurrency = concurrency
        self._duration = duration
        self._rate = rate
        self._progress = progress
        self.name = getattr(scenario, "__name__", "scenario")
        self._observed = Observed()
        self._histogram = duration_histogram()
        self._seconds: list[float] = []
        self._count = 0
        self._total = 0.0
        self._errors: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pools: dict[str, dict[str, int]] = {}
        self._begun = 0
        self._first = self._last = 0.0

    # -- Running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """All users, until the time is over and their executions have ended."""
        self._first = perf_counter()
        end = self._first + self._duration
        users = [asyncio.ensure_future(self._user(end)) for _ in range(self._concurrency)]
        watching = asyncio.ensure_future(self._watch())
        try:
            _, late = await asyncio.wait(users, timeout=self._duration + _GRACE)
            for user in late:
                user.cancel()
                with self._lock:
                    self._count += 1
                    self._errors["TimeoutError"] += 1
            await asyncio.gather(*users, return_exceptions=True)
            for user in users:
                if not user.cancelled():
                    user.result()  # raises what is not the scenario's: an interrupt
        finally:
            self._last = perf_counter()
            watching.cancel()

    async def _user(self, end: float) -> None:
        while (due := self._next()) < end:
            now = perf_counter()
            if due > now:
                await asyncio.sleep(due - now)
            await self._execute(due if self._rate else perf_counter())
            await asyncio.sleep(0)  # a scenario that never waits must not keep the other users from theirs

    def _next(self) -> float:
        """When the next execution is due."""
        if self._rate is None:
            return perf_counter()
        self._begun += 1
        return self._first + (self._begun - 1) / self._rate

    async def _execute(self, due: float) -> None:
        error = None
        try:
            if self._asynchronous:
                await self._once()
            else:
                context = contextvars.copy_context()
                await asyncio.get_running_loop().run_in_executor(self._threads, context.run, self._once_in_thread)
        except Exception as raised:  # whatever the scenario raises is what is measured
            error = type(raised).__name__
        seconds = perf_counter() - due
        self._histogram.record(seconds, {semconv.BENCH_NAME: self.name})
        with self._lock:
            self._count += 1
            self._total += seconds
            if len(self._seconds) < _MOST_SAMPLES:
                self._seconds.append(seconds)
            if error is not None:
                self._errors[error] += 1

    async def _once(self) -> None:
        with tracer().start_as_current_span(semconv.BENCH_SPAN, attributes={semconv.BENCH_NAME: self.name}):
            self._observed.begin()
            try:
                await self._scenario()
            finally:
                self._observed.end()

    def _once_in_thread(self) -> None:
        with tracer().start_as_current_span(semconv.BENCH_SPAN, attributes={semconv.BENCH_NAME: self.name}):
            self._observed.begin()
            try:
                self._scenario()
            finally:
                self._observed.end()

    async def _watch(self) -> None:
        """Look at the pools, and tell of the progress."""
        while True:
            for state in pools.snapshots():
                seen = self._pools.setdefault(state.name, {"active": 0, "waiting": 0})
                seen["active"] = max(seen["active"], state.used)
                seen["waiting"] = max(seen["waiting"], state.pending)
            if self._progress is not None:
                self._progress(perf_counter() - self._first, self._count)
            await asyncio.sleep(_SAMPLE_EVERY)

    # -- What was found -------------------------------------------------------------------------------------------

    def result(self) -> LoadTestResult:
        """When the test is over."""
        ordered = sorted(self._seconds)
        count = self._count
        errors = sum(self._errors.values())
        duration = self._last - self._first
        return LoadTestResult(
            count,
            count / duration if duration else 0.0,
            self._total / len(ordered) * 1e3 if ordered else 0.0,
            percentile(ordered, 50) * 1e3,
            percentile(ordered, 95) * 1e3,
            percentile(ordered, 99) * 1e3,
            ordered[-1] * 1e3 if ordered else 0.0,
            errors / count * 100 if count else 0.0,
            dict(self._errors),
            duration,
            self._observed.queries / count if count else 0.0,
            self._observed.seconds / count * 1e3 if count else 0.0,
            self._pools,
        )
