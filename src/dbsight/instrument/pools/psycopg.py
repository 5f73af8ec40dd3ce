"""psycopg_pool: ConnectionPool, AsyncConnectionPool, and their null variants.

``getconn`` and ``putconn`` are public; making and closing connections are not: ``_connect``, ``_close_connection``,
``_return_connection`` and ``check`` of psycopg_pool 3.1 to 3.3. Sync and async classes have the same names; a method is
wrapped by its kind. Connections are made by the pool's own workers, so that a request that waits until one was made
has waited. Nothing is read from ``pop_stats``, which would take it from the application.
"""

from __future__ import annotations

import inspect
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight.instrument import callsite
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.around import Asking, Making
from dbsight.instrument.pools.drivers import database_behind, pool_name
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.pool import Pool
from dbsight.model import Database
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dbsight.instrument.pools.held import Held

_LIBRARY = "psycopg_pool"


class _PsycopgPool(Pool):
    __slots__ = ("asked", "foreign", "given", "strangers")

    library: ClassVar[str] = _LIBRARY
    given: dict[int, ref[Any]]
    strangers: set[int]  # out since before it was watched
    foreign: int  # out when the process forked
    asked: bool  # a connection was asked where it leads

    def used(self) -> int:
        return len(self.held) + sum(each not in self.held for each in tuple(self.strangers))

    def idle(self) -> int:
        pool = self.pool
        return len(pool._pool) if pool is not None else 0

    def max(self) -> int | None:
        pool = self.pool
        return (pool.max_size or None) if pool is not None else None

    def idle_max(self) -> int | None:
        pool = self.pool
        if pool is None:
            return None
        return 0 if "Null" in self.kind else pool.max_size

    def idle_min(self) -> int:
        pool = self.pool
        return pool.min_size if pool is not None else 0

    def retired(self) -> bool:
        pool = self.pool
        return pool is None or bool(pool.closed and pool._opened)

    def look(self) -> None:
        """A query that runs now, or a wait for notifications, has no end yet."""
        for held in tuple(self.held.values()):
            if held.inside:
                held.last = perf_counter()

    def unknown_back(self, connection: Any) -> None:
        if id(connection) in self.strangers:
            self.strangers.discard(id(connection))
        elif self.foreign:
            self.foreign -= 1
            registry.opened(self.counts)

    def forked(self) -> None:
        self.foreign += self.used()
        self.strangers.clear()
        self.given.clear()
        super().forked()

    def find_strangers(self, connections: list[Any]) -> None:
        """Remember which connections are out already: they know their pool until they are given back."""
        pool = self.pool
        for connection in connections:
            if getattr(connection, "_pool", None) is pool:
                self.strangers.add(id(connection))
                if connection._pool is not pool:  # given back meanwhile
                    self.strangers.discard(id(connection))

    def learn(self, connection: Any) -> None:
        """Ask the first connection where it leads: a service file or the environment may say so."""
        self.asked = True
        found = database_behind(connection)
        if found is not None:
            self.configure((found.key, self.pool.min_size, self.pool.max_size))
            registry.rename(self, pool_name(found))

    def give(self, connection: Any, held: Held | None) -> None:
        """Watch what a connection that is out does, and whether it is ever given back: the pool would not know."""
        identity = id(connection)
        if held is not None:
            connection.wait = _wait(type(connection).wait, ref(connection), held)

        def collected(_: ref[Any]) -> None:
            try:
                if self.given.pop(identity, None) is not None:
                    self.lost(identity)
                    self.held.pop(identity, None)
                    self.closed("collected")
            except Exception:
                failed("pools.psycopg.collected")

        self.given[identity] = ref(connection, collected)


def _watched(pool: Any) -> _PsycopgPool | None:
    try:
        known: _PsycopgPool | None = pool.__dict__.get("_dbsight")
        return known if known is not None else _adopt(pool, callsite.find())
    except Exception:
        failed("pools.psycopg")
        return None


def _adopt(pool: Any, site: Any) -> _PsycopgPool:
    with registry.adopting:
        known: _PsycopgPool | None = pool.__dict__.get("_dbsight")
        if known is not None:
            return known
        database = _database(pool)
        made = _PsycopgPool(
            pool,
            pool_name(database) if database is not None else str(pool.name),
            system="postgresql",
            configuration=(database.key if database is not None else pool.name, pool.min_size, pool.max_size),
            site=site,
            asynchronous="Async" in type(pool).__name__,
        )
        made.given = {}
        made.strangers = set()
        made.foreign = 0
        made.asked = False
        pool._dbsight = made
        return made


def _database(pool: Any) -> Database | None:
    """Where it leads as far as its arguments say; None where only connecting tells."""
    from psycopg.conninfo import conninfo_to_dict

    if callable(pool.conninfo) or callable(pool.kwargs):
        return None
    wanted = ("host", "hostaddr", "port", "dbname", "user")
    keywords = {key: value for key, value in (pool.kwargs or {}).items() if key in wanted}
    parts = conninfo_to_dict(pool.conninfo or "", **keywords)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    port = str(parts.get("port") or "")
    namespace = parts.get("dbname") or parts.get("user") or ""
    return Database("postgresql", str(namespace), str(host), int(port) if port.isdigit() else None)


def _close(watched: _PsycopgPool, connection: Any, reason: str) -> None:
    """Count a connection as closed, once."""
    try:
        if connection.__dict__.setdefault("_dbsight_closed", False) is False:
            connection.__dict__["_dbsight_closed"] = True
            created = getattr(connection, "_created_at", None)
            watched.closed(reason, max(0.0, time.monotonic() - created) if created is not None else 0.0)
    except Exception:
        failed("pools.psycopg.close")


def _returned(watched: _PsycopgPool, connection: Any) -> None:
    try:
        watched.given.pop(id(connection), None)
        connection.__dict__.pop("wait", None)
        watched.gave_back(connection)
    except Exception:
        failed("pools.psycopg.returned")


def _reason(pool: Any, connection: Any) -> str:
    if pool.closed:
        return "dispose"
    if connection.closed:
        return "invalid"
    if getattr(connection, "_expire_at", 0.0) <= time.monotonic():
        return "recycle"
    return "unpooled" if "Null" in type(pool).__name__ else "idle"


def _wait(original: Any, connection: ref[Any], held: Held) -> Any:
    """In the place of ``wait``, in which everything happens that a connection does, while it is out."""

    def wait(*arguments: Any, **named: Any) -> Any:
        held.inside += 1
        try:
            return original(connection(), *arguments, **named)
        finally:
            held.inside -= 1
            held.last = perf_counter()

    async def wait_async(*arguments: Any, **named: Any) -> Any:
        held.inside += 1
        try:
            return await original(connection(), *arguments, **named)
        finally:
            held.inside -= 1
            held.last = perf_counter()

    return wait_async if inspect.iscoroutinefunction(original) else wait


# -- The wrappers; the second of each pair is the first with ``await`` ------------------------------------------------


def _getconn(original: Any, timeout_class: type[BaseException]) -> Any:
    def getconn(pool: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is None:
            return original(pool, *arguments, **named)
        with Asking(watched, timeout_class) as asked:
            connection = original(pool, *arguments, **named)
            held = asked.got(connection)
        watched.give(connection, held)
        return connection

    async def getconn_async(pool: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is None:
            return await original(pool, *arguments, **named)
        with Asking(watched, timeout_class) as asked:
            connection = await original(pool, *arguments, **named)
            held = asked.got(connection)
        watched.give(connection, held)
        return connection

    return getconn_async if inspect.iscoroutinefunction(original) else getconn


def _putconn(original: Any) -> Any:
    def putconn(pool: Any, conn: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is not None and getattr(conn, "_pool", None) is pool:
            _returned(watched, conn)
        return original(pool, conn, *arguments, **named)

    async def putconn_async(pool: Any, conn: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is not None and getattr(conn, "_pool", None) is pool:
            _returned(watched, conn)
        return await original(pool, conn, *arguments, **named)

    return putconn_async if inspect.iscoroutinefunction(original) else putconn


def _connect(original: Any) -> Any:
    def connect(pool: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is None:
            return original(pool, *arguments, **named)
        with Making(watched):
            connection = original(pool, *arguments, **named)
            if not watched.asked:
                _learn(watched, connection)
        return connection

    async def connect_async(pool: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is None:
            return await original(pool, *arguments, **named)
        with Making(watched):
            connection = await original(pool, *arguments, **named)
            if not watched.asked:
                _learn(watched, connection)
        return connection

    return connect_async if inspect.iscoroutinefunction(original) else connect


@guard
def _learn(watched: _PsycopgPool, connection: Any) -> None:
    watched.learn(connection)


def _close_connection(original: Any) -> Any:
    def close(pool: Any, conn: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is not None:
            _close(watched, conn, _reason(pool, conn))
        return original(pool, conn, *arguments, **named)

    async def close_async(pool: Any, conn: Any, *arguments: Any, **named: Any) -> Any:
        watched = _watched(pool)
        if watched is not None:
            _close(watched, conn, _reason(pool, conn))
        return await original(pool, conn, *arguments, **named)

    return close_async if inspect.iscoroutinefunction(original) else close


def _drop_broken(pool: Any, connections: Collection[Any]) -> None:
    watched = _watched(pool)
    if watched is not None:
        for connection in connections:
            if connection.closed:
                _close(watched, connection, "invalid")


def _return_connection(original: Any) -> Any:
    def give_back(pool: Any, conn: Any, *arguments: Any, **named: Any) -> Any:
        result = original(pool, conn, *arguments, **named)
        _drop_broken(pool, (conn,))
        return result

    async def give_back_async(pool: Any, conn: Any, *arguments: Any, **named: Any) -> Any:
        result = await original(pool, conn, *arguments, **named)
        _drop_broken(pool, (conn,))
        return result

    return give_back_async if inspect.iscoroutinefunction(original) else give_back


def _check(original: Any) -> Any:
    def check(pool: Any) -> Any:
        connections = list(pool._pool)
        result = original(pool)
        _drop_broken(pool, connections)
        return result

    async def check_async(pool: Any) -> Any:
        connections = list(pool._pool)
        result = await original(pool)
        _drop_broken(pool, connections)
        return result

    return check_async if inspect.iscoroutinefunction(original) else check


def _init(original: Any) -> Any:
    def __init__(pool: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807 - it takes the place of one
        original(pool, *arguments, **named)
        _watched(pool)

    return __init__


class PsycopgPoolInstrumentor(BaseInstrumentor):
    """Watches every psycopg_pool of the process; ``instrument(meter_provider=…)`` sends their states there."""

    _undo: tuple[Callable[[], None], ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """psycopg_pool's versions that this works with."""
        return ("psycopg_pool >= 3.1",)

    def _instrument(self, **kwargs: Any) -> None:
        import psycopg_pool

        classes = (psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool)
        adopted = _adopt_existing(classes) or []
        nulls = (psycopg_pool.NullConnectionPool, psycopg_pool.AsyncNullConnectionPool)
        undo: list[Callable[[], None]] = []
        for cls in (*classes, *nulls):
            wrappers = {
                "__init__": _init,
                "getconn": lambda original: _getconn(original, psycopg_pool.PoolTimeout),
                "putconn": _putconn,
                "_connect": _connect,
                "_close_connection": _close_connection,
                "_return_connection": _return_connection,
                "check": _check,
            }
            for name, wrap in wrappers.items():
                # The null variants inherit most of them; their own __init__ calls that of the other class.
                original = cls.__dict__.get(name)
                if original is None or (cls in nulls and name in {"__init__", "check"}):
                    continue
                setattr(cls, name, wrap(original))
                undo.append(_restore(cls, name, cls.__dict__[name], original))
        self._undo = tuple(undo)
        instruments.observe(_LIBRARY, kwargs.get("meter_provider"))
        _recount(adopted)

    def _uninstrument(self, **kwargs: Any) -> None:
        for undo in self._undo:
            undo()
        self._undo = ()
        for pool in registry.pools():
            if isinstance(pool, _PsycopgPool):
                pool.given.clear()
                pool.pool.__dict__.pop("_dbsight", None)
        instruments.stop_observing(_LIBRARY)


def _restore(cls: Any, name: str, wrapper: Any, original: Any) -> Callable[[], None]:
    def undo() -> None:
        if cls.__dict__.get(name) is wrapper:
            setattr(cls, name, original)

    return undo


@guard
def _adopt_existing(classes: tuple[type, ...]) -> list[_PsycopgPool]:
    """Pools that were made before: found among all objects, once."""
    return [_adopt(pool, None) for pool in existing(*classes) if not pool.closed]


@guard
def _recount(pools: list[_PsycopgPool]) -> None:
    """What they have, now that all is wrapped; connections that are out know their pool."""
    import psycopg

    connections = existing(psycopg.Connection, psycopg.AsyncConnection) if pools else []
    for made in pools:
        made.find_strangers(connections)
        idle = list(made.pool._pool)
        registry.recount(made, made.used() + len(idle))
        if idle and not made.asked:
            made.learn(idle[0])
