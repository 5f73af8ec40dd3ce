"""The commands of Redis: where their keys stand, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.statement.vocabulary import words

if TYPE_CHECKING:
    from dbsight.model import Kind


def _names(text: str) -> frozenset[str]:
    """Names of commands; a plus stands for the blank within one."""
    return frozenset(word.replace("+", " ") for word in text.split())


class Shape(NamedTuple):
    """What is known of one command.

    Attributes:
        kind: What it does.
        keys: Where its keys stand: ``one`` (the first argument; what follows tells reads apart), ``key`` (the same, and
            what follows is values), ``all``, ``two`` (the first two), ``pairs`` (every
            other), ``most`` (all but the last), ``counted1`` and ``counted2`` (behind their number, which is the first
            or second argument), ``streams``, ``pattern`` (of SCAN), ``none``.
        effect: What it means for a cache: ``get``, ``mget``, ``exists`` (look-ups), ``set``, ``delete``, or empty.
        collection: Its reply is a collection whose length is worth knowing.
        blocking: It may wait by design.
    """

    kind: Kind = "other"
    keys: str = "none"
    effect: str = ""
    collection: bool = False
    blocking: bool = False


UNKNOWN: Final = Shape()
"""A command that nobody told us of: nothing of its arguments is kept."""

CONTAINERS: Final = words(
    "ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT SENTINEL"
    " SLOWLOG XGROUP XINFO"
)
"""Their first argument is part of the command's name."""

_READS: Final = {
    "one": _names(
        "GET GETRANGE SUBSTR STRLEN HGET HGETALL HMGET HKEYS HVALS HLEN HEXISTS HSTRLEN HRANDFIELD HTTL HPTTL"
        " LLEN LRANGE LINDEX LPOS SMEMBERS SCARD SISMEMBER SMISMEMBER SRANDMEMBER ZRANGE ZREVRANGE"
        " ZRANGEBYSCORE ZREVRANGEBYSCORE ZRANGEBYLEX ZREVRANGEBYLEX ZSCORE ZMSCORE ZRANK ZREVRANK ZCARD ZCOUNT"
        " ZLEXCOUNT ZRANDMEMBER TTL PTTL TYPE EXPIRETIME PEXPIRETIME GETBIT BITCOUNT BITPOS DUMP XLEN XRANGE"
        " XREVRANGE XPENDING GEOPOS GEODIST GEOHASH GEOSEARCH GEORADIUS_RO GEORADIUSBYMEMBER_RO HSCAN SSCAN"
        " ZSCAN JSON.GET JSON.TYPE JSON.STRLEN JSON.ARRLEN JSON.OBJKEYS JSON.OBJLEN TS.GET TS.RANGE"
        " TS.REVRANGE TS.INFO BF.EXISTS BF.MEXISTS BF.INFO CF.EXISTS CF.COUNT CMS.QUERY TOPK.LIST TOPK.QUERY"
        " TDIGEST.QUANTILE VCARD VEMB KEYS SORT_RO OBJECT+ENCODING OBJECT+IDLETIME OBJECT+REFCOUNT OBJECT+FREQ"
        " MEMORY+USAGE XINFO+STREAM XINFO+GROUPS XINFO+CONSUMERS"
    ),
    "all": _names("MGET EXISTS TOUCH SUNION SINTER SDIFF PFCOUNT"),
    "key": _names("FT.SEARCH FT.AGGREGATE FT.INFO FT.EXPLAIN VSIM"),
    "two": _names("LCS"),
    "counted1": _names("ZUNION ZINTER ZDIFF SINTERCARD ZINTERCARD"),
    "counted2": _names("EVAL_RO EVALSHA_RO FCALL_RO"),
    "streams": _names("XREAD"),
    "pattern": _names("SCAN"),
    "none": _names("DBSIZE RANDOMKEY"),
}
_WRITES: Final = {
    "key": _names(
        "SET SETEX PSETEX SETNX GETSET GETEX APPEND SETRANGE SETBIT BITFIELD INCR INCRBY INCRBYFLOAT DECR"
        " DECRBY HSET HMSET HSETNX HINCRBY HINCRBYFLOAT HEXPIRE HPEXPIRE HPERSIST HSETEX HGETEX LPUSH RPUSH"
        " LPUSHX RPUSHX LSET LINSERT SADD ZADD ZINCRBY EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST RESTORE PFADD"
        " XADD XACK XCLAIM XAUTOCLAIM XTRIM XSETID GEOADD GEORADIUS GEORADIUSBYMEMBER SORT JSON.SET JSON.MERGE"
        " JSON.NUMINCRBY JSON.STRAPPEND JSON.ARRAPPEND JSON.ARRINSERT JSON.TOGGLE TS.ADD TS.CREATE TS.INCRBY"
        " TS.DECRBY TS.ALTER BF.ADD BF.MADD BF.RESERVE BF.INSERT CF.ADD CF.ADDNX CF.RESERVE CMS.INCRBY"
        " CMS.INITBYDIM TOPK.ADD TOPK.RESERVE TDIGEST.ADD TDIGEST.CREATE VADD PUBLISH SPUBLISH FT.CREATE"
        " FT.ALTER XGROUP+CREATE XGROUP+SETID XGROUP+CREATECONSUMER"
    ),
    "two": _names(
        "RENAME RENAMENX COPY SMOVE LMOVE RPOPLPUSH BRPOPLPUSH BLMOVE ZRANGESTORE GEOSEARCHSTORE BITOP TS.CREATERULE"
    ),
    "all": _names("SUNIONSTORE SINTERSTORE SDIFFSTORE PFMERGE"),
    "pairs": _names("MSET MSETNX"),
    "counted2": _names("EVAL EVALSHA FCALL ZUNIONSTORE ZINTERSTORE ZDIFFSTORE"),
    "streams": _names("XREADGROUP"),
}
_DELETES: Final = {
    "key": _names(
        "GETDEL HDEL HGETDEL LPOP RPOP LREM LTRIM SPOP SREM ZREM ZPOPMIN ZPOPMAX ZREMRANGEBYRANK"
        " ZREMRANGEBYSCORE ZREMRANGEBYLEX XDEL MOVE JSON.DEL JSON.CLEAR JSON.ARRPOP JSON.ARRTRIM TS.DEL CF.DEL"
        " FT.DROPINDEX VREM XGROUP+DESTROY XGROUP+DELCONSUMER"
    ),
    "all": _names("DEL UNLINK"),
    "counted1": _names("LMPOP ZMPOP"),
    "counted2": _names("BLMPOP BZMPOP"),
    "most": _names("BLPOP BRPOP BZPOPMIN BZPOPMAX"),
    "none": _names("FLUSHDB FLUSHALL"),
}
_OTHERS: Final = {
    "all": _names("WATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE"),
    "none": _names("MULTI EXEC DISCARD UNWATCH"),
}

_EFFECTS: Final = {
    **dict.fromkeys(("GET", "HGET", "GETEX", "GETDEL", "JSON.GET"), "get"),
    **dict.fromkeys(("MGET", "HMGET"), "mget"),
    **dict.fromkeys(("EXISTS", "HEXISTS"), "exists"),
    **dict.fromkeys(
        ("SET", "SETEX", "PSETEX", "SETNX", "GETSET", "MSET", "HSET", "HMSET", "HSETEX", "JSON.SET"), "set"
    ),
    **dict.fromkeys(("DEL", "UNLINK", "HDEL", "JSON.DEL"), "delete"),
}
_COLLECTIONS: Final = words(
    "MGET HGETALL HKEYS HVALS HMGET SMEMBERS SUNION SINTER SDIFF LRANGE ZRANGE ZREVRANGE ZRANGEBYSCORE"
    " ZREVRANGEBYSCORE ZRANGEBYLEX ZREVRANGEBYLEX ZUNION ZINTER ZDIFF KEYS XRANGE XREVRANGE SCAN HSCAN"
    " SSCAN ZSCAN GEOSEARCH TS.RANGE TS.REVRANGE"
)
_BLOCKING: Final = words(
    "BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR"
)
_TRANSACTIONS: Final = words("MULTI EXEC DISCARD WATCH UNWATCH")

PINGS: Final = words("PING ECHO")
SETUP: Final = _names(
    "AUTH HELLO SELECT RESET READONLY READWRITE ASKING QUIT CLIENT+SETINFO CLIENT+SETNAME CLIENT+TRACKING"
    " CLIENT+NO-EVICT CLIENT+NO-TOUCH CLUSTER+SLOTS CLUSTER+SHARDS CLUSTER+NODES COMMAND"
)


def _shapes() -> dict[str, Shape]:
    shapes = {}
    tables: tuple[tuple[Kind, dict[str, frozenset[str]]], ...] = (
        ("select", _READS),
        ("update", _WRITES),
        ("delete", _DELETES),
        ("other", _OTHERS),
    )
    for kind, table in tables:
        for keys, names in table.items():
            for name in names:
                shapes[name] = Shape(
                    "transaction" if name in _TRANSACTIONS else kind,
                    keys,
                    _EFFECTS.get(name, ""),
                    name in _COLLECTIONS,
                    name in _BLOCKING,
                )
    for name in ("WAIT", "WAITAOF", "MONITOR"):
        shapes[name] = Shape(blocking=True)
    return shapes


SHAPES: Final = _shapes()
"""Every command that is known, by its name in capitals."""
