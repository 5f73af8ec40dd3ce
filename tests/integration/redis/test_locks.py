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
from suggested import applied
from waiting import until


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


def tries(client):
    """How often somebody has tried for a lock since the server's statistics began, as the server counts."""
    return client.info("commandstats").get("cmdstat_set", {}).get("calls", 0)


def tried(lock):
    """How often one lock has been tried for."""
    trying = vars(lock).get("_dbsight_trying")
    return trying.count if trying is not None else 0


def contend(client, work, number=6, *, each=4):
    """The same work in several threads, while the lock is held until each has tried for it so often."""
    with client.lock("stock", timeout=60):
        client.config_resetstat()
        threads = [threading.Thread(target=work, args=(index,)) for index in range(number)]
        for thread in threads:
            thread.start()
        until(lambda: tries(client) >= number * each)
        time.sleep(0.05)
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

    async def work(lock):
        async with lock:
            pass

    async def ask():
        async with async_client() as client:
            locks = [client.lock("stock", timeout=60, sleep=0.01) for _ in range(3)]
            async with locks[0]:
                tasks = [asyncio.ensure_future(work(lock)) for lock in locks[1:]]
                while min(map(tried, locks[1:])) < 2:  # noqa: ASYNC110 - nobody is told of a try
                    await asyncio.sleep(0.005)
            await asyncio.gather(*tasks)

    asyncio.run(ask())
    seen = totals(watched)
    assert (seen.acquired, seen.releases, seen.contended) == (3, 3, 2)
    assert seen.attempts >= 7
    told = {point.attributes["dbsight.lock.result"]: point.value for point in watched.points("dbsight.lock.attempts")}
    assert told == {"acquired": seen.attempts}


def test_one_that_was_not_got_in_time_has_failed(locked, watched):
    """Tries and waiting are counted, and there is a span that tells the pauses."""
    with locked.lock("stock", timeout=10), watched.root():
        assert not locked.lock("stock", timeout=10, sleep=0.05, blocking_timeout=1).acquire()
    seen = totals(watched)
    assert (seen.acquired, seen.failed) == (1, 1)
    assert seen.attempts >= 4
    span = watched.span("lock acquire")
    assert (span.attributes["dbsight.lock.result"], span.attributes["dbsight.lock.backoff"]) == ("failed", "fixed")
    assert span.attributes["dbsight.lock.retries"] == seen.attempts - 2
    assert span.duration > 0.8


def test_a_lock_that_nobody_can_release_any_more_is_a_leak(locked, watched):
    """The object is collected while the server still has the key; ``with`` gives it back."""
    locked.lock("stock", timeout=None).acquire()
    gc.collect()
    (leak,) = found(watched, "lock_leak")
    assert (leak.severity, leak.category, leak.count) == ("error", "lock", 1)
    assert leak.suggestion == 'with client.lock("stock", timeout=10):\n    …'
    assert leak.call_site.function.endswith("test_a_lock_that_nobody_can_release_any_more_is_a_leak")
    locked.delete("stock")
    (point,) = watched.points("dbsight.lock.leaks")
    assert point.value == 1
    watched.processor.analyzer.locks.reset()
    applied(leak.suggestion, client=locked)
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
    """redis-py's own way to wait is a fixed pause; what is suggested varies it."""

    def fixed(_):
        with locked.lock("stock", timeout=60, sleep=0.02):
            pass

    def jittered(_):
        lock = locked.lock("stock", timeout=60)
        applied(slow.suggestion, lock=lock, random=random, time=time)
        if lock.owned():
            lock.release()

    contend(locked, fixed)
    (slow,) = found(watched, "lock_fixed_retry")
    assert slow.suggestion == (
        "for attempt in range(10):\n"
        "    if lock.acquire(blocking=False):\n"
        "        break\n"
        "    time.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))"
    )
    watched.processor.analyzer.locks.reset()
    contend(locked, jittered)
    assert totals(watched).paced >= 3
    assert found(watched, "lock_fixed_retry") == []


def test_a_lock_that_most_wait_for_is_found_and_one_for_each_thing_is_not(locked, watched):
    """Twelve workers want the same lock; then each wants that of its own thing."""

    def together(_):
        with locked.lock("stock", timeout=60, sleep=0.01):
            pass

    def apart(number):
        applied(contention.suggestion, client=locked, key=number)

    contend(locked, together, 12, each=2)
    (contention,) = found(watched, "lock_contention")
    watched.processor.analyzer.locks.reset()
    contend(locked, apart, 12, each=1)
    (seen,) = [each for each in watched.processor.analyzer.snapshot().locks if each.lock == "stock:{}"]
    assert seen.acquired == 12
    assert found(watched, "lock_contention") == []


def test_one_lock_for_each_thing_is_held_for_less_where_it_is_contended(locked, watched):
    """There is no smaller thing to name: the suggestion speaks of the time."""

    def same(_):
        with locked.lock("stock:7", timeout=60, sleep=0.01):
            pass

    with locked.lock("stock:7", timeout=60):
        locked.config_resetstat()
        threads = [threading.Thread(target=same, args=(index,)) for index in range(12)]
        for thread in threads:
            thread.start()
        until(lambda: tries(locked) >= 24)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    (contention,) = found(watched, "lock_contention")
    assert contention.suggestion == (
        'with client.lock(f"stock:{key}", timeout=10):  # only around the exclusive work\n    …'
    )
    applied(contention.suggestion, client=locked, key=7)


def test_the_statistics_have_the_names_of_the_guide(locked, watched):
    """``success_rate`` in percent, ``avg_acquisition_time`` in seconds; the same by lock."""
    held = locked.lock("stock", timeout=60)
    held.acquire()
    for _ in range(2):
        assert not locked.lock("stock", blocking=False).acquire()
    held.release()
    with locked.lock("price", timeout=60):
        pass
    stats = dbsight.lock_stats()
    by_lock = stats.pop("locks")
    assert 0 < stats.pop("avg_acquisition_time") < 10
    assert stats == {"success_rate": 50.0, "acquired": 2, "failed": 2, "attempts": 4, "leaks": 0}
    assert {name: round(each["success_rate"], 1) for name, each in by_lock.items()} == {"stock": 33.3, "price": 100.0}
