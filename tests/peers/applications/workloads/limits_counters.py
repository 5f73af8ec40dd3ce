# /// script
# dependencies = ["limits[redis,async-redis]", "walrus", "pottery"]
# [tool.application]
# about = "limits, walrus and pottery: rate limits, models and containers on Redis"
# redis = true
# asynchronous = true
# ///
"""Rate limits of three kinds, synchronous and not; a model of walrus; a dict, a set and a lock of pottery."""

import asyncio
import json
import os

import limits.aio
import redis
import walrus
from pottery import RedisDict, RedisSet, Redlock

import limits

URL = os.environ["REDIS_URL"]
told = {}


def limited():
    """Five of eight pass."""
    storage = limits.storage.storage_from_string(URL)
    for strategy in (limits.strategies.FixedWindowRateLimiter, limits.strategies.MovingWindowRateLimiter):
        limiter = strategy(storage)
        passed = [limiter.hit(limits.parse("5/hour"), strategy.__name__, "someone") for _ in range(8)]
        told[strategy.__name__] = [
            passed,
            limiter.get_window_stats(limits.parse("5/hour"), strategy.__name__, "someone")[1],
        ]


async def limited_asynchronously():
    """The same on a loop."""
    storage = limits.storage.storage_from_string(f"async+{URL}", implementation="redispy")
    limiter = limits.aio.strategies.MovingWindowRateLimiter(storage)
    told["async"] = [await limiter.hit(limits.parse("3/hour"), "async", "someone") for _ in range(5)]


def modelled():
    """People, found by an index."""
    database = walrus.Database.from_url(URL)

    class Person(walrus.Model):
        """With a name that is searched."""

        __database__ = database
        name = walrus.TextField(primary_key=True)
        town = walrus.TextField(index=True)

    for number in range(9):
        Person.create(name=f"person {number}", town=f"town {number % 3}")
    told["walrus"] = sorted(person.name for person in Person.query(Person.town == "town 1"))
    told["gone"] = Person.load("person 1").delete()


def contained():
    """Containers that look like Python's."""
    client = redis.Redis.from_url(URL)
    stock = RedisDict({"apples": 1, "pears": 2}, redis=client, key="stock")
    stock["plums"] = 3
    told["dict"] = sorted(stock.items())
    told["in"] = [name in stock for name in ("apples", "pears", "plums", "figs", "nuts", "dates")]
    told["set"] = sorted(RedisSet([1, 2, 3], redis=client, key="numbers") - {2})
    with Redlock(key="lock", masters={client}, auto_release_time=10):
        told["locked"] = True


limited()
asyncio.run(limited_asynchronously())
modelled()
contained()
print(json.dumps(told))
