"""redis-py's and valkey-py's pools: plain and blocking, sync and async, of sentinels and of clusters.

``get_connection`` and ``release`` are public; what is open is asked of ``_available_connections`` or, of a blocking
pool, its ``pool.queue`` (redis-py 5 to 8). A connection of these pools is an object that may have lost its socket and
makes another when it is next used: counted is what has a socket, where it is made and where it is closed. The nodes of
an asynchronous cluster keep their connections themselves: ``redis_nodes.py``.
"""

from __future__ import annotations

import os
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakSet

from dbsight import config
from dbsight.instrument import callsite
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.around import Making
from dbsight.instrument.pools.checkout import asking
from dbsight.instrument.pools.pool import Pool
from dbsight.instrument.redis_clients import database_of, pools_measure_themselves, running
from dbsight.safety import failed

if TYPE_CHECKING:
    from types import FrameType

    from dbsight.instrument.pools.checkout import Checkout

NO_LIMIT: Final = 2**30
PACKAGES: Final = ("redis.", "valkey.")
_DBSIGHT: Final = "dbsight."
_MAKES_ITS_OWN: Final = frozenset(("kombu",))
"""Libraries that make pools for each of their channels: no line of the application could share them."""
_MAX_MAKERS: Final = 20
"""Frames of the client library and of ours above the making of a pool."""


class LatePool(Pool):
    """One that may have given out connections before it was watched.

    Attributes:
        strangers: These, by identity.
    """

    __slots__ = ("strangers",)

    library: ClassVar[str] = "redis"

    def __init__(self, pool: Any, name: str, **about: Any) -> None:
        self.strangers: set[int] = set()
        super().__init__(pool, name, **about)

    def used(self) -> int:
        """Connections that are out."""
        return len(self.held) + len(self.strangers)

    def unknown_back(self, connection: Any) -> None:
        """One of those that were out already."""
        self.strangers.discard(id(connection))

    def forked(self) -> None:
        """Those are the parent's."""
        super().forked()
        self.strangers.clear()


class RedisPool(LatePool):
    """One pool.

    Attributes:
        users: The clients that share it.
        disposing: It is being disconnected as a whole.
        since: When the process forked, on ``perf_counter``, where the pool then forgets its connections; else 0.
    """

    __slots__ = ("disposing", "since", "users")

    users: WeakSet[Any]
    disposing: bool
    since: float

    def idle(self) -> int:
        """Connections with a socket that wait."""
        pool = self.pool
        if pool is None or self._is_inherited(pool):
            return 0
        return sum(map(is_open, available(pool)))

    def forked(self) -> None:
        """A synchronous pool resets on its next use."""
        super().forked()
        if self._is_inherited(self.pool):
            self.since = perf_counter()

    @staticmethod
    def _is_inherited(pool: Any) -> bool:
        return getattr(pool, "pid", None) not in {None, os.getpid()}

    def max(self) -> int | None:
        """``max_connections``, which is a very large number if unlimited."""
        pool = self.pool
        limit = getattr(pool, "max_connections", None)
        return limit if isinstance(limit, int) and limit < NO_LIMIT else None

    def idle_max(self) -> int | None:
        """All that it made are kept."""
        return self.max()

    def clients(self) -> int:
        """Clients that share it; at least one."""
        return max(1, len(self.users))


def available(pool: Any) -> list[Any]:
    """The connections that wait in a pool, with and without a socket."""
    queue = getattr(getattr(pool, "pool", None), "queue", None)
    if queue is not None:  # a blocking one
        return [each for each in list(queue) if each is not None]
    return list(getattr(pool, "_available_connections", ()))


def is_open(connection: Any) -> bool:
    """Whether a connection was made and is not closed."""
    inner = getattr(connection, "_conn", connection)  # a connection with a cache in front
    return bool(inner.__dict__.get("_dbsight_opened")) or has_socket(inner)


def has_socket(connection: Any) -> bool:
    """Whether it has one now."""
    if hasattr(connection, "_sock"):
        return connection._sock is not None
    return getattr(connection, "_reader", None) is not None


def watched(pool: Any, package: str) -> RedisPool | None:
    """A pool of the library as we know it; None where the library measures it by itself. Never raises."""
    try:
        known: RedisPool | None = pool.__dict__.get("_dbsight")
        if known is not None:
            return known
        return None if pools_measure_themselves(package) else adopt(pool, package, callsite.find())
    except Exception:
        failed("pools.redis")
        return None


def adopt(pool: Any, package: str, site: Any) -> RedisPool:
    """Watch a pool from now on; one that is watched already stays as it is."""
    with registry.adopting:
        known: RedisPool | None = pool.__dict__.get("_dbsight")
        return known if known is not None else _adopt(pool, package, site)


def _adopt(pool: Any, package: str, site: Any) -> RedisPool:
    database = database_of(pool, package)
    where = database.address if database.port is None else f"{database.address}:{database.port}"
    role = getattr(pool, "dbsight_role", "")  # of redis_pools: the same server may be asked in several roles
    if not role:
        declared = config.current().redis_roles
        role = declared.get(str(where).lower()) or declared.get(str(database.address).lower(), "")
        if role:
            pool.dbsight_role = role
    name = f"{where}/{database.namespace}{' ' if role else ''}{role}"
    options = getattr(pool, "connection_kwargs", {})
    shared = ("username", "protocol", "decode_responses", "encoding", "ssl_certfile")
    # A connection of another class is another one, though it has the same settings.
    kind = getattr(pool, "connection_class", None)
    own = id(pool) if _maker(sys._getframe(1)) in _MAKES_ITS_OWN else 0
    configuration = (name, pool.max_connections, kind, own, *(str(options.get(each)) for each in shared))
    made = RedisPool(
        pool,
        name,
        system=package,
        configuration=configuration,
        site=site,
        asynchronous=any("asyncio" in kind.__module__ for kind in type(pool).__mro__),
    )
    made.users = WeakSet()
    made.disposing = False
    made.since = 0.0
    pool.__dict__["_dbsight"] = made
    return made


def _maker(frame: FrameType | None) -> str:
    """The package that makes a pool, from the frames above; empty where that is unknown."""
    for _ in range(_MAX_MAKERS):
        if frame is None:
            break
        name = str(frame.f_globals.get("__name__"))
        if not name.startswith((*PACKAGES, _DBSIGHT)):
            return name.partition(".")[0]
        frame = frame.f_back
    return ""


# -- Connections --------------------------------------------------------------------------------------------------
def _asked() -> Checkout | None:
    """What this thread or task asks a pool for."""
    sending = running.get()
    if sending is not None and sending.request is not None:
        return sending.request
    return asking.get()


def _pool_of(connection: Any) -> RedisPool | None:
    known: RedisPool | None = connection.__dict__.get("_dbsight_pool")
    if known is None:
        request = _asked()
        if request is not None and isinstance(request.pool, RedisPool):
            known = connection.__dict__["_dbsight_pool"] = request.pool
    return known


def note_open(connection: Any) -> None:
    """It has a socket from now on."""
    connection.__dict__["_dbsight_opened"] = perf_counter()


class _Connecting(Making):
    """That of a sentinel is one, though its class and the one that it is derived from both connect."""

    __slots__ = ("_connection",)

    def __init__(self, pool: RedisPool, connection: Any) -> None:
        super().__init__(pool, _asked())
        self._connection = connection.__dict__
        self._connection["_dbsight_connecting"] = True

    def returned(self, result: Any) -> None:
        """It has a socket."""
        self._connection.pop("_dbsight_connecting", None)
        self._connection["_dbsight_opened"] = perf_counter()
        super().returned(result)

    def raised(self, error: BaseException) -> None:
        """It has none."""
        self._connection.pop("_dbsight_connecting", None)
        super().raised(error)


def connecting(connection: Any) -> _Connecting | None:
    """The hook around its ``connect``, which is called for each checkout: nearly always there is a socket."""
    about = connection.__dict__
    if about.get("_sock") is not None or has_socket(connection) or "_dbsight_connecting" in about:
        return None
    pool = _pool_of(connection)
    return _Connecting(pool, connection) if pool is not None else None


def closing(connection: Any) -> None:
    """A socket that was made is closed."""
    opened = connection.__dict__.pop("_dbsight_opened", None)
    pool = connection.__dict__.get("_dbsight_pool")
    if opened is not None and pool is not None and opened >= getattr(pool, "since", 0.0):
        pool.closed("dispose" if getattr(pool, "disposing", False) else "invalid", perf_counter() - opened)


def cache_asked(_: Any, connection: Any) -> None:
    """A command was given to a connection with the client's own cache in front: note whether that answers it."""
    sending = running.get()
    key = connection._current_command_cache_key
    if sending is not None and not sending.over:
        entry = connection._cache.get(key) if key is not None else None
        local = entry is not None and entry.status.name == "VALID"
        if local or sending.noted("local"):
            sending.have(local=local)
