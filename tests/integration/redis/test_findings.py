"""What is found in code that uses Redis, on a real server: each fault, and the same with the suggestion applied."""

import asyncio

import pytest

from dbsight import semconv
from dbsight.model import Finding


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


def gets(client):
    """Fifty round trips."""
    return [client.get(key) for key in KEYS]


def mget(client):
    """One."""
    return client.mget(KEYS)


def sets(client):
    """Fifty round trips that write."""
    for number, key in enumerate(KEYS):
        client.set(key, number)


def mset(client):
    """One."""
    client.mset({key: number for number, key in enumerate(KEYS)})


def hashes(client):
    """A hash for each key."""
    return [client.hgetall(f"cart:{number}") for number in range(50)]


def hashes_in_a_pipeline(client):
    """As suggested where there is no single command."""
    keys = [f"cart:{number}" for number in range(50)]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        return pipe.execute()


def same_key(client):
    """Read again and again."""
    return [client.get("settings") for _ in range(50)]


def kept(client):
    """Read once."""
    value = client.get("settings")
    return [value for _ in range(50)]


def members(client):
    """A set is filled one by one."""
    for number in range(50):
        client.sadd("seen", number)


def members_at_once(client):
    """One command."""
    client.sadd("seen", *range(50))


def everything(client):
    """KEYS in a request."""
    return client.keys("price:*")


def scanned(client):
    """As suggested."""
    return list(client.scan_iter(match="price:*", count=1000))


def whole_hash(client):
    """A hash of ten thousand fields for the sake of two."""
    return client.hgetall("catalogue")


def two_fields(client):
    """Those that are needed."""
    return client.hmget("catalogue", ["1", "2"])


def huge_pipeline(client):
    """Ten thousand commands in one piece."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            pipe.set("last", number)
        pipe.execute()


def in_pieces(client):
    """A thousand at a time."""
    items = list(range(10_000))
    for start in range(0, len(items), 2500):
        with client.pipeline(transaction=False) as pipe:
            for item in items[start : start + 2500]:
                pipe.set("last", item)
            pipe.execute()


@pytest.mark.parametrize(
    ("fault", "fixed"),
    [
        (gets, mget),
        (sets, mset),
        (hashes, hashes_in_a_pipeline),
        (same_key, kept),
        (members, members_at_once),
        (everything, scanned),
        (whole_hash, two_fields),
        (huge_pipeline, in_pieces),
    ],
    ids=lambda function: function.__name__,
)
def test_chatter_is_found_and_its_remedy_is_not(client, watched, fault, fixed):
    """The suggestion, applied, makes the finding go away."""
    client.hset("catalogue", mapping=dict.fromkeys(range(10000), "x"))
    client.mset(dict.fromkeys(KEYS, 1))
    client.set("settings", "x")
    watched.clear()
    with watched.root():
        fault(client)
    assert [rule for rule, _, _ in found(watched)] == ["redis_chatter"]
    with watched.root():
        fixed(client)
    assert found(watched) == []


def test_chatter_of_parallel_tasks_is_found(async_client, watched):
    """Fifty GETs at once are fifty round trips, too."""

    async def ask():
        async with async_client() as client:
            with watched.root():
                await asyncio.gather(*(client.get(key) for key in KEYS))
            chatter = found(watched)
            with watched.root():
                await client.mget(KEYS)
            return chatter, found(watched)

    chatter, nothing = asyncio.run(ask())
    assert [(rule, suggestion) for rule, _, suggestion in chatter] == [("redis_chatter", "client.mget(keys)")]
    assert nothing == []


def read_through(client, key, **keep):
    """The usual way to use a cache."""
    value = client.get(key)
    if value is None:
        client.set(key, value := "computed", **keep)
    return value


def test_a_cache_whose_keys_die_too_soon_is_found(client, watched):
    """A millisecond is too short; an hour is not."""
    with watched.root():
        for number in range(120):
            read_through(client, f"page:{number % 3}", px=1)
            client.blpop("nothing", 0.002)
    (miss,) = totals(watched, "cache_miss")
    assert (miss.rule, miss.category, miss.metric, miss.threshold) == ("cache_miss", "cache", "hit_ratio", 0.7)
    assert miss.suggestion == "client.set(key, value, ex=3600)"
    watched.processor.analyzer.caches.reset()
    with watched.root():
        for number in range(120):
            read_through(client, f"page:{number % 3}", ex=3600)
    assert totals(watched, "cache_miss") == []
    (counted,) = watched.processor.analyzer.snapshot().caches
    assert (counted.key_prefix, counted.hits, counted.misses, counted.stores) == ("page:{}", 117, 3, 3)


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
    assert "invalidation_storm" in [rule for rule, _, _ in found(watched)]
    client.mset({f"list:{number}": 1 for number in range(200)})
    watched.clear()
    with watched.root():
        version = client.incr("list:version")
        client.set(f"list:{version}:1", "x", ex=3600)
    assert found(watched) == []
