"""redis-py's and valkey-py's pools: plain and blocking, sync and async, of sentinels and of clusters.

``get_connection`` and ``release`` are public; what is open is asked of ``_available_connections`` or, of a blocking
pool, its ``pool.queue`` (redis-py 5 to 8). A connection of these pools is an object that may have lost its socket and
makes another when it is next used: counted is what has a socket, where it is made and where it is closed. The nodes of
an asynchronous cluster keep their connections themselves: ``redis_nodes.py``.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakSet

from dbsight.instrument import callsite
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.around import Making
from dbsight.instrument.pools.held import asking
from dbsight.instrument.pools.pool import Pool
from dbsight.instrument.redis_clients import WATCHING, database_of, pools_measure_themselves, running
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from dbsight.instrument.pools.held import Held
    from dbsight.instrument.redis_clients import Sending

NO_LIMIT: Final = 2**30
_EXHAUSTED: Final = ("No connection available.", "Too many connections")
_PACKAGES: Final = ("redis.", "valkey.")
_SHARED_POOLS: Final = "dbsight.redis_pools"


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
        """A pool for threads begins anew when it is next used."""
        super().forked()
        if self._is_inherited(self.pool):
            self.since = perf_counter()

    @staticmethod
    def _is_inherited(pool: Any) -> bool:
        return getattr(pool, "pid", None) not in {None, os.getpid()}

    def max(self) -> int | None:
        """``max_connections``, which is a very large number where nobody limited it."""
        pool = self.pool
        limit = getattr(pool, "max_connections", None)
        return limit if isinstance(limit, int) and limit < NO_LIMIT else None

    def idle_max(self) -> int | None:
        """All that it made are kept."""
        return self.max()

    def clients(self) -> int:
        """Clients that share it; one that was made without is used by somebody, too."""
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


def _watched(pool: Any, package: str) -> RedisPool | None:
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
    name = f"{where}/{database.namespace}{' ' if role else ''}{role}"
    options = getattr(pool, "connection_kwargs", {})
    shared = ("username", "protocol", "decode_responses", "encoding", "ssl_certfile")
    configuration = (name, pool.max_connections, *(str(options.get(each)) for each in shared))
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


def _is_asynchronous(original: Any) -> bool:
    """Whether a method is awaited: decorators of redis-py 5 and 6 hide it behind a plain function."""
    return inspect.iscoroutinefunction(inspect.unwrap(original))


# -- Connections --------------------------------------------------------------------------------------------------
def _asked() -> Held | None:
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.pop("_dbsight_connecting", None)
        if error is None:
            self._connection["_dbsight_opened"] = perf_counter()
        super().__exit__(kind, error, trace)


def _to_be_connected(connection: Any) -> RedisPool | None:
    """The pool of a connection that has no socket, and that nobody connects already."""
    if has_socket(connection) or "_dbsight_connecting" in connection.__dict__:
        return None
    return _pool_of(connection)


def around_connect(original: Any) -> Any:
    """In the place of a connection's ``connect``."""

    @functools.wraps(original)
    def connect(self: Any, *args: Any, **options: Any) -> Any:
        if self.__dict__.get("_sock") is not None:  # nearly always: it is asked each time when one is taken
            return original(self, *args, **options)
        pool = _to_be_connected(self)
        if pool is None:
            return original(self, *args, **options)
        with _Connecting(pool, self):
            return original(self, *args, **options)

    @functools.wraps(original)
    async def connect_async(self: Any, *args: Any, **options: Any) -> Any:
        if self.__dict__.get("_reader") is not None:
            return await original(self, *args, **options)
        pool = _to_be_connected(self)
        if pool is None:
            return await original(self, *args, **options)
        with _Connecting(pool, self):
            return await original(self, *args, **options)

    return connect_async if _is_asynchronous(original) else connect


def _closing(connection: Any) -> None:
    """A socket that was made is closed."""
    try:
        opened = connection.__dict__.pop("_dbsight_opened", None)
        pool = connection.__dict__.get("_dbsight_pool")
        if opened is not None and pool is not None and opened >= getattr(pool, "since", 0.0):
            pool.closed("dispose" if getattr(pool, "disposing", False) else "invalid", perf_counter() - opened)
    except Exception:
        failed("pools.redis.closing")


def around_disconnect(original: Any) -> Any:
    """In the place of its ``disconnect``."""

    @functools.wraps(original)
    def disconnect(self: Any, *args: Any, **options: Any) -> Any:
        _closing(self)
        return original(self, *args, **options)

    @functools.wraps(original)
    async def disconnect_async(self: Any, *args: Any, **options: Any) -> Any:
        _closing(self)
        return await original(self, *args, **options)

    return disconnect_async if _is_asynchronous(original) else disconnect


# -- Pools --------------------------------------------------------------------------------------------------------
def timed_out(error: BaseException | None) -> bool:
    """Whether this is how the library says that the time was over: by a text, or by an asynchronous cluster's class."""
    text = str(error.args[0]) if error is not None and error.args else ""
    return text in _EXHAUSTED or type(error).__name__ == "MaxConnectionsError"


class _Others:
    """Whoever asks for a connection without a command that is watched; a command notes itself what it asks for.

    Attributes:
        request: What is asked for at the moment; a command keeps it without a ContextVar, which costs more.
    """

    over = False

    @property
    def request(self) -> Held | None:
        return asking.get()

    @request.setter
    def request(self, request: Held | None) -> None:
        asking.set(request)

    @guard
    def _given(self, request: Held, connection: Any, frame: FrameType) -> None:
        held = request.pool.got(request, connection)
        if held is not None:
            held.kept = gives_back(frame)

    def given(self, request: Held, connection: Any) -> None:
        """As ``Sending.given``; called by what takes the place of a pool's method, for it looks who called that."""
        self._given(request, connection, sys._getframe(2))


_OTHERS: Final = _Others()


def asker() -> Sending | _Others:
    """Who asks for a connection here: the command that is being sent, or somebody else."""
    sending = running.get()
    return sending if sending is not None and not sending.over else _OTHERS


def reached(connection: Any) -> Any:
    """A command has this connection, of a pool that is not watched: the library measures it itself."""
    try:
        sending = running.get()
        if sending is not None and not sending.over and sending.operation.database.several:
            sending.reached(connection)
    except Exception:
        failed("pools.redis.reached")
    return connection


def gives_back(frame: FrameType | None) -> bool:
    """Whether redis-py itself asked: it gives back, or keeps what subscriptions and clients of one connection need."""
    while frame is not None and frame.f_globals.get("__name__") == _SHARED_POOLS:
        frame = frame.f_back
    if frame is None or frame.f_code.co_name in WATCHING:
        return False
    return str(frame.f_globals.get("__name__")).startswith(_PACKAGES)


def around_get_connection(original: Any, package: str) -> Any:
    """In the place of a pool's ``get_connection``."""

    @functools.wraps(original)
    def get_connection(self: Any, *args: Any, **options: Any) -> Any:
        pool = self.__dict__.get("_dbsight") or _watched(self, package)
        if pool is None:
            return reached(original(self, *args, **options))
        who = asker()
        before = who.request
        who.request = request = pool.ask()
        try:
            connection = original(self, *args, **options)
        except BaseException as error:
            pool.gave_up(request, timed_out=timed_out(error))
            raise
        finally:
            who.request = before
        who.given(request, connection)
        return connection

    @functools.wraps(original)
    async def get_connection_async(self: Any, *args: Any, **options: Any) -> Any:
        pool = self.__dict__.get("_dbsight") or _watched(self, package)
        if pool is None:
            return reached(await original(self, *args, **options))
        who = asker()
        before = who.request
        who.request = request = pool.ask()
        try:
            connection = await original(self, *args, **options)
        except BaseException as error:
            pool.gave_up(request, timed_out=timed_out(error))
            raise
        finally:
            who.request = before
        who.given(request, connection)
        return connection

    return get_connection_async if _is_asynchronous(original) else get_connection


def around_release(original: Any, package: str) -> Any:
    """In the place of its ``release``. Whoever waits for the connection is served before this returns."""

    @functools.wraps(original)
    def release(self: Any, connection: Any, *args: Any, **options: Any) -> Any:
        pool = self.__dict__.get("_dbsight") or _watched(self, package)
        if pool is not None:
            pool.gave_back(connection)
        return original(self, connection, *args, **options)

    @functools.wraps(original)
    async def release_async(self: Any, connection: Any, *args: Any, **options: Any) -> Any:
        pool = self.__dict__.get("_dbsight") or _watched(self, package)
        if pool is not None:
            pool.gave_back(connection)
        return await original(self, connection, *args, **options)

    return release_async if _is_asynchronous(original) else release


def around_dispose(original: Any, package: str) -> Any:
    """In the place of its ``disconnect``."""

    @functools.wraps(original)
    def disconnect(self: Any, *args: Any, **options: Any) -> Any:
        pool = self.__dict__.get("_dbsight")
        if pool is None:
            return original(self, *args, **options)
        pool.disposing = True
        try:
            return original(self, *args, **options)
        finally:
            pool.disposing = False

    @functools.wraps(original)
    async def disconnect_async(self: Any, *args: Any, **options: Any) -> Any:
        pool = self.__dict__.get("_dbsight")
        if pool is None:
            return await original(self, *args, **options)
        pool.disposing = True
        try:
            return await original(self, *args, **options)
        finally:
            pool.disposing = False

    return disconnect_async if _is_asynchronous(original) else disconnect


def around_init(original: Any, package: str) -> Any:
    """In the place of its ``__init__``."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it takes the place of one
        original(self, *args, **options)
        if not hasattr(type(self), "get_master_address"):  # a sentinel's learns only then which service it leads to
            _watched(self, package)

    return __init__


def around_client_init(original: Any, package: str) -> Any:
    """In the place of a client's ``__init__``."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - as above
        original(self, *args, **options)
        try:
            pool = _watched(self.connection_pool, package)
            if pool is not None:
                pool.users.add(self)
        except Exception:
            failed("pools.redis.client")

    return __init__
