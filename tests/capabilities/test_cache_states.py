"""What caches hold and for how long, and roles of Redis pools, as metrics."""

import functools
import gc

import pytest
import redis
import sqlalchemy as sa

import dbsight
from dbsight import config, semconv
from dbsight.instrument import cache_states
from dbsight.instrument import caches as instrument

cachetools = pytest.importorskip("cachetools")


@pytest.fixture
def watched(make_telemetry):
    """A ``telemetry.Telemetry`` with caches and Redis instrumented, and no cache known."""
    telemetry = make_telemetry()
    cache_states.forget()
    caches, clients = dbsight.CacheInstrumentor(), dbsight.RedisInstrumentor()
    caches.instrument(meter_provider=telemetry.meter_provider)
    clients.instrument(tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider)
    yield telemetry
    clients.uninstrument()
    caches.uninstrument()
    cache_states.forget()
    instrument._counters.clear()
    instrument._polls.clear()


def values(telemetry, metric):
    """By name of the cache."""
    return {
        point.attributes[semconv.CACHE_NAME]: point.value
        for point in telemetry.points(metric)
        if point.attributes[semconv.CACHE_NAME] != cache_states.COMPILED
    }


def test_the_items_of_a_cache_are_those_that_it_holds(watched):
    """A function, a mapping, two mappings of one name; one that is collected is gone."""
    square = functools.lru_cache(maxsize=2)(lambda number: number * number)
    dbsight.watch_cache("square", square)
    carts = [cachetools.TTLCache(10, ttl=300) for _ in range(2)]
    for cart in carts:
        dbsight.watch_cache("carts", cart, layer="l1")
        cart.update(a=1, b=2)
    for number in range(5):
        square(number)
    assert values(watched, semconv.METRIC_CACHE_ITEMS) == {"square": 2, "carts": 4}
    assert values(watched, semconv.METRIC_CACHE_TTL) == {"carts": 300}
    (point,) = watched.points(semconv.METRIC_CACHE_TTL)
    assert point.attributes[semconv.CACHE_LAYER] == "l1"
    del carts, cart
    gc.collect()
    assert ("carts", "l1") not in cache_states.items()
    assert cache_states.items()["square", ""] == 2


def test_the_cache_of_compiled_statements_tells_its_size(watched, tmp_path):
    """Three statements of one engine."""
    gc.collect()
    before = cache_states.items().get((cache_states.COMPILED, ""), 0)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db", future=True)
    with engine.connect() as connection:
        for number in range(3):
            connection.execute(sa.select(*[sa.literal(1)] * (number + 1))).all()
    assert cache_states.items()[cache_states.COMPILED, ""] - before == 3
    engine.dispose()


def test_a_region_of_dogpile_tells_its_time_to_live(watched):
    """Once it was asked."""
    dogpile = pytest.importorskip("dogpile.cache")
    region = dogpile.make_region(name="prices").configure("dogpile.cache.memory", expiration_time=60)
    region.get("a")
    assert values(watched, semconv.METRIC_CACHE_TTL)["prices"] == 60


def test_a_pool_that_is_registered_has_its_role(watched, redis_server):
    """On its metrics and in the comparison with the size of the role; other words are no roles."""
    pool = redis.ConnectionPool.from_url(redis_server.url(), max_connections=7)
    dbsight.SharedPoolRegistry.register(pool, "slave")
    client = redis.Redis(connection_pool=pool)
    assert client.ping()
    roles = {
        point.attributes.get(semconv.POOL_ROLE): point.value for point in watched.points("db.client.connection.max")
    }
    assert roles["slave"] == 7
    watched.processor.analyzer.examine()
    findings = [each.finding for each in watched.processor.analyzer.snapshot().findings]
    (found,) = [each for each in findings if each.rule == "pool_role_size"]
    assert (found.current_value, found.threshold) == (7, 20)
    with pytest.raises(ValueError, match="'replica' is not a role"):
        dbsight.SharedPoolRegistry.register(pool, "replica")
    client.close()
    pool.disconnect()


@pytest.mark.parametrize("where", ["{host}", "{host}:{port}", "elsewhere=master,{host}"])
def test_a_pool_has_the_role_of_its_host(watched, redis_server, monkeypatch, where):
    """By a setting, for applications that make their pools themselves; one that is registered keeps its own role."""
    at = where.format(host=redis_server.host.upper(), port=redis_server.port)
    monkeypatch.setattr(config, "current", lambda: config.Settings.load({"OTEL_DBSIGHT_REDIS_ROLES": f"{at}=slave"}))
    pool = redis.ConnectionPool.from_url(redis_server.url(), max_connections=7)
    client = redis.Redis(connection_pool=pool)
    client.ping()
    assert limits_by_role(watched)["slave"] == 7
    dbsight.SharedPoolRegistry.register(pool, "master")
    assert limits_by_role(watched)["master"] == 7
    names = {point.attributes[semconv.POOL_NAME] for point in watched.points("db.client.connection.max")}
    assert not [name for name in names if name.endswith("slave master")]
    client.close()
    pool.disconnect()


def limits_by_role(telemetry):
    """The largest size of the pools of each role."""
    return {
        point.attributes.get(semconv.POOL_ROLE): point.value for point in telemetry.points("db.client.connection.max")
    }


def test_a_pool_that_is_used_already_gets_its_role_later(watched, redis_server):
    """Its name, too: the same server may be asked in several roles."""
    pool = redis.ConnectionPool.from_url(redis_server.url(), max_connections=20)
    client = redis.Redis(connection_pool=pool)
    client.ping()
    dbsight.SharedPoolRegistry.register(pool, "slave")
    names = {
        point.attributes[semconv.POOL_NAME]
        for point in watched.points("db.client.connection.max")
        if point.attributes.get(semconv.POOL_ROLE) == "slave"
    }
    assert len(names) == 1
    assert names.pop().endswith(" slave")
    client.close()
    pool.disconnect()
