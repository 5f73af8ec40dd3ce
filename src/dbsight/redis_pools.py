"""Redis pools by role, shared by all clients with the same target: made when first used, checked, cleaned up.

    client = redis.Redis(connection_pool=dbsight.redis_pool("master"))
    client = redis.asyncio.Redis(connection_pool=dbsight.redis_pool("async"))

Sizes come from the settings: ``OTEL_DBSIGHT_REDIS_PRESET``, ``REDIS_MASTER_POOL_SIZE``, ``REDIS_SLAVE_POOL_SIZE``,
``REDIS_LOCAL_POOL_SIZE``, ``REDIS_ASYNC_POOL_MIN``, ``REDIS_ASYNC_POOL_MAX``. redis-py has to be installed.
"""

from __future__ import annotations

import asyncio
import functools
import os
import queue
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from weakref import WeakKeyDictionary

from dbsight import config
from dbsight.instrument.pools import registry
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Hashable

Role = Literal["master", "slave", "local", "async"]

ROLES: Final[tuple[Role, ...]] = ("master", "slave", "local", "async")

IDLE_AFTER: Final = 300.0
"""s without use after which the connections of a pool are closed; the pool opens new ones when it is used."""

CLEAN_EVERY: Final = 30.0
"""s between two checks of the pools."""

CHECK_EVERY: Final = 30.0
"""s; a connection that was idle for longer is tested with PING before use."""

WAIT: Final = 20.0
"""s that a client waits for a connection before redis-py raises ``ConnectionError``."""

_DEFAULT_URL: Final = "redis://localhost:6379/0"


def redis_pool(role: Role, url: str | None = None, **options: Any) -> Any:
    """The pool of a role and target; clients that ask for the same get the same.

    Args:
        role: ``master``, ``slave`` or ``local`` for threads, ``async`` for the running event loop (each loop has its
            own). It decides how many connections there may be.
        url: Target; by default ``REDIS_URL``, else ``redis://localhost:6379/0``.
        options: Further arguments of redis-py's ``BlockingConnectionPool``.

    Returns:
        A ``redis.BlockingConnectionPool``, or ``redis.asyncio.BlockingConnectionPool``. It connects when first used.

    Raises:
        ValueError: There is no such role, or the URL is none.
        RuntimeError: ``async`` was asked for where no event loop runs.
        ModuleNotFoundError: redis-py is not installed.
    """
    if role not in ROLES:
        raise ValueError(f"{role!r} is not a role: use one of {', '.join(ROLES)}")
    return SharedPoolRegistry._get(role, url or config.environment().get("REDIS_URL") or _DEFAULT_URL, options)


class SharedPoolRegistry:
    """The pools that ``redis_pool`` made in this process. Threads may call everything at any time."""

    _lock: ClassVar[Any] = threading.RLock()
    _pools: ClassVar[dict[Hashable, Any]] = {}
    _on_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Any]]] = WeakKeyDictionary()
    _cleaner: ClassVar[threading.Thread | None] = None

    @classmethod
    def _get(cls, role: Role, url: str, options: dict[str, Any]) -> Any:
        key = (role, url, repr(sorted(options.items())))
        with cls._lock:
            pools = cls._pools
            if role == "async":
                pools = cls._on_loops.setdefault(asyncio.get_running_loop(), {})
            pool = pools.get(key)
            if pool is None:
                pool = pools[key] = _make(role, url, options)
                cls._start_cleaner()
            return pool

    @classmethod
    def _all(cls) -> list[Any]:
        with cls._lock:
            return [*cls._pools.values(), *(pool for pools in cls._on_loops.values() for pool in pools.values())]

    @classmethod
    def get_pool_stats(cls) -> dict[str, Any]:
        """How many pools there are, and how each is used.

        Returns:
            ``total_pools``, and ``pools``: by name (``master localhost:6379/0``) the ``idle_time`` (s since a
            connection was taken or given back, 0 while one is out), ``type`` (class of the pool), ``role``,
            ``max_connections``, ``used``, ``idle`` (connections), ``clients`` (those that are alive; None while
            redis-py is not instrumented) and ``cleanup_failures``.
        """
        pools = cls._all()
        described: dict[str, dict[str, Any]] = {}
        for pool in pools:
            name, number = pool.dbsight_name, 2
            while name in described:  # the same target on another event loop
                name, number = f"{pool.dbsight_name} #{number}", number + 1
            described[name] = pool.dbsight_describe()
        return {"total_pools": len(pools), "pools": described}

    @classmethod
    def register(cls, pool: Any, role: Role) -> None:
        """Give a role to a pool that ``redis_pool`` did not make: metrics have it, and the pool's size is checked.

        Args:
            pool: A pool of redis-py or valkey-py, before clients use it.
            role: As for ``redis_pool``.

        Raises:
            ValueError: There is no such role.
        """
        if role not in ROLES:
            raise ValueError(f"{role!r} is not a role: use one of {', '.join(ROLES)}")
        before = getattr(pool, "dbsight_role", "")
        pool.dbsight_role = role
        watched = pool.__dict__.get("_dbsight")
        if watched is not None:
            registry.rename(watched, f"{watched.name.removesuffix(f' {before}')} {role}")

    @classmethod
    def cleanup(cls, idle_after: float = IDLE_AFTER) -> int:
        """Close the connections of pools that were not used for a while, and drop pools whose event loop is closed.

        Args:
            idle_after: s.

        Returns:
            How many pools were cleaned up.
        """
        cleaned = 0
        with cls._lock:
            for loop in [loop for loop in cls._on_loops if loop.is_closed()]:
                del cls._on_loops[loop]
        for pool in cls._all():
            if pool.dbsight_idle_time() >= idle_after and pool.dbsight_open():
                cleaned += _cleaned(pool)
        return cleaned

    @classmethod
    def close(cls) -> None:
        """Close the pools that threads use, and forget all; those of an event loop are closed with ``aclose()``."""
        with cls._lock:
            pools = list(cls._pools.values())
            cls._pools.clear()
            cls._on_loops = WeakKeyDictionary()
        for pool in pools:
            pool.disconnect()

    @classmethod
    def _start_cleaner(cls) -> None:
        if cls._cleaner is None or not cls._cleaner.is_alive():
            cls._cleaner = threading.Thread(target=cls._clean, name="dbsight-redis-pools", daemon=True)
            cls._cleaner.start()

    @classmethod
    def _clean(cls) -> None:
        wait = threading.Event().wait
        while True:
            wait(CLEAN_EVERY)
            cls._look()

    @classmethod
    @guard
    def _look(cls) -> None:
        cls.cleanup()

    @classmethod
    def _after_fork(cls) -> None:
        """In a forked child: redis-py's own pools notice by themselves, those of the parent's event loop are dead."""
        cls._lock = threading.RLock()
        cls._on_loops = WeakKeyDictionary()
        cls._cleaner = None
        if cls._pools:
            cls._start_cleaner()


def _cleaned(pool: Any) -> bool:
    try:
        pool.dbsight_clean()
    except Exception:
        pool.dbsight_cleanup_failures += 1
        failed("redis_pools.cleanup")
        return False
    return True


def _make(role: Role, url: str, options: dict[str, Any]) -> Any:
    kind = _asynchronous() if role == "async" else _synchronous()
    sized = {
        "max_connections": config.current().redis_pool_size(role),
        "timeout": WAIT,
        "health_check_interval": CHECK_EVERY,
        **options,
    }
    kind.dbsight_making = role
    return kind.from_url(url, **sized)


class _Shared:
    """What a shared pool knows beyond redis-py's.

    Attributes:
        dbsight_role: Its role; also an attribute of its metrics.
        dbsight_cleanup_failures: How often its idle connections could not be closed.
    """

    dbsight_making: Role = "master"
    dbsight_role: str
    dbsight_cleanup_failures: int
    connection_kwargs: dict[str, Any]
    max_connections: int

    def _dbsight_begin(self) -> None:
        self.dbsight_role = type(self).dbsight_making
        self.dbsight_cleanup_failures = 0
        self._dbsight_touched = monotonic()
        self._dbsight_out = 0

    def _dbsight_taken(self) -> None:
        self._dbsight_out += 1
        self._dbsight_touched = monotonic()

    def _dbsight_given_back(self) -> None:
        self._dbsight_out = max(0, self._dbsight_out - 1)
        self._dbsight_touched = monotonic()

    @property
    def dbsight_name(self) -> str:
        """Role and target."""
        options = self.connection_kwargs
        where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return f"{self.dbsight_role} {where}/{options.get('db') or 0}"

    def dbsight_idle_time(self) -> float:
        """S since a connection was taken or given back; 0 while one is out."""
        return 0.0 if self._dbsight_out else monotonic() - self._dbsight_touched

    def dbsight_waiting(self) -> list[Any]:
        """Connections in the pool, with and without a socket."""
        blocking = getattr(getattr(self, "pool", None), "queue", None)
        waiting = getattr(self, "_available_connections", ()) if blocking is None else blocking
        return [each for each in list(waiting) if each is not None]

    def dbsight_open(self) -> list[Any]:
        """Those of them with a socket."""
        return [each for each in self.dbsight_waiting() if _is_open(each)]

    def dbsight_describe(self) -> dict[str, Any]:
        """As in ``get_pool_stats``."""
        watched = self.__dict__.get("_dbsight")
        return {
            "idle_time": self.dbsight_idle_time(),
            "type": type(self).__mro__[2].__name__,
            "role": self.dbsight_role,
            "max_connections": self.max_connections,
            "used": self._dbsight_out,
            "idle": len(self.dbsight_open()),
            "clients": watched.clients() if watched is not None else None,
            "cleanup_failures": self.dbsight_cleanup_failures,
        }


def _is_open(connection: Any) -> bool:
    inner = getattr(connection, "_conn", connection)
    return getattr(inner, "_sock", None) is not None or getattr(inner, "_reader", None) is not None


@functools.cache
def _synchronous() -> Any:
    import redis

    class SharedPool(_Shared, redis.BlockingConnectionPool):
        """A pool for threads."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self._dbsight_begin()
            super().__init__(*args, **options)

        def get_connection(self, *args: Any, **options: Any) -> Any:
            connection = super().get_connection(*args, **options)
            self._dbsight_taken()
            return connection

        def release(self, connection: Any) -> None:
            self._dbsight_given_back()
            super().release(connection)

        def dbsight_clean(self) -> None:
            """Take idle connections out, close them, and put them back, so that they cannot be used meanwhile."""
            taken = []
            try:
                for _ in range(self.max_connections):
                    taken.append(self.pool.get_nowait())  # noqa: PERF401 - what was taken before an error goes back
            except queue.Empty:
                pass
            try:
                for connection in taken:
                    if connection is not None:
                        connection.disconnect()
            finally:
                for connection in reversed(taken):
                    self.pool.put_nowait(connection)

    return SharedPool


@functools.cache
def _asynchronous() -> Any:
    import redis.asyncio

    class SharedPool(_Shared, redis.asyncio.BlockingConnectionPool):
        """A pool for the tasks of one event loop."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self._dbsight_begin()
            self._dbsight_loop = asyncio.get_running_loop()
            super().__init__(*args, **options)

        async def get_connection(self, *args: Any, **options: Any) -> Any:
            connection = await super().get_connection(*args, **options)
            self._dbsight_taken()
            return connection

        async def release(self, connection: Any) -> None:
            self._dbsight_given_back()
            await super().release(connection)

        def dbsight_clean(self) -> None:
            """Close idle connections, but for the smallest number of connections that the settings ask to keep."""
            cleaning = asyncio.run_coroutine_threadsafe(self.dbsight_close_idle(), self._dbsight_loop)
            cleaning.add_done_callback(self._dbsight_cleaned)

        async def dbsight_close_idle(self) -> None:
            """As ``dbsight_clean``, on the pool's own event loop."""
            surplus = self.dbsight_open()[config.current().redis_async_pool_min :]
            for connection in surplus:
                if connection in self._available_connections:  # not taken while another one was closed
                    self._available_connections.remove(connection)
                    try:
                        await connection.disconnect()
                    finally:
                        self._available_connections.append(connection)

        def _dbsight_cleaned(self, future: Any) -> None:
            if not future.cancelled() and future.exception() is not None:
                self.dbsight_cleanup_failures += 1

    return SharedPool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SharedPoolRegistry._after_fork)
