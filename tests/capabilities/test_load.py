"""A load of 64 threads and as many tasks, with callbacks that raise, sleep and query: nothing is lost."""

import asyncio
import threading
import time
from collections import Counter

import pytest

from dbsight import DatabasePerformanceMonitor, analyzer

THREADS = 64
QUERIES = 40
"""Of each thread; one of every other thread is slow."""

SLOW = THREADS // 2
"""Fewer than the slow queries that are remembered: each of them is an alert."""


@pytest.mark.swallows_errors
def test_64_threads_with_callbacks_that_raise_sleep_and_query_lose_nothing(exported):
    """Every query is a span and is counted, every slow one reaches every callback once."""
    monitor = DatabasePerformanceMonitor()
    heard = {"raising": Counter(), "sleeping": Counter(), "asking": Counter()}

    def raising(alert):
        heard["raising"][alert.current_value] += 1
        raise RuntimeError(alert.message)

    def sleeping(alert):
        time.sleep(0.001)
        heard["sleeping"][alert.current_value] += 1

    def asking(alert):
        heard["asking"][alert.current_value] += 1
        if alert.current_value < 2:  # an alert for the query of each alert, and none for the query of that
            monitor.record_query("SELECT 1 AS one FROM alerts", 1 + alert.current_value)
            monitor.get_alerts()

    for callback in (raising, sleeping, asking):
        monitor.register_alert_callback(callback)
    ready = threading.Barrier(THREADS)

    def work(number):
        ready.wait(30)
        for each in range(QUERIES):
            slow = each == QUERIES // 2 and number % 2
            monitor.record_query("UPDATE t SET a = 1", 1 + number / 1000 if slow else 0.001)
            if slow:
                monitor.get_alerts()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    monitor.get_alerts()
    assert analyzer.on_alert.wait(30)
    monitor.get_alerts()  # those of the queries that the callbacks sent
    assert analyzer.on_alert.wait(30)
    stats = monitor.get_stats()
    assert (stats.update_queries, stats.select_queries) == (THREADS * QUERIES, SLOW)
    assert stats.slow_queries == 2 * SLOW
    slow = {1 + number / 1000 for number in range(1, THREADS, 2)}
    for name, counter in heard.items():
        counted = Counter(round(value, 3) for value in counter.elements())
        assert counted == Counter(round(value, 3) for first in slow for value in (first, 1 + first)), name
    assert sum(span.kind.name == "CLIENT" for span in exported()) == THREADS * QUERIES + SLOW


def test_tasks_that_are_gathered_are_counted_exactly(exported):
    """As those of threads are."""
    monitor = DatabasePerformanceMonitor()

    async def work(number):
        for _ in range(10):
            monitor.record_query("SELECT a FROM t", 0.001, ValueError() if number % 4 == 0 else None)
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(work(number) for number in range(THREADS)))

    asyncio.run(main())
    stats = monitor.get_stats()
    assert (stats.total_queries, stats.failed_queries) == (THREADS * 10, THREADS * 10 // 4)
    assert sum(span.kind.name == "CLIENT" for span in exported()) == THREADS * 10
