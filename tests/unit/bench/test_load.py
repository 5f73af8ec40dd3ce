"""Load tests: who is counted, and what a stall does to the figures."""

import asyncio
import threading
import time

import pytest

from dbsight.bench import load as module
from dbsight.bench.load import load_test


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No library is instrumented, and no engine started: these scenarios send nothing."""
    for name in ("prepare", "finish"):
        monkeypatch.setattr(module, name, lambda: None)


def test_errors_are_counted_in_percent_and_by_class():
    """Every tenth execution raises."""
    number = 0

    async def scenario():
        nonlocal number
        number += 1
        mine = number
        await asyncio.sleep(0.001)
        if mine % 10 == 0:
            raise LookupError(mine)

    result = load_test(scenario, concurrency=5, duration=0.3)
    assert result.total_executions == number
    assert result.errors == {"LookupError": number // 10}
    assert result.error_rate == pytest.approx(100 * (number // 10) / number)
    assert result.average_response_time_ms >= 1
    assert result.p50_response_time_ms <= result.p95_response_time_ms <= result.max_response_time_ms
    assert result.executions_per_second == pytest.approx(number / result.duration)


@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_as_many_run_at_once_as_there_are_users(kind):
    """Functions run in threads."""
    running, most = 0, 0
    lock = threading.Lock()

    def change(by):
        nonlocal running, most
        with lock:
            running += by
            most = max(most, running)

    async def coroutine():
        change(1)
        await asyncio.sleep(0.01)
        change(-1)

    def function():
        change(1)
        time.sleep(0.01)
        change(-1)

    load_test(coroutine if kind == "coroutine" else function, concurrency=7, duration=0.2)
    assert most == 7


def test_a_constant_rate_shows_the_stall_that_a_closed_loop_hides():
    """The system stands still once for 0.3 s: one user notices, and thirty would have."""

    def stalls():
        begun = time.perf_counter()
        lock = threading.Lock()

        def scenario():
            with lock:
                if 0.1 < time.perf_counter() - begun < 0.4:
                    time.sleep(0.3)

        return scenario

    closed = load_test(stalls(), concurrency=1, duration=0.6)
    opened = load_test(stalls(), concurrency=1, duration=0.6, rate=100)
    assert closed.p95_response_time_ms < 100
    assert opened.p95_response_time_ms > 100
    assert opened.total_executions == 60


def test_what_does_not_end_is_cancelled_and_counts_as_an_error(monkeypatch):
    """After the time that executions have to end."""
    monkeypatch.setattr(module, "_GRACE", 0.1)

    async def scenario():
        await asyncio.sleep(60)

    result = load_test(scenario, concurrency=2, duration=0.05)
    assert (result.total_executions, result.errors, result.error_rate) == (2, {"TimeoutError": 2}, 100.0)


def test_progress_is_told_and_the_warm_up_is_not_counted():
    """The seconds that have passed, and the executions."""
    told = []
    calls = []

    async def scenario():
        calls.append(1)
        await asyncio.sleep(0.02)

    result = load_test(scenario, 1, 0.3, warm_up=0.1, progress=lambda *progress: told.append(progress))
    assert len(told) >= 2
    assert told == sorted(told)
    assert result.total_executions < len(calls)


def test_numbers_that_make_no_sense_are_refused():
    """With one sentence."""
    for wrong in ({"concurrency": 0}, {"duration": 0}, {"rate": 0}):
        with pytest.raises(ValueError, match="above zero"):
            load_test(lambda: None, **wrong)
