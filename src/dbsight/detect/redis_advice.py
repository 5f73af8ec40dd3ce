"""Suggested code for redis-py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from dbsight.detect.repetition import Repetition
    from dbsight.model import Operation


class RedisAdvice(NamedTuple):
    """The texts of a finding about Redis commands.

    Attributes:
        fault: One word, the same in every run.
        title: One line, the same in every run.
        description: What was seen.
        suggestion: Code to paste.
    """

    fault: str
    title: str
    description: str
    suggestion: str


_PIPELINE: Final = """\
with client.pipeline(transaction=False) as pipe:
    for key in keys:
        pipe.{method}(key{more})
    replies = pipe.execute()"""

_OTHER_KEYS: Final = {
    "GET": "client.mget(keys)",
    "SET": "client.mset(values)  # those that expire: pipe.set(key, value, ex=…) in a client.pipeline()",
    "DEL": "client.delete(*keys)",
    "UNLINK": "client.unlink(*keys)",
    "EXISTS": "client.exists(*keys)",
    "TOUCH": "client.touch(*keys)",
}
"""One command for many keys."""

_ONE_KEY: Final = {
    "HGET": "client.hmget(key, fields)",
    "HSET": "client.hset(key, mapping=values)",
    "HDEL": "client.hdel(key, *fields)",
    "SISMEMBER": "client.smismember(key, members)",
    "ZSCORE": "client.zmscore(key, members)",
    "SADD": "client.sadd(key, *members)",
    "SREM": "client.srem(key, *members)",
    "ZADD": "client.zadd(key, scores)",
    "ZREM": "client.zrem(key, *members)",
    "LPUSH": "client.lpush(key, *values)",
    "RPUSH": "client.rpush(key, *values)",
    "LPOP": "client.lpop(key, count)",
    "RPOP": "client.rpop(key, count)",
    "INCR": "client.incrby(key, count)",
    "INCRBY": "client.incrby(key, total)",
    "DECR": "client.decrby(key, count)",
    "HINCRBY": "client.hincrby(key, field, total)",
    "LINDEX": "client.lrange(key, 0, count - 1)",
    "PUBLISH": "client.publish(channel, message)  # once, with all the data",
    "SET": "client.set(key, value)  # once, after the loop",
    "EXPIRE": "client.expire(key, seconds)  # once, after the loop",
}
"""One command for many members of one key."""

_OF_READS: Final = {
    "EXISTS": "*keys",
    "HGET": "key, field",
    "HMGET": "key, fields",
    "LINDEX": "key, index",
    "LRANGE": "key, start, end",
    "MGET": "keys",
    "SISMEMBER": "key, member",
    "ZRANGE": "key, start, end",
    "ZSCORE": "key, member",
}
"""Arguments of reads that take more than a key."""


_CALL: Final = pattern(r"^((?:\w+ = )?)client\.(?!\w+_iter)", re.MULTILINE)


def fitting(suggestion: str, operation: Operation) -> str:
    """Adapt code to the client that sent an operation: a cluster client, whose keys may cross slots, or async."""
    if operation.database.cluster:
        suggestion = suggestion.replace("client.mget(", "client.mget_nonatomic(")
        suggestion = suggestion.replace("client.mset(", "client.mset_nonatomic(")
    if operation.asynchronous:
        suggestion = _CALL.sub(r"\1await client.", suggestion)
        suggestion = suggestion.replace("with client.pipeline", "async with client.pipeline")
        suggestion = suggestion.replace("pipe.execute()", "await pipe.execute()")
        suggestion = suggestion.replace("for key in client.scan_iter", "async for key in client.scan_iter")
    return suggestion


def together(repetition: Repetition) -> RedisAdvice:
    """Advice for many commands with different keys or members, or many writes."""
    statement = repetition.statement
    operation = statement.operation or statement.summary.partition(" ")[0].upper()
    one_key = not repetition.unknown and len({each.statement.literals for each in repetition.operations}) == 1
    table = _ONE_KEY if one_key else _OTHER_KEYS
    suggestion = table.get(operation)
    if suggestion is None:
        more = "" if statement.kind == "select" else ", …"
        suggestion = _PIPELINE.format(method=_method(operation), more=more)
    what = "one key" if one_key else "different keys"
    return RedisAdvice(
        "loop",
        f"{statement.summary} is sent one at a time",
        f"{len(repetition)} commands {statement.summary} for {what}, one round trip each{_where(repetition)}.",
        suggestion,
    )


def once(repetition: Repetition) -> RedisAdvice:
    """Advice for reading the same key repeatedly."""
    statement = repetition.statement
    operation = statement.operation or statement.summary.partition(" ")[0].upper()
    return RedisAdvice(
        "again",
        f"{statement.summary} reads the same key repeatedly",
        f"{statement.summary} ran {len(repetition)} times for the same key, with nothing written in between"
        f"{_where(repetition)}.",
        f"value = client.{_method(operation)}({_OF_READS.get(operation, 'key')})  # once, before the loop",
    )


def keys_command(operation: Operation, *, hidden: bool) -> RedisAdvice:
    """Advice for KEYS, which scans every key while the server serves no other client.

    Args:
        operation: One of them.
        hidden: Whether query texts are disabled; the pattern is then hidden, too.
    """
    pattern = "…" if hidden else _pattern(operation)
    number = "" if operation.rows is None else f" to find {operation.rows}"
    return RedisAdvice(
        "keys",
        "KEYS scans every key of the server",
        f"KEYS scanned all keys{number}; the server serves no other client meanwhile.",
        f'for key in client.scan_iter(match="{pattern}", count=1000):\n    …',
    )


def broad_scan(calls: int, found: int) -> RedisAdvice:
    """Advice for iterating over the whole key space with few keys per call."""
    return RedisAdvice(
        "scan",
        "SCAN iterates over all keys to find a few",
        f"{calls} round trips of SCAN found {found} keys.",
        "client.smembers(index)  # a set that holds their names; or scan_iter(match=…, count=1000)",
    )


def small_steps(calls: int, found: int) -> RedisAdvice:
    """Advice for a full iteration that requests few keys per call."""
    return RedisAdvice(
        "steps",
        "SCAN iterates over all keys in small batches",
        f"{calls} round trips of SCAN found {found} keys, {found / calls:.0f} each.",
        "for key in client.scan_iter(match=…, count=1000):\n    …",
    )


def big_reply(operation: Operation, items: int) -> RedisAdvice:
    """Advice for reading a whole collection at once."""
    name = operation.statement.operation
    suggestion = {
        "HGETALL": "client.hmget(key, fields)  # the fields needed; for all fields: client.hscan_iter(key, count=500)",
        "HKEYS": "client.hscan_iter(key, count=500)",
        "HVALS": "client.hscan_iter(key, count=500)",
        "SMEMBERS": "client.sscan_iter(key, count=500)",
        "LRANGE": "client.lrange(key, 0, 99)  # a page",
        "ZRANGE": "client.zrange(key, 0, 99)  # a page",
        "ZREVRANGE": "client.zrevrange(key, 0, 99)  # a page",
    }.get(name, "client.sscan_iter(key, count=500)")
    return RedisAdvice(
        "big",
        f"{operation.statement.summary} reads a large collection at once",
        f"{name} returned {items} items at once; the server serves no other client meanwhile.",
        suggestion,
    )


def huge_pipeline(commands: int) -> RedisAdvice:
    """Advice for a large pipeline, which both sides hold in memory until it ends."""
    return RedisAdvice(
        "pipeline",
        "A pipeline is too large",
        f"{commands} commands in one pipeline: client and server hold all commands and replies in memory.",
        "for start in range(0, len(items), 1000):\n"
        "    with client.pipeline(transaction=False) as pipe:\n"
        "        for item in items[start : start + 1000]:\n"
        "            …\n"
        "        pipe.execute()",
    )


def _pattern(operation: Operation) -> str:
    pattern = operation.statement.text.partition(" ")[2]
    return pattern if pattern and pattern != "?" and pattern.isprintable() and '"' not in pattern else "…"


def _method(operation: str) -> str:
    name = operation.lower().replace(".", "().").replace(" ", "_")
    return {"del": "delete", "getdel": "getdel", "type": "type"}.get(name, name)


def _where(repetition: Repetition) -> str:
    site = repetition.call_site
    if site is None:
        return ""
    caller = f", called from {_place(site.caller)}" if site.caller is not None else ""
    return f", at {_place(site)}{caller}"


def _place(site: object) -> str:
    return f"{site} in {site.function}"  # type: ignore[attr-defined]
