"""The rule about commands of Redis: what is found, how bad it is, and what is left alone."""

import pytest

from builders import make_operation
from dbsight.config import Settings
from dbsight.detect.rules.redis_chatter import RedisChatter
from dbsight.model import CallSite, Database
from dbsight.statement.redis.reader import read_command, read_pipeline
from unit.detect.loops import make_window

REDIS = Database("redis", "0", "localhost", 6379)
HERE = CallSite("cart.py", 20, "show_cart")


def sent(command, *, at=0.0, duration=0.000_2, **fields):
    """One command, given as redis-py gets it, or a list of them in a pipeline."""
    statement = read_pipeline(command) if isinstance(command, list) else read_command(command)
    fields.setdefault("parameters", statement.parameters)
    return make_operation(statement, at=at, duration=duration, database=REDIS, call_site=HERE, **fields)


def loop(count, make, *, every=0.001, duration=0.000_2, **fields):
    """Commands one after the other."""
    return [sent(make(number), at=number * every, duration=duration, **fields) for number in range(count)]


def get_price(number):
    """Another key each time."""
    return "GET", f"price:{number}"


def judge(operations, duration=0.1):
    """What is found."""
    return list(RedisChatter(Settings()).complete(make_window(operations, duration)))


def told(operations, duration=0.1):
    """Severity, count and suggestion of what is found."""
    return [(found.severity, found.count, found.suggestion) for found in judge(operations, duration)]


def test_a_loop_of_gets_is_one_finding_with_mget():
    """Fifty keys of one template from one line."""
    (found,) = judge(loop(50, get_price))
    assert (found.rule, found.severity, found.category, found.count) == ("redis_chatter", "warning", "query", 50)
    assert found.title == "GET price:{} is sent one at a time"
    assert found.suggestion == "client.mget(keys)"
    assert found.description == (
        "50 commands GET price:{} for different keys, one round trip each, at cart.py:20 in show_cart."
    )
    assert found.impact == pytest.approx(0.95 * 50 * 0.000_2 * 49 / 50)


@pytest.mark.parametrize(
    ("count", "duration", "window", "severity"),
    [
        (4, 0.01, 0.1, []),
        (5, 0.01, 0.1, ["warning"]),
        (10, 0.01, 0.2, ["error"]),
        (19, 0.000_04, 0.1, []),
        (20, 0.000_04, 0.1, ["warning"]),
        (19, 0.000_2, 10.0, ["info"]),
    ],
)
def test_severity_follows_number_and_time(count, duration, window, severity):
    """Below 0.05 ms and 20 it is nothing; 100 ms or a fifth of the unit of work is an error."""
    assert [
        found.severity for found in judge(loop(count, get_price, duration=duration, every=0.01), window)
    ] == severity


@pytest.mark.parametrize(
    ("make", "suggestion"),
    [
        (
            lambda number: ("SET", f"price:{number}", "x"),
            "client.mset(values)  # those that expire: pipe.set(key, value, ex=…) in a client.pipeline()",
        ),
        (lambda number: ("DEL", f"price:{number}"), "client.delete(*keys)"),
        (lambda number: ("HGET", "cart:1", f"sku{number}"), "client.hmget(key, fields)"),
        (lambda number: ("SISMEMBER", "seen", number), "client.smismember(key, members)"),
        (lambda number: ("SADD", "seen", number), "client.sadd(key, *members)"),
        (lambda number: ("RPUSH", "queue:mail", number), "client.rpush(key, *values)"),
        (lambda number: ("INCR", "visits"), "client.incrby(key, count)"),
        (
            lambda number: ("HGETALL", f"cart:{number}"),
            (
                "with client.pipeline(transaction=False) as pipe:\n"
                "    for key in keys:\n"
                "        pipe.hgetall(key)\n"
                "    replies = pipe.execute()"
            ),
        ),
        (lambda number: ("GET", "settings"), "value = client.get(key)  # once, before the loop"),
    ],
)
def test_each_command_has_its_own_remedy(make, suggestion):
    """One command where there is one, else a pipeline; the same key again and again is kept."""
    assert told(loop(20, make)) == [("warning", 20, suggestion)]


@pytest.mark.parametrize(
    "operations",
    [
        loop(30, lambda number: ("SET", "lock:1", "token"), every=0.1),
        loop(30, lambda number: ("GET", "job:state"), every=0.5),
        loop(30, lambda number: ("BLPOP", f"queue:{number}", 0)),
        loop(30, lambda number: ("PING",)),
        loop(30, lambda number: ("WATCH", f"stock:{number}")),
        loop(30, lambda number: [get_price(number), get_price(number + 1)], batch_size=2),
        loop(30, get_price, allowed=frozenset({"redis_chatter"})),
        loop(30, get_price, error_type="redis.exceptions.ConnectionError"),
        [
            make_operation("SET ? ?", database=REDIS, at=number / 1000, parameters=None, foreign=True)
            for number in range(30)
        ],
    ],
    ids=["lock", "polling", "blocking", "ping", "watch", "pipelines", "allowed", "errors", "unknown"],
)
def test_what_repeats_rightly_is_left_alone(operations):
    """Locks, polling, queues, pings, transactions, pipelines, what is allowed, what failed, what cannot be told."""
    assert judge(operations, 20.0) == []


def test_a_read_after_each_write_is_no_repetition():
    """What is read again was changed in between."""
    operations = []
    for number in range(10):
        operations += [
            sent(("SET", "counter", number), at=number * 0.1),
            sent(("GET", "counter"), at=number * 0.1 + 0.001),
        ]
    assert [found for found in judge(operations, 2.0) if found.statement.operation == "GET"] == []


def test_a_worker_that_takes_jobs_does_the_same_for_each():
    """What is done for different jobs is no loop."""
    operations = []
    for number in range(10):
        operations += [
            sent(("BLPOP", "queue", 0), at=number * 0.1),
            sent(("HGETALL", f"job:{number}"), at=number * 0.1 + 0.01),
        ]
    assert judge(operations, 2.0) == []


def test_keys_is_told_from_the_first_time():
    """Grave where there are many keys, or where it took long."""
    assert told([sent(("KEYS", "user:*"), rows=3)]) == [
        ("info", 1, 'for key in client.scan_iter(match="user:*", count=1000):\n    …')
    ]
    assert [found.severity for found in judge([sent(("KEYS", "*"), rows=5000)])] == ["warning"]


def test_a_scan_over_everything_is_told():
    """A hundred round trips for three keys."""
    operations = loop(100, lambda number: ("SCAN", number, "MATCH", "list:*"), rows=0)
    (found,) = judge(operations)
    assert (found.severity, found.count) == ("warning", 100)
    assert found.description == "100 round trips of SCAN found 0 keys."


@pytest.mark.parametrize(("rows", "severity"), [(999, []), (1000, ["info"]), (10_000, ["warning"])])
def test_a_big_collection_that_is_read_whole_is_told(rows, severity):
    """From 1000 items on."""
    assert [found.severity for found in judge([sent(("HGETALL", "catalogue"), rows=rows)])] == severity


def test_a_huge_pipeline_is_told():
    """Ten thousand commands in one piece."""
    batch = [sent([("GET", "a"), ("GET", "b")], batch_size=size) for size in (9_999, 10_000)]
    assert [len(judge([operation])) for operation in batch] == [0, 1]
