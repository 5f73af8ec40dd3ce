"""Caches in the process: the known hits and misses of each library, and what is said of a low ratio."""

import asyncio
import copy
import functools
import gc
import inspect
import os
import pickle

import pytest
from sqlalchemy import create_engine, select

import dbsight
from dbsight.instrument import caches as instrument
from shop import Author, Base

cachetools = pytest.importorskip("cachetools")


@pytest.fixture
def counted(make_telemetry):
    """A ``telemetry.Telemetry`` with caches watched, and nothing counted before."""
    telemetry = make_telemetry()
    instrumentor = dbsight.CacheInstrumentor()
    instrumentor.instrument()
    instrument.collect()
    telemetry.processor.analyzer.caches.reset()
    yield telemetry
    instrumentor.uninstrument()
    instrument._counters.clear()
    instrument._polls.clear()


def totals(telemetry, name):
    """Hits, misses, stores, removals and evictions of a cache."""
    (only,) = [each for each in telemetry.processor.analyzer.snapshot().caches if each.cache == name]
    return only.hits, only.misses, only.stores, only.removals, only.evictions


def test_a_cached_function_tells_by_itself(counted):
    """``functools.lru_cache``, once it is registered."""

    @functools.lru_cache(maxsize=2)
    def square(number):
        return number * number

    dbsight.watch_cache("square", square)
    for number in (1, 2, 1, 3, 1):
        square(number)
    # 1 and 2 are stored, 1 is found; 3 pushes 2 out; 1 is found.
    assert totals(counted, "square") == (2, 3, 3, 0, 1)
    square(1)
    assert totals(counted, "square") == (3, 3, 3, 0, 1)


def test_what_came_together_is_in_every_collection_of_metrics(counted):
    """Though nobody reads the totals, and no query runs."""
    square = dbsight.watch_cache("squares", functools.lru_cache(maxsize=2)(lambda number: number * number))
    for number in (1, 2, 3, 3):
        square(number)

    def points(metric):
        about = [(point.attributes.get("dbsight.cache.name"), point) for point in counted.points(metric)]
        return {point.attributes.get("dbsight.cache.result"): point.value for name, point in about if name == "squares"}

    assert points("dbsight.cache.requests") == {"hit": 1, "miss": 3}
    assert points("dbsight.cache.evictions") == {None: 1}


def test_a_mapping_of_cachetools_is_counted(counted):
    """Look-ups in every form, and what is dropped to make room; it stays the cache that it was."""
    cache = dbsight.watch_cache("products", cachetools.LRUCache(maxsize=2), layer="l1", model="Product")
    assert isinstance(cache, cachetools.LRUCache)
    with pytest.raises(KeyError):
        cache["a"]
    cache["a"] = 1
    cache["b"] = 2
    cache["c"] = 3
    assert (cache.get("a"), cache.get("b"), cache["c"], len(cache)) == (None, 2, 3, 2)
    assert totals(counted, "products") == (2, 2, 3, 0, 1)
    (only,) = [each for each in counted.processor.analyzer.snapshot().caches if each.cache == "products"]
    assert (only.layer, only.model, only.hit_ratio) == ("l1", "Product", 0.5)


class Settings(dict):
    """A dictionary of the application."""


@pytest.mark.parametrize("kind", [lambda: cachetools.TTLCache(2, 60), Settings], ids=["cachetools", "dict"])
def test_a_watched_mapping_stays_what_it_is(counted, kind):
    """Its type, copies, pickles and attributes; others of its class are not counted; its class is put back."""
    other = kind()
    methods = {name: inspect.getattr_static(type(other), name) for name in ("__getitem__", "get", "__setitem__")}
    cache = dbsight.watch_cache("products", kind())
    assert type(cache) is type(other)
    assert vars(cache).keys() == vars(other).keys()
    for each in (other, copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        each["a"] = 1
        assert (each["a"], each.get("b", 2), each.get("a")) == (1, 2, 1)
        assert type(each) is type(cache)
    assert counted.processor.analyzer.snapshot().caches == []
    cache["a"] = 1
    with pytest.raises(KeyError):
        cache["b"]
    assert (cache["a"], cache.get("b", 2), cache.get("a")) == (1, 2, 1)
    with pytest.raises(TypeError, match="unhashable"):
        cache.get([])
    assert totals(counted, "products")[:3] == (2, 2, 1)
    del cache, each
    gc.collect()
    instrument.collect()
    assert {name: inspect.getattr_static(type(other), name) for name in methods} == methods


def test_a_function_cached_by_cachetools_is_counted(counted):
    """Its decorator asks the same mapping."""

    @cachetools.cached(cachetools.TTLCache(maxsize=10, ttl=60))
    def square(number):
        return number * number

    dbsight.watch_cache("ttl", square)
    assert [square(number) for number in (1, 2, 1, 1)] == [1, 4, 1, 1]
    assert totals(counted, "ttl")[:2] == (2, 2)


def test_what_cannot_be_watched_says_so():
    """A plain dictionary's class cannot be replaced."""
    with pytest.raises(TypeError, match="cannot watch a dict"):
        dbsight.watch_cache("plain", {})


def test_a_region_of_dogpile_is_counted(counted):
    """``get``, ``get_multi``, ``get_or_create`` and its decorator; a value that is made is one miss."""
    region = pytest.importorskip("dogpile.cache").make_region(name="pages").configure("dogpile.cache.memory")

    @region.cache_on_arguments()
    def square(number):
        return number * number

    assert [square(number) for number in (1, 1, 2)] == [1, 1, 4]
    region.get("nothing")
    region.set("something", 1)
    region.get("something")
    region.get_multi(["something", "nothing"])
    region.delete("something")
    assert totals(counted, "pages") == (3, 4, 3, 1, 0)


def test_a_runner_of_dogpile_is_handed_the_creator_itself(counted):
    """It may send it to a task queue, by its name."""
    handed = []

    def runner(cache, key, creator, mutex):
        handed.append(pickle.loads(pickle.dumps(creator)))
        mutex.release()

    region = pytest.importorskip("dogpile.cache").make_region(name="pages", async_creation_runner=runner)
    region.configure("dogpile.cache.memory")
    region.set("name", "old")
    assert region.get_or_create("name", os.getcwd, expiration_time=0) == "old"
    assert handed == [os.getcwd]


def test_a_cache_of_aiocache_is_counted(counted):
    """Its default is given back as it was."""
    aiocache = pytest.importorskip("aiocache")

    async def ask():
        cache = aiocache.SimpleMemoryCache(namespace="pages")
        assert await cache.get("a", default=7) == 7
        await cache.set("a", 1)
        assert await cache.get("a") == 1
        assert await cache.multi_get(["a", "b"]) == [1, None]
        await cache.delete("a")

    asyncio.run(ask())
    assert totals(counted, "pages") == (2, 2, 1, 1, 0)


def test_the_cache_of_compiled_statements_is_counted(counted):
    """One miss, then hits."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    instrument.collect()
    counted.processor.analyzer.caches.reset()
    with engine.connect() as connection:
        for number in range(5):
            connection.execute(select(Author.name).where(Author.id == number)).all()
    assert totals(counted, "sqlalchemy.compiled")[:2] == (4, 1)


def test_two_layers_have_a_ratio_each(counted):
    """What the first misses, the second is asked for."""
    first = dbsight.watch_cache("pages", cachetools.TTLCache(2, 60), layer="l1")
    second = dbsight.watch_cache("pages", cachetools.TTLCache(100, 600), layer="l2")
    for number in [*range(10), *range(10)]:
        if number not in first and second.get(number) is None:
            second[number] = number
        first.get(number)
        first[number] = number
    ratios = {each.layer: each.hit_ratio for each in counted.processor.analyzer.snapshot().caches}
    assert (ratios["l1"], ratios["l2"]) == (0.0, 0.5)


@pytest.mark.parametrize(("size", "rules"), [(5, ["cache_miss"]), (50, [])])
def test_a_cache_that_is_too_small_is_found_and_a_larger_one_is_not(counted, size, rules):
    """Forty keys in turn need room for forty; the suggestion names the size."""
    cache = dbsight.watch_cache("products", cachetools.LRUCache(maxsize=size))
    for number in list(range(40)) * 5:
        if cache.get(number) is None:
            cache[number] = number
    analyzer = counted.processor.analyzer
    (examiner,) = [each for each in analyzer.judge.examiners if each.name == "cache_miss"]
    findings = [each for each in examiner.examine(analyzer.snapshot()) if "products" in each.title]
    assert [each.rule for each in findings] == rules
    assert all("maxsize" in each.suggestion for each in findings)


def test_the_statistics_are_there_for_programs(counted):
    """``cache_stats()``: by name, with the ratio."""
    cache = dbsight.watch_cache("products", cachetools.LRUCache(maxsize=5))
    cache["a"] = 1
    assert (cache["a"], cache.get("b")) == (1, None)
    assert dbsight.cache_stats()["products"] == {
        "hits": 1,
        "misses": 1,
        "hit_ratio": 0.5,
        "stores": 1,
        "removals": 0,
        "evictions": 0,
    }


def test_a_region_of_dogpile_counts_several_keys_and_creators_that_raise(counted):
    """Each key that is made is a miss and, if it could be made, stored."""
    region = pytest.importorskip("dogpile.cache").make_region(name="pages").configure("dogpile.cache.memory")
    region.set("a", 1)

    def squares(*keys):
        return [f"made {key}" for key in keys]

    assert region.get_or_create_multi(["a", "b", "c"], squares) == [1, "made b", "made c"]
    with pytest.raises(ZeroDivisionError):
        region.get_or_create("d", lambda: 1 // 0)
    assert totals(counted, "pages") == (1, 3, 3, 0, 0)
