"""``django.core.cache``: what each back end is asked for is counted once, by alias, sync and async."""

import asyncio
import contextlib

import pytest

import dbsight
from dbsight.instrument import cache_states
from dbsight.instrument import caches as instrument

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402
from django.core.cache import BaseCache, CacheHandler  # noqa: E402
from django.core.cache.backends.memcached import BaseMemcachedCache  # noqa: E402
from django.db import connections  # noqa: E402

BACKENDS = ("locmem", "file", "database", "redis", "memcached", "native")


@pytest.fixture(autouse=True)
def configured():
    """Settings as the cache framework needs them; those of another test are as good."""
    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()


@pytest.fixture
def counted(make_telemetry):
    """A ``telemetry.Telemetry`` with caches watched, and nothing counted before."""
    telemetry = make_telemetry()
    instrumentor = dbsight.CacheInstrumentor()
    instrumentor.instrument(meter_provider=telemetry.meter_provider)
    telemetry.processor.analyzer.caches.reset()
    yield telemetry
    instrumentor.uninstrument()
    instrument._counters.clear()
    cache_states.forget()


class Client(dict):
    """What the classes for Memcached expect of a client."""

    def __init__(self, servers, **_):
        super().__init__()

    def get_multi(self, keys):
        """Those that are there."""
        return {key: self[key] for key in keys if key in self}

    def set(self, key, value, timeout):
        """As a server that has room."""
        self[key] = value
        return True

    def add(self, key, value, timeout):
        """Whether it was not there."""
        return self.setdefault(key, value) is value

    def set_multi(self, values, timeout):
        """No key failed."""
        self.update(values)
        return []

    def delete(self, key):
        """Whether it was there."""
        return self.pop(key, None) is not None

    def delete_multi(self, keys):
        """All of them."""
        for key in keys:
            self.pop(key, None)

    def touch(self, key, timeout):
        """Whether it is there."""
        return key in self

    def incr(self, key, delta):
        """None where it is missing, as pylibmc's."""
        if key in self:
            self[key] += delta
        return self.get(key)

    def decr(self, key, delta):
        """The same."""
        return self.incr(key, -delta)

    def disconnect_all(self):
        """There is nothing to close."""


class Memcached(BaseMemcachedCache):
    """The code that Django's two back ends for Memcached share, on a client without a server."""

    _kept = None

    def __init__(self, server, params):
        super().__init__(
            server, params, library=type("library", (), {"Client": Client}), value_not_found_exception=KeyError
        )

    @property
    def _cache(self):
        if self._kept is None:
            self._kept = Client(())
        return self._kept


class Native(BaseCache):
    """A back end of another package, whose asynchronous methods use no thread."""

    def __init__(self, _, params):
        super().__init__(params)
        self.values = {}

    def get(self, key, default=None, version=None):
        """As documented."""
        return self.values.get(key, default)

    async def aget(self, key, default=None, version=None):
        """The same."""
        return self.values.get(key, default)

    def set(self, key, value, timeout=300, version=None):
        """As documented."""
        self.values[key] = value

    async def aset(self, key, value, timeout=300, version=None):
        """The same."""
        self.values[key] = value

    def add(self, key, value, timeout=300, version=None):
        """As documented."""
        return self.values.setdefault(key, value) is value

    def touch(self, key, timeout=300, version=None):
        """As documented."""
        return key in self.values

    def delete(self, key, version=None):
        """As documented."""
        return self.values.pop(key, None) is not None


@pytest.fixture(params=BACKENDS)
def cache(request, tmp_path, counted):
    """A cache of each back end, made by its alias."""
    backend = {
        "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(tmp_path)},
        "file": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)},
        "database": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "pages"},
        "memcached": {"BACKEND": f"{__name__}.Memcached"},
        "native": {"BACKEND": f"{__name__}.Native"},
        "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache"},
    }[request.param]
    if request.param == "redis":
        backend["LOCATION"] = request.getfixturevalue("redis_server").url()
    if request.param == "database":
        connection = connections["default"]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE pages (cache_key text PRIMARY KEY, value text, expires datetime)")
    yield CacheHandler({"default": backend, "pages": backend})["pages"]
    if request.param == "database":
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE pages")
        connection.close()


def totals(telemetry, name="django.pages"):
    """Hits, misses, stores and removals of a cache, and that no hook failed."""
    seen = [each for each in telemetry.processor.analyzer.snapshot().caches if each.cache == name]
    return [(each.hits, each.misses, each.stores, each.removals) for each in seen]


def use(cache):
    """Every method that looks something up or stores it."""
    assert cache.get("a") is None
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert cache.add("a", 2) is False
    assert cache.add("b", 2) is True
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert cache.set_many({"c": 3, "d": 4}) == []
    assert ("c" in cache, cache.has_key("x")) == (True, False)
    assert cache.incr("a") == 2
    assert cache.decr("a") == 1
    with contextlib.suppress(ValueError):
        cache.incr("x")
    assert cache.touch("a") is True
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    cache.delete_many(["b", "c"])
    return cache


USED = (1 + 2 + 1 + 2, 1 + 1 + 1 + 1, 1 + 1 + 2 + 2, 1 + 2)


def test_what_a_cache_is_asked_for_is_counted_once(cache, counted):
    """Whatever its methods call below."""
    use(cache)
    assert totals(counted) == [USED]


async def use_asynchronously(cache):
    """The same by the asynchronous methods."""
    assert await cache.aget("a") is None
    await cache.aset("a", 1)
    assert await cache.aget("a") == 1
    assert await cache.aadd("a", 2) is False
    assert await cache.aadd("b", 2) is True
    assert await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert await cache.aset_many({"c": 3, "d": 4}) == []
    assert (await cache.ahas_key("c"), await cache.ahas_key("x")) == (True, False)
    assert await cache.aincr("a") == 2
    assert await cache.adecr("a") == 1
    with contextlib.suppress(ValueError):
        await cache.aincr("x")
    assert await cache.atouch("a") is True
    assert await cache.adelete("a") is True
    assert await cache.adelete("a") is False
    await cache.adelete_many(["b", "c"])


@pytest.mark.parametrize("cache", ["locmem", "native"], indirect=True)
def test_asynchronous_methods_count_the_same(cache, counted):
    """With a thread below, and without."""
    asyncio.run(use_asynchronously(cache))
    assert totals(counted) == [USED]


def test_what_get_or_set_makes_is_a_miss_and_no_hit(cache, counted):
    """It looks a key up twice; a function may use the same cache, and may fail."""
    assert cache.get_or_set("a", 1) == 1
    assert totals(counted) == [(0, 1, 1, 0)]
    assert cache.get_or_set("a", 1) == 1
    assert totals(counted) == [(1, 1, 1, 0)]
    assert cache.get_or_set("b", lambda: cache.get_or_set("c", 3) + cache.get("a")) == 4
    assert totals(counted) == [(2, 3, 3, 0)]
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("d", lambda: 1 / 0)
    assert totals(counted) == [(2, 4, 3, 0)]


def test_asynchronous_get_or_set_counts_the_same(counted):
    """Also where a function is called in between."""
    cache = CacheHandler({"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})["default"]
    asyncio.run(cache.aget_or_set("made", lambda: 1))
    asyncio.run(cache.aget_or_set("made", lambda: 1))
    cache.clear()
    assert totals(counted, "django.default") == [(1, 1, 1, 0)]


def test_the_dummy_cache_never_finds_anything(counted):
    """So that a page that forgot to choose a back end is seen."""
    cache = CacheHandler({"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}})["default"]
    cache.set("a", 1)
    assert (cache.get("a"), cache.get_or_set("b", 2), "a" in cache) == (None, 2, False)
    assert totals(counted, "django.default") == [(0, 3, 2, 0)]


def test_entries_that_make_room_are_evicted(counted):
    """In local memory, where that can be seen."""
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "small"}
    cache = CacheHandler({"default": backend | {"OPTIONS": {"MAX_ENTRIES": 4, "CULL_FREQUENCY": 2}}})["default"]
    for number in range(5):
        cache.set(f"key{number}", number)
    cache.clear()
    (seen,) = [each for each in counted.processor.analyzer.snapshot().caches if each.cache == "django.default"]
    assert seen.evictions == 2


def test_the_line_of_a_miss_is_the_applications(counted):
    """Also of an asynchronous look-up, which a thread does."""
    cache = CacheHandler({"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}})["default"]

    async def look():
        return await cache.aget("key")

    asyncio.run(look())
    (seen,) = [each for each in counted.processor.analyzer.snapshot().caches if each.cache == "django.default"]
    assert seen.call_site.function.endswith("look")


def test_the_time_to_live_of_a_cache_is_its_default(counted):
    """Its ``TIMEOUT``; how much it holds, only some back ends know."""
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": 60}
    cache = CacheHandler({"default": backend})["default"]
    points = counted.points("dbsight.cache.ttl")
    assert [point.value for point in points if point.attributes["dbsight.cache.name"] == "django.default"] == [60]
    del cache
