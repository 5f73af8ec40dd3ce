"""Benchmarks of functions: what is measured, and what is not."""

import asyncio
import itertools

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from dbsight.bench import benchmark as module
from dbsight.bench import load
from dbsight.bench.benchmark import benchmark
from dbsight.bench.load import load_test


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No library is instrumented, and no engine started: these functions send nothing."""
    for name in ("prepare", "finish"):
        for each in (module, load):
            monkeypatch.setattr(each, name, lambda: None)


@pytest.fixture
def clock(monkeypatch):
    """Advances when the test says so; gives the function that does."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


def test_the_figures_are_exact_and_the_warm_up_is_excluded(clock):
    """Ten executions of 1 to 10 ms, after two of a second."""
    times = itertools.chain([1.0, 1.0], (number / 1e3 for number in range(1, 11)))
    result = benchmark({"query": lambda: clock(next(times))}, iterations=10, warm_up=2)["query"]
    assert result.iterations == 10
    assert result.average_ms == pytest.approx(5.5)
    assert (result.min_ms, result.max_ms) == (pytest.approx(1.0), pytest.approx(10.0))
    assert (result.p50_ms, result.p95_ms) == (pytest.approx(5.0), pytest.approx(10.0))
    assert result.qps == pytest.approx(10 / 0.055)
    assert len(result.samples_ms) == 10


def test_functions_take_turns():
    """What disturbs the machine disturbs all of them."""
    order = []
    benchmark({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, iterations=2, warm_up=1)
    assert order == ["a", "b"] * 3


def test_coroutine_functions_are_awaited(clock):
    """Also those that a plain function returns."""

    async def query():
        clock(0.25)
        await asyncio.sleep(0)

    results = benchmark({"coroutine": query, "lambda": lambda: query()}, iterations=2, warm_up=0)  # noqa: PLW0108
    assert [result.average_ms for result in results.values()] == [250.0, 250.0]


def test_a_single_function_has_its_own_name():
    """And what raises ends the benchmark."""

    def fine():
        """Nothing."""

    def broken():
        raise LookupError("x")

    assert list(benchmark(fine, 1)) == ["fine"]
    with pytest.raises(LookupError):
        benchmark(broken, 1)
    for wrong in ({}, {"a": fine}):
        with pytest.raises(ValueError, match="at least one"):
            benchmark(wrong, 0)


def test_in_a_running_loop_it_says_what_to_do():
    """A thread has room for another one."""

    async def query():
        """Nothing."""

    async def work():
        with pytest.raises(RuntimeError, match=r"asyncio\.to_thread"):
            benchmark(query, 1)
        with pytest.raises(RuntimeError, match=r"asyncio\.to_thread"):
            load_test(query, 1, 0.01)
        return await asyncio.to_thread(benchmark, query, 1)

    assert asyncio.run(work(), debug=False)["query"].iterations == 1


def test_results_are_log_events(clock, monkeypatch):
    """Of a benchmark and of a load test: the same attributes, times in seconds."""
    exporter = InMemoryLogRecordExporter()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr("dbsight.report.log_events.get_logger_provider", lambda: logs)
    benchmark({"query": lambda: clock(0.25)}, iterations=4, warm_up=0)
    load_test(lambda: None, concurrency=1, duration=0.05)
    first, second = (record.log_record for record in exporter.get_finished_logs())
    assert first.event_name == second.event_name == "dbsight.bench"
    assert dict(first.attributes) == {
        "dbsight.bench.name": "query",
        "dbsight.bench.executions": 4,
        "dbsight.bench.rate": 4.0,
        "dbsight.bench.mean": 0.25,
        "dbsight.bench.p50": 0.25,
        "dbsight.bench.p95": 0.25,
        "dbsight.bench.max": 0.25,
        "dbsight.bench.error_rate": 0.0,
        "dbsight.bench.queries": 0.0,
        "dbsight.bench.db_time": 0.0,
    }
    assert first.body == "query: 250 ms on average, 4.0 per second"
    assert second.attributes.keys() == first.attributes.keys()
