"""Distributed locks on a real server: how they are got, held and lost, and what is said of it."""

import asyncio
import gc
import random
import threading
import time

import pytest
import redis

import dbsight
from dbsight.instrument import locks as instrument


@pytest.fixture
def locked(client, watched):
    """A client, with its locks watched."""
    instrumentor = dbsight.LockInstrumentor()
    instrumentor.instrument(tracer_provider=watched.tracer_provider)
    yield client
    instrumentor.uninstrument()
    instrument._held.clear()


def totals(telemetry):
    """The one lock that there is."""
    (only,) = telemetry.processor.analyzer.snapshot().locks
    return only


def found(telemetry, rule):
    """What a rule about totals says now."""
    analyzer = telemetry.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == rule]
    return list(examiner.examine(analyzer.snapshot()))


def contend(work, number=6):
    """The same work in several threads at once."""
    threads = [threading.Thread(target=work, args=(each,)) for each in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_lock_is_counted_from_its_acquisition_to_its_release(locked, watched):
    """By the template of its name."""
    for number in range(3):
        with locked.lock(f"stock:{number}", timeout=10):
            pass
    seen = totals(watched)
    assert (seen.system, seen.lock, seen.acquired, seen.failed, seen.attempts) == ("redis", "stock:{}", 3, 0, 3)
    assert (seen.releases, seen.contended, seen.leaks) == (3, 0, 0)
    assert 0 < seen.held_max < 5
    (point,) = watched.points("dbsight.lock.acquire.duration")
    assert (point.count, point.attributes["dbsight.lock.name"], point.attributes["dbsight.lock.result"]) == (
        3,
        "stock:{}",
        "acquired",
    )
    assert [point.count for point in watched.points("dbsight.lock.hold.duration")] == [3]


def test_an_asynchronous_lock_is_counted_alike(async_client, locked, watched):
    """Tries are told apart by task."""

    async def work(client):
        async with client.lock("stock", timeout=10, sleep=0.01):
            await asyncio.sleep(0.03)

    async def ask():
        async with async_client() as client:
            await asyncio.gather(*(work(client) for _ in range(3)))

    asyncio.run(ask())
    seen = totals(watched)
    assert (seen.acquired, seen.releases, seen.contended) == (3, 3, 2)
    assert seen.attempts > 3


def test_one_that_was_not_got_in_time_has_failed(locked, watched):
    """Tries and waiting are counted, and there is a span that tells the pauses."""
    with locked.lock("stock", timeout=10), watched.root():
        assert not locked.lock("stock", timeout=10, sleep=0.02, blocking_timeout=0.09).acquire()
    seen = totals(watched)
    assert (seen.acquired, seen.failed) == (1, 1)
    assert seen.attempts >= 4
    span = watched.span("lock acquire")
    assert (span.attributes["dbsight.lock.result"], span.attributes["dbsight.lock.backoff"]) == ("failed", "fixed")
    assert span.attributes["dbsight.lock.retries"] == seen.attempts - 2
    assert span.duration > 0.05


def test_a_lock_that_nobody_can_release_any_more_is_a_leak(locked, watched):
    """The object is collected while the server still has the key; ``with`` gives it back."""
    locked.lock("stock", timeout=None).acquire()
    gc.collect()
    (leak,) = found(watched, "lock_leak")
    assert (leak.severity, leak.category, leak.count) == ("error", "lock", 1)
    assert leak.suggestion == 'with client.lock("stock", timeout=10):\n    …'
    assert leak.call_site.function.endswith("test_a_lock_that_nobody_can_release_any_more_is_a_leak")
    locked.delete("stock")
    watched.processor.analyzer.locks.reset()
    with locked.lock("stock", timeout=10):
        pass
    gc.collect()
    assert found(watched, "lock_leak") == []


def test_a_lock_that_is_held_beyond_its_time_is_a_leak(locked, watched):
    """Its release finds that it belongs to somebody else."""
    lock = locked.lock("stock", timeout=0.02)
    lock.acquire()
    time.sleep(0.05)
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        lock.release()
    assert totals(watched).leaks == 1


def test_trying_at_a_fixed_pace_is_found_and_jitter_is_not(locked, watched):
    """redis-py's own way to wait is a fixed pause."""

    def fixed(_):
        lock = locked.lock("stock", timeout=10, sleep=0.03)
        lock.acquire()
        time.sleep(0.05)
        lock.release()

    def jittered(_):
        lock = locked.lock("stock", timeout=10)
        for attempt in range(30):
            if lock.acquire(blocking=False):
                time.sleep(0.05)
                lock.release()
                return
            time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))

    contend(fixed)
    (slow,) = found(watched, "lock_fixed_retry")
    assert slow.suggestion == (
        "for attempt in range(10):\n"
        "    if lock.acquire(blocking=False):\n"
        "        break\n"
        "    time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))"
    )
    watched.processor.analyzer.locks.reset()
    contend(jittered)
    assert totals(watched).acquired == 6
    assert found(watched, "lock_fixed_retry") == []


def test_a_lock_that_most_wait_for_is_found_and_one_for_each_thing_is_not(locked, watched):
    """Ten workers want the same lock; then each wants that of its own thing."""

    def together(_):
        with locked.lock("stock", timeout=10, sleep=0.01):
            time.sleep(0.02)

    def apart(number):
        with locked.lock(f"stock:{number}", timeout=10, sleep=0.01):
            time.sleep(0.02)

    contend(together, 12)
    (contention,) = found(watched, "lock_contention")
    assert contention.suggestion.startswith('with client.lock(f"stock:{key}", timeout=10):')
    watched.processor.analyzer.locks.reset()
    contend(apart, 12)
    assert found(watched, "lock_contention") == []
