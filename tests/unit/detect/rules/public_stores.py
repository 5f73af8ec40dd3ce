"""Cases of public reports about Redis, caches and distributed locks."""

from builders import NOW_NS, make_operation
from dbsight.model import CacheEvent, CallSite, Database, LockEvent, Snapshot
from dbsight.monitor.caches import Caches
from dbsight.monitor.locks import Locks
from dbsight.statement.redis.reader import read_command, read_pipeline
from unit.detect.loops import make_window

REDIS = Database("redis", "0", "localhost", 6379)
CLUSTER = Database("redis", "0", "localhost", 6379, cluster=True)
HERE = CallSite("cart.py", 20, "show_cart")


def sent(*command, at=0.0, duration=0.0004, **fields):
    """One command, as redis-py gets it."""
    statement = read_command(command)
    options = {"parameters": statement.parameters, "call_site": HERE, "database": REDIS, **fields}
    return make_operation(statement, at=at, duration=duration, **options)


def each(count, command, key="item:{}", **fields):
    """The same command for other keys."""
    return [sent(command, key.format(number), at=number * 0.001, **fields) for number in range(count)]


def window(*operations, duration=0.2):
    """A request with these commands."""
    return make_window(operations, duration)


def pipeline(count):
    """As many commands in one piece."""
    statement = read_pipeline([("GET", f"item:{number}") for number in range(3)])
    return make_operation(statement, database=REDIS, call_site=HERE, batch_size=count)


def cached(*, cache="redis 0", key="profile:{}", hits=0, misses=0, stores=0, evictions=0, removals=0):
    """What the monitor tells of one cache."""
    caches = Caches()
    caches.take(
        CacheEvent(
            cache,
            NOW_NS,
            key_prefix=key,
            hits=hits,
            misses=misses,
            stores=stores,
            evictions=evictions,
            removals=removals,
            call_site=HERE,
        )
    )
    return Snapshot(caches=caches.totals())


def removed(*numbers, key="template:{}"):
    """A request that removes as many keys at a time."""
    events = [CacheEvent("redis 0", NOW_NS, key_prefix=key, removals=number, call_site=HERE) for number in numbers]
    made = make_window([], 2.0)
    made.events = events
    return made


def tried(times, *pauses, lock="tasks:{}", seconds=None, acquired=True, system="redis"):
    """A lock that was tried for, with these pauses between the tries."""
    took = sum(pauses) if seconds is None else seconds
    return [
        LockEvent(
            "acquire",
            system,
            lock,
            NOW_NS,
            took,
            acquired=acquired,
            attempts=len(pauses) + 1,
            pauses=pauses[:10],
            call_site=HERE,
        )
        for _ in range(times)
    ]


def released(times, seconds, *, kind="release", lock="tasks:{}", system="redis"):
    """A lock that was given up, or never."""
    return [LockEvent(kind, system, lock, NOW_NS, seconds, call_site=HERE) for _ in range(times)]


def locks(*groups):
    """What the monitor tells of these."""
    known = Locks()
    for group in groups:
        for event in group:
            known.take(event)
    return Snapshot(locks=known.totals())


def grown(first, factor, number):
    """Pauses that grow."""
    return [first * factor**at for at in range(number)]


CASES = {
    "redis_chatter": {
        "accesses of a day": lambda: window(*each(30, "GET", "access:{}")),
        "a hundred keys": lambda: window(*each(100, "GET")),
        "a hundred keys mended": lambda: window(sent("MGET", *[f"item:{number}" for number in range(100)])),
        "mget of a cluster": lambda: window(*each(200, "GET", duration=0.0008, database=CLUSTER)),
        "keys of a namespace": lambda: window(sent("KEYS", "discourse:*", rows=20_000, duration=0.3)),
        "queues every few seconds": lambda: window(sent("KEYS", "asynq:queue:*", rows=3000, duration=0.02)),
        "20 million tasks": lambda: window(sent("KEYS", "sidekiq:*", rows=50, duration=2.0)),
        "a large hash": lambda: window(sent("HGETALL", "catalogue", rows=200_000, duration=0.4)),
        "fields of a hash": lambda: window(sent("HKEYS", "users", rows=30_000, duration=0.2)),
        "a pipeline": lambda: window(pipeline(100)),
        "names of queues": lambda: window(sent("SMEMBERS", "resque:queues", rows=12)),
        "a scan of a million": lambda: window(
            *[
                sent("HSCAN", "icinga:checksum", number, "COUNT", 1000, at=number / 1000, rows=1000)
                for number in range(99)
            ]
        ),
        "a signal": lambda: window(
            *[sent("BLPOP", "lock.event:a", 5, at=number * 0.5, duration=0.4) for number in range(9)], duration=5.0
        ),
    },
    "cache_miss": {
        "50 models in 16 places": lambda: cached(
            cache="get_model_info", key="", hits=0, misses=2000, stores=2000, evictions=1984
        ),
        "50 models in 16 places mended": lambda: cached(
            cache="get_model_info", key="", hits=1950, misses=50, stores=50
        ),
        "a key per session": lambda: cached(key="chat:{}", hits=26, misses=74, stores=74),
        "filled up": lambda: cached(cache="blobs", key="", hits=250, misses=750, stores=750, evictions=700),
        "before it is full": lambda: cached(cache="blobs", key="", hits=750, misses=250, stores=250),
        "nothing was found": lambda: cached(key="lyrics:{}", hits=100, misses=900, stores=300),
        "empty answers": lambda: cached(key="query:{}", hits=20, misses=180, stores=180),
        "few requests": lambda: cached(hits=2, misses=8, stores=8),
        "one per model": lambda: cached(cache="get_info_helper", key="", hits=19_950, misses=50, stores=50),
        "a queue": lambda: cached(key="asynq:{}", misses=5000),
    },
    "invalidation_storm": {
        "keys and delete": lambda: removed(*[1] * 300),
        "200 000 keys": lambda: removed(*[1] * 500, key="product:{}"),
        "50 000 tables": lambda: removed(*[1000] * 50, key="model_cache:{}"),
        "by a wildcard": lambda: removed(*[10] * 40, key="colors:user:{}"),
        "all that match": lambda: removed(2000, key="cacheman:{}"),
        "a few dozen": lambda: removed(*[1] * 36),
        "a version": lambda: removed(0, key="price:{}"),
        "a namespace": lambda: removed(1, key="namespace:{}"),
        "the key that changed": lambda: removed(1, 1, 1),
        "after a change of settings": lambda: removed(*[1] * 20, key="conf:{}"),
    },
    "lock_leak": {
        "the server was killed": lambda: locks(tried(9), released(1, 600.0, kind="leak")),
        "it hangs for ever": lambda: locks(tried(3), released(1, 90.0, kind="leak")),
        "the thread escaped": lambda: locks(tried(1), released(1, 45.0, kind="leak")),
        "restarted": lambda: locks(tried(20), released(2, 60.0, kind="leak", lock="beaker:{}")),
        "held for too long": lambda: locks(tried(50), released(47, 0.2), released(3, 31.0, kind="leak")),
        "expires while it works": lambda: locks(tried(1), released(1, 12.0, kind="leak")),
        "the thread escaped mended": lambda: locks(tried(10), released(10, 0.3)),
        "renewed": lambda: locks(tried(1), released(1, 900.0)),
        "of a scheduler": lambda: locks(tried(1, *[5.0] * 4)),
        "with a timeout": lambda: locks(tried(40), released(40, 2.0)),
        "it is held": lambda: locks(tried(3, 0.1, 0.1, acquired=False)),
    },
    "lock_fixed_retry": {
        "ten times a second": lambda: locks(tried(8, *[0.1] * 9, acquired=False)),
        "ten times a second mended": lambda: locks(tried(8, acquired=False)),
        "every 50 ms": lambda: locks(tried(5, *[0.05] * 10)),
        "every 0.3 s": lambda: locks(tried(4, *[0.3] * 6, lock="gush:{}")),
        "every 250 ms": lambda: locks(tried(64, *[0.25] * 4, lock="entity:{}")),
        "every ms": lambda: locks(tried(6, *[0.001] * 10, lock="unique:{}")),
        "every ms of many": lambda: locks(tried(30, *[0.001] * 10, lock="distributed:{}")),
        "every ms of many mended": lambda: locks(tried(30, *grown(0.001, 2, 8), lock="distributed:{}")),
        "it doubles": lambda: locks(tried(20, *grown(0.02, 2, 6))),
        "it doubles with jitter": lambda: locks(tried(20, 0.013, 0.031, 0.059, 0.15, 0.22)),
        "0 to 200 ms": lambda: locks(tried(20, 0.02, 0.18, 0.09, 0.14)),
    },
    "lock_contention": {
        "64 threads": lambda: locks(tried(60, 0.25, 0.2, lock="entity:{}"), tried(10, lock="entity:{}")),
        "five threads": lambda: locks(
            tried(100, *[0.1] * 10, seconds=60.0, lock="TestLock"), tried(5, lock="TestLock")
        ),
        "a thousand users": lambda: locks(tried(900, *[0.2] * 5, lock="colors"), tried(100, lock="colors")),
        "of a whole cache": lambda: locks(tried(30, 0.05, 0.05, lock="cache~lock"), tried(10, lock="cache~lock")),
        "wait and try again": lambda: locks(
            tried(20, 2.0, 2.0, lock="job"), tried(20, *[2.0] * 5, acquired=False, lock="job")
        ),
        "jobs of a workflow": lambda: locks(
            tried(12, *[0.3] * 6, acquired=False, lock="gush:{}"), tried(4, lock="gush:{}")
        ),
        "64 threads alone": lambda: locks(tried(70, seconds=0.002, lock="entity:{}")),
        "of one key": lambda: locks(tried(40, lock="cache~{}"), tried(2, 0.05, lock="cache~{}")),
        "a few that wait": lambda: locks(tried(5, 0.1, 0.1)),
        "one task at a time": lambda: locks(tried(50, acquired=False)),
        "a lock per document": lambda: locks(tried(95, lock="doc:{}"), tried(5, 5.0, lock="doc:{}")),
    },
}
