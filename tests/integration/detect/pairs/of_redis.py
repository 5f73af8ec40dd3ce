"""What queues, caches and containers on Redis send one by one, and how they should."""

from __future__ import annotations

import asyncio

import aiocache
from dogpile.cache import make_region

from integration.detect.pairs.catalogue import CLIENT_PAIRS, LOOP_PAIRS, pair

CHATTER = "redis_chatter"
NUMBERS = range(12)


def names(prefix):
    """A dozen keys."""
    return [f"{prefix}:{number}" for number in NUMBERS]


# -- Synchronous ---------------------------------------------------------------------------------------------------
@pair("rq", CHATTER, kind=CLIENT_PAIRS)
def jobs_fetched_one_by_one(client, right):
    """``Job.fetch`` per id, instead of ``Job.fetch_many``."""
    if right:
        with client.pipeline(transaction=False) as pipeline:
            for name in names("rq:job"):
                pipeline.hgetall(name)
            pipeline.execute()
        return
    for name in names("rq:job"):
        client.hgetall(name)


@pair("rq", CHATTER, kind=CLIENT_PAIRS)
def jobs_enqueued_one_by_one(client, right):
    """``enqueue`` per job, instead of ``enqueue_many``."""
    if right:
        client.rpush("rq:queue:work", *names("rq:job"))
        return
    for name in names("rq:job"):
        client.rpush("rq:queue:work", name)


@pair("celery", CHATTER, kind=CLIENT_PAIRS)
def results_of_a_group(client, right):
    """``AsyncResult.get`` per task, instead of ``GroupResult.join_native``, which sends MGET."""
    keys = names("celery-task-meta")
    if right:
        client.mget(keys)
        return
    for key in keys:
        client.get(key)


@pair("huey", CHATTER, kind=CLIENT_PAIRS)
def tasks_pushed_one_by_one(client, right):
    """LPUSH takes many values."""
    if right:
        client.lpush("huey.work", *(b"x" * 20 for _ in NUMBERS))
        return
    for _ in NUMBERS:
        client.lpush("huey.work", b"x" * 20)


@pair("walrus", CHATTER, kind=CLIENT_PAIRS)
def members_added_one_by_one(client, right):
    """SADD takes many members."""
    if right:
        client.sadd("person:all", *names("person"))
        return
    for name in names("person"):
        client.sadd("person:all", name)


@pair("pottery", CHATTER, kind=CLIENT_PAIRS)
def fields_looked_up_one_by_one(client, right):
    """``name in RedisDict`` sends HEXISTS for each; HMGET reads all."""
    if right:
        client.hmget("stock", [str(number) for number in NUMBERS])
        return
    for number in NUMBERS:
        client.hexists("stock", str(number))


@pair("flask-caching", CHATTER, kind=CLIENT_PAIRS)
def values_cached_one_by_one(client, right):
    """``cache.set`` per key, instead of ``set_many``, which sends a pipeline."""
    if right:
        with client.pipeline() as pipeline:
            for key in names("flask_cache"):
                pipeline.set(key, "x", ex=300)
            pipeline.execute()
        return
    for key in names("flask_cache"):
        client.set(key, "x", ex=300)


@pair("flask-caching", CHATTER, kind=CLIENT_PAIRS)
def values_deleted_one_by_one(client, right):
    """``cache.delete`` per key, instead of ``delete_many``."""
    if right:
        client.delete(*names("flask_cache"))
        return
    for key in names("flask_cache"):
        client.delete(key)


@pair("redis-om", CHATTER, kind=CLIENT_PAIRS)
def fields_read_one_by_one(client, right):
    """A hash is read field by field."""
    client.hset("person:1", mapping={str(number): "x" for number in NUMBERS})
    if right:
        client.hgetall("person:1")
        return
    for number in NUMBERS:
        client.hget("person:1", str(number))


@pair("django-redis", CHATTER, kind=CLIENT_PAIRS)
def many_keys_stored(client, right):
    """MSET in chunks is right; SET per key is not."""
    values = {f"page:{number}": "x" for number in range(60)}
    if right:
        keys = list(values)
        for start in range(0, 60, 20):
            client.mset({key: values[key] for key in keys[start : start + 20]})
        return
    for key, value in values.items():
        client.set(key, value)


@pair("redlock", CHATTER, kind=CLIENT_PAIRS)
def locks_in_order(client, right):
    """Locks are taken key by key, in order, so that nobody waits in a circle; values need no such thing."""
    if right:
        locks = [client.lock(name, timeout=10) for name in names("lock")]
        for lock in locks:
            lock.acquire()
        for lock in reversed(locks):
            lock.release()
        return
    for name in names("lock"):
        client.get(name)


@pair("dogpile.cache", CHATTER, kind=CLIENT_PAIRS)
def regions_asked_key_by_key(client, right):
    """``region.get`` per key, instead of ``get_multi``."""
    region = make_region().configure(
        "dogpile.cache.redis", arguments={"connection_pool": client.connection_pool, "redis_expiration_time": 60}
    )
    if right:
        region.get_multi(names("profile"))
        return
    for name in names("profile"):
        region.get(name)


@pair("limits", CHATTER, kind=CLIENT_PAIRS)
def counters_of_each_limit(client, right):
    """INCR and EXPIRE for each of many limits, or one pipeline."""
    if right:
        with client.pipeline(transaction=False) as pipeline:
            for name in names("LIMITER/user"):
                pipeline.incr(name)
            pipeline.execute()
        return
    for name in names("LIMITER/user"):
        client.incr(name)


# -- On an event loop ----------------------------------------------------------------------------------------------
@pair("arq", CHATTER, kind=LOOP_PAIRS)
async def results_awaited_one_by_one(client, right):
    """``job.result()`` per job."""
    if right:
        await client.mget(names("arq:result"))
        return
    for name in names("arq:result"):
        await client.get(name)


@pair("saq", CHATTER, kind=LOOP_PAIRS)
async def thirty_values_gathered(client, right):
    """``asyncio.gather`` over 30 GETs takes 30 round trips and connections; MGET takes one."""
    keys = [f"saq:job:{number}" for number in range(30)]
    if right:
        await client.mget(keys)
        return
    await asyncio.gather(*(client.get(key) for key in keys))


@pair("taskiq", CHATTER, kind=LOOP_PAIRS)
async def messages_added_to_a_stream(client, right):
    """XADD per task, or a pipeline of them."""
    if right:
        async with client.pipeline(transaction=False) as pipeline:
            for _ in NUMBERS:
                pipeline.xadd("taskiq", {"data": "x"})
            await pipeline.execute()
        return
    for _ in NUMBERS:
        await client.xadd("taskiq", {"data": "x"})


@pair("aiocache", CHATTER, kind=LOOP_PAIRS)
async def a_cache_asked_key_by_key(client, right):
    """``cache.get`` per key, instead of ``multi_get``."""
    server = client.get_connection_kwargs()
    async with aiocache.RedisCache(endpoint=server["host"], port=server["port"], db=server.get("db", 0)) as cache:
        if right:
            await cache.multi_get(names("profile"))
            return
        for name in names("profile"):
            await cache.get(name)


@pair("fastapi-limiter", CHATTER, kind=LOOP_PAIRS)
async def sessions_touched_one_by_one(client, right):
    """EXPIRE per session, or a pipeline of them."""
    if right:
        async with client.pipeline(transaction=False) as pipeline:
            for name in names("session"):
                pipeline.expire(name, 60)
            await pipeline.execute()
        return
    for name in names("session"):
        await client.expire(name, 60)
