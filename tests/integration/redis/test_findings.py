"""What is found in code that uses Redis, on a real server: each fault, and the same with the suggestion applied."""

import asyncio
import inspect
import time

import pytest
import redis

from dbsight import semconv
from dbsight.model import Finding
from suggested import applied


def found(telemetry):
    """Rule, severity and suggestion of what stands on spans since the last time; slowness is the machine's."""
    events = [event.attributes for span in telemetry.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    telemetry.clear()
    return [
        (event[semconv.FINDING_RULE], event[semconv.FINDING_SEVERITY], event.get(semconv.FINDING_SUGGESTION))
        for event in events
        if event[semconv.FINDING_RULE] != "slow_query"
    ]


def totals(telemetry, rule) -> list[Finding]:
    """What a rule about totals says now."""
    analyzer = telemetry.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == rule]
    return list(examiner.examine(analyzer.snapshot()))


KEYS = [f"price:{number}" for number in range(50)]


def sent(name, *arguments):
    """A command as it is sent; redis-py has others where there are newer ones."""
    return lambda client, number: client.execute_command(name, *(each(number) for each in arguments))


def always(value):
    """The same each time."""
    return lambda _: value


MEMBERS = {"members": [f"m{number}" for number in range(50)], "fields": [f"f{number}" for number in range(50)]}
VALUES = {"values": {f"f{number}": number for number in range(50)}, "scores": {f"m{n}": n for n in range(50)}}
HASH, SET, SORTED, LIST, TEXT = ({"key": key} for key in ("hash", "set", "sorted", "list", "settings"))
NAMES = {**MEMBERS, **VALUES, "keys": KEYS, "count": 50, "total": 50, "seconds": 60, "start": 0, "end": 5, "index": 1}
NAMES |= {"field": "f1", "member": "m1", "value": "x", "channel": "news", "message": "x" * 50}

LOOPS = {
    "GET": (lambda client, number: client.get(KEYS[number]), {}),
    "SET": (lambda client, number: client.set(KEYS[number], number), {"values": dict.fromkeys(KEYS, 1)}),
    "DEL": (lambda client, number: client.delete(KEYS[number]), {}),
    "UNLINK": (lambda client, number: client.unlink(KEYS[number]), {}),
    "EXISTS": (lambda client, number: client.exists(KEYS[number]), {}),
    "TOUCH": (lambda client, number: client.touch(KEYS[number]), {}),
    "HGETALL of many": (lambda client, number: client.hgetall(f"cart:{number}"), {"keys": ["cart:1", "cart:2"]}),
    "EXPIRE of many": (lambda client, number: client.expire(KEYS[number], 60), {"body": "60"}),
    "HGET": (lambda client, number: client.hget("hash", f"f{number}"), HASH),
    "HSET": (lambda client, number: client.hset("hash", f"f{number}", number), HASH),
    "HDEL": (lambda client, number: client.hdel("hash", f"f{number}"), HASH),
    "HINCRBY": (sent("HINCRBY", always("hash"), always("f1"), always(1)), HASH),
    "SISMEMBER": (lambda client, number: client.sismember("set", f"m{number}"), SET),
    "SADD": (lambda client, number: client.sadd("set", f"m{number}"), SET),
    "SREM": (lambda client, number: client.srem("set", f"m{number}"), SET),
    "ZSCORE": (lambda client, number: client.zscore("sorted", f"m{number}"), SORTED),
    "ZADD": (lambda client, number: client.zadd("sorted", {f"m{number}": number}), SORTED),
    "ZREM": (lambda client, number: client.zrem("sorted", f"m{number}"), SORTED),
    "LPUSH": (lambda client, number: client.lpush("list", number), {**LIST, "values": range(50)}),
    "RPUSH": (lambda client, number: client.rpush("list", number), {**LIST, "values": range(50)}),
    "LPOP": (lambda client, number: client.lpop("list"), LIST),
    "RPOP": (lambda client, number: client.rpop("list"), LIST),
    "LINDEX": (lambda client, number: client.lindex("list", number), LIST),
    "INCR": (sent("INCR", always("visits")), {"key": "visits"}),
    "INCRBY": (lambda client, number: client.incrby("visits", number), {"key": "visits"}),
    "DECR": (sent("DECR", always("visits")), {"key": "visits"}),
    "PUBLISH": (lambda client, number: client.publish("news", number), {}),
    "SET of one": (lambda client, number: client.set("settings", number), TEXT),
    "EXPIRE of one": (lambda client, number: client.expire("settings", 60 + number), TEXT),
    "GET of one": (lambda client, number: client.get("settings"), TEXT),
    "EXISTS of one": (lambda client, number: client.exists("settings"), {"keys": ["settings"]}),
    "HGET of one": (lambda client, number: client.hget("hash", "f1"), HASH),
    "HMGET of some": (lambda client, number: client.hmget("hash", ["f1", "f2"]), HASH),
    "HGETALL of one": (lambda client, number: client.hgetall("hash"), HASH),
    "SMEMBERS of one": (lambda client, number: client.smembers("set"), SET),
    "SISMEMBER of one": (lambda client, number: client.sismember("set", "m1"), SET),
    "ZSCORE of one": (lambda client, number: client.zscore("sorted", "m1"), SORTED),
    "ZRANGE of one": (lambda client, number: client.zrange("sorted", 0, 5), SORTED),
    "LRANGE of one": (lambda client, number: client.lrange("list", 0, 5), LIST),
    "LINDEX of one": (lambda client, number: client.lindex("list", 1), LIST),
    "MGET of some": (lambda client, number: client.mget("price:1", "price:2"), {}),
}
"""What is done fifty times, and what the names of its suggestion mean."""


@pytest.fixture
def filled(client, watched):
    """A client of a server that has something of every kind."""
    with client.pipeline(transaction=False) as pipe:
        pipe.mset({**dict.fromkeys(KEYS, 1), "settings": "x"})
        pipe.hset("hash", mapping=VALUES["values"]).sadd("set", *MEMBERS["members"])
        pipe.zadd("sorted", VALUES["scores"]).rpush("list", *range(200)).execute()
    watched.clear()
    return client


@pytest.mark.parametrize(("work", "names"), LOOPS.values(), ids=LOOPS.keys())
def test_a_loop_of_commands_is_found_and_its_remedy_is_not(filled, watched, work, names):
    """Fifty round trips; what is printed, run as it is, is left alone."""
    with watched.root():
        for number in range(50):
            work(filled, number)
    ((rule, _, suggestion),) = found(watched)
    assert rule == "redis_chatter"
    with watched.root():
        applied(suggestion, **{**NAMES, "client": filled, **names})
    assert found(watched) == []


def huge_pipeline(client):
    """Ten thousand commands in one piece."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            pipe.set("last", number)
        pipe.execute()


TOO_MUCH = {
    "KEYS": (lambda client: client.keys("price:*"), {}),
    "SCAN": (lambda client: list(client.scan_iter(match="nothing:*", count=5)), {"index": "set"}),
    "HGETALL": (lambda client: client.hgetall("catalogue"), {"key": "catalogue", "fields": ["1", "2"]}),
    "HKEYS": (lambda client: client.hkeys("catalogue"), {"key": "catalogue"}),
    "HVALS": (lambda client: client.hvals("catalogue"), {"key": "catalogue"}),
    "SMEMBERS": (lambda client: client.smembers("everybody"), {"key": "everybody"}),
    "LRANGE": (lambda client: client.lrange("events", 0, -1), {"key": "events"}),
    "ZRANGE": (lambda client: client.zrange("scores", 0, -1), {"key": "scores"}),
    "a pipeline": (huge_pipeline, {"items": list(range(10_000)), "body": 'pipe.set("last", item)'}),
}
"""One command, or one piece, that does too much at once."""


@pytest.mark.parametrize(("work", "names"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_what_does_too_much_at_once_is_found_and_its_remedy_is_not(filled, watched, work, names):
    """Every key of the server, a collection of ten thousand, a pipeline of as many."""
    many = range(10_000)
    filled.hset("catalogue", mapping=dict.fromkeys(many, "x"))
    filled.sadd("everybody", *many)
    filled.rpush("events", *many)
    filled.zadd("scores", {str(number): number for number in many})
    watched.clear()
    with watched.root():
        work(filled)
    ((rule, _, suggestion),) = found(watched)
    assert rule == "redis_chatter"
    with watched.root():
        applied(suggestion, **{**NAMES, "client": filled, **names})
    assert found(watched) == []


def test_a_synchronous_client_stops_the_loop(client, watched, redis_server):
    """The time that every other task waited; both of what is suggested, one after the other, do not."""

    async def visit(ask):
        with watched.root():
            answer = ask()
            if inspect.isawaitable(answer):
                await answer

    asyncio.run(visit(lambda: client.blpop("nothing", 0.2)))
    ((rule, _, suggestion),) = found(watched)
    first, _, second = suggestion.partition("  # or\n")
    assert rule == "blocking_call"

    def work():
        client.blpop("nothing", 0.2)

    async def ask_asynchronously():
        async with applied(first, redis=redis, url=redis_server.url()) as other:
            await other.blpop("nothing", 0.2)

    asyncio.run(visit(ask_asynchronously))
    asyncio.run(visit(lambda: applied(second, asyncio=asyncio, work=work)))
    assert found(watched) == []


def test_chatter_of_parallel_tasks_is_found(async_client, watched):
    """Fifty GETs at once are fifty round trips, too."""

    async def ask():
        async with async_client() as client:
            with watched.root():
                await asyncio.gather(*(client.get(key) for key in KEYS))
            ((rule, _, suggestion),) = found(watched)
            with watched.root():
                await applied(suggestion, client=client, keys=KEYS)
            return rule, suggestion, found(watched)

    assert asyncio.run(ask()) == ("redis_chatter", "await client.mget(keys)", [])


def test_chatter_that_is_awaited_is_helped_by_what_is_awaited(async_client, watched):
    """A pipeline, where no command takes several keys; what is left of the loop is one round trip."""

    async def ask():
        async with async_client() as client:
            for key in KEYS:
                await client.set(key, "value")
            watched.clear()
            with watched.root():
                for key in KEYS:
                    await client.strlen(key)
            ((rule, _, suggestion),) = found(watched)
            with watched.root():
                left = await applied(suggestion, client=client, keys=KEYS)
            return rule, len(left["replies"]), found(watched)

    assert asyncio.run(ask()) == ("redis_chatter", len(KEYS), [])


def read_through(client, key, store):
    """The usual way to use a cache."""
    value = client.get(key)
    if value is None:
        applied(store, client=client, key=key, value="computed")


def test_a_cache_whose_keys_die_too_soon_is_found(client, watched):
    """A millisecond is too short; what is suggested is not."""

    def ask(store, pause):
        with watched.root():
            for number in range(120):
                read_through(client, f"page:{number % 3}", store)
                time.sleep(pause)

    ask("client.set(key, value, px=1)", 0.002)
    (miss,) = totals(watched, "cache_miss")
    assert (miss.rule, miss.category, miss.metric, miss.threshold) == ("cache_miss", "cache", "hit_ratio", 0.7)
    assert miss.suggestion == "client.set(key, value, ex=3600)"
    client.flushdb()
    watched.processor.analyzer.caches.reset()
    ask(miss.suggestion, 0)
    assert totals(watched, "cache_miss") == []
    (counted,) = watched.processor.analyzer.snapshot().caches
    assert (counted.key_prefix, counted.hits, counted.misses, counted.stores) == ("page:{}", 117, 3, 3)


def test_a_cache_that_is_emptied_at_every_change_is_found(client, watched):
    """All pages are removed where one changed; the one alone is no fault."""

    def ask(remove, keys):
        for number in range(200):
            read_through(client, f"page:{number % 4}", "client.set(key, value, ex=60)")
            if number % 4 == 3:
                for key in keys:
                    applied(remove, client=client, key=key)

    ask("client.delete(key)", [f"page:{number}" for number in range(4)])
    (miss,) = totals(watched, "cache_miss")
    assert "invalidated before they are read again" in miss.description
    watched.processor.analyzer.caches.reset()
    ask(miss.suggestion, ["page:1"])
    assert totals(watched, "cache_miss") == []


def test_a_cache_without_what_is_not_there_is_found(client, watched):
    """Most of what is asked for has no value; kept all the same, it is asked for once."""
    names = [f"user:{number}" for number in range(10)]

    def ask(store):
        for number in range(200):
            name = names[number % 10]
            if client.get(name) is None and (store or name == "user:1"):
                applied(store or "client.set(key, value)", client=client, key=name, value="none")

    ask(None)
    (miss,) = totals(watched, "cache_miss")
    assert miss.suggestion == "client.set(key, value, ex=300)  # also store that a value does not exist"
    watched.processor.analyzer.caches.reset()
    ask(miss.suggestion)
    assert totals(watched, "cache_miss") == []


def test_marks_that_are_only_asked_for_are_no_cache(client, watched):
    """An idempotency key is missing as a rule."""
    with watched.root():
        for number in range(120):
            client.exists(f"seen:{number}")
    assert totals(watched, "cache_miss") == []


def test_look_ups_are_counted_by_key_template(client, watched):
    """GET, MGET, HGET and EXISTS; in pipelines too; with the size of what was found."""
    client.mset({"user:1": "abc", "user:2": "de"})
    client.hset("cart:1", "sku", 1)
    watched.processor.analyzer.caches.reset()
    client.get("user:1")
    client.get("user:9")
    client.mget(["user:1", "user:2", "user:9"])
    client.exists("user:1", "user:9")
    client.hget("cart:1", "sku")
    client.hget("cart:1", "none")
    with client.pipeline(transaction=False) as pipe:
        pipe.get("user:1").get("user:8").hget("cart:1", "sku").execute()
    caches = watched.processor.analyzer.snapshot().caches
    assert [(each.key_prefix, each.hits, each.misses) for each in caches] == [("user:{}", 5, 4), ("cart:{}", 2, 1)]
    assert caches[0].size == 6
    sizes = watched.points("dbsight.cache.payload.size")
    assert sum(point.sum for point in sizes) == sum(each.size for each in caches)
    points = {
        (point.attributes["dbsight.cache.key_prefix"], point.attributes["dbsight.cache.result"]): point.value
        for point in watched.points("dbsight.cache.requests")
    }
    assert points == {
        ("user:{}", "hit"): 5,
        ("user:{}", "miss"): 4,
        ("cart:{}", "hit"): 2,
        ("cart:{}", "miss"): 1,
    }


def test_an_invalidation_storm_is_found_and_versioned_keys_are_none(client, watched):
    """Hundreds of keys are removed one by one; a version makes the old ones expire by themselves."""
    client.mset({f"list:{number}": 1 for number in range(200)})
    watched.clear()
    with watched.root():
        for key in client.scan_iter(match="list:*"):
            client.delete(key)
    (suggestion,) = [suggestion for rule, _, suggestion in found(watched) if rule == "invalidation_storm"]
    client.mset({f"list:{number}": 1 for number in range(200)})
    watched.clear()
    with watched.root():
        applied(suggestion, client=client, key="1", value="x")
    assert found(watched) == []
    assert client.get("list:1:1") == "x"
