"""psycopg_pool: ConnectionPool, AsyncConnectionPool, and their null variants.

``getconn`` and ``putconn`` are public; making and closing connections are not: ``_connect``, ``_close_connection``,
``_return_connection`` and ``check`` of psycopg_pool 3.1 to 3.3. Sync and async classes have the same names and the same
hooks. The pool's own workers open connections, so a request that waits until one was opened has waited. Nothing is read
from ``pop_stats``, which would take it from the application.
"""

from __future__ import annotations

import sys
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import catalog
from dbsight.instrument import callsite
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.around import Asking, Making
from dbsight.instrument.pools.checkout import asking
from dbsight.instrument.pools.drivers import database_behind, pool_name
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.pool import Pool
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches
from dbsight.model import Database
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Collection

    from dbsight.instrument.pools.checkout import Checkout

_LIBRARY = "psycopg_pool"


class _PsycopgPool(Pool):
    __slots__ = ("asked", "foreign", "given", "strangers")

    library: ClassVar[str] = _LIBRARY
    given: dict[int, ref[Any]]
    strangers: dict[int, ref[Any]]  # out since before it was watched
    foreign: int  # out when the process forked
    asked: bool  # a connection was asked where it leads

    def used(self) -> int:
        return len(self.held) + sum(self._is_out(*each) for each in tuple(self.strangers.items()))

    def _is_out(self, identity: int, stranger: ref[Any]) -> bool:
        # One may have been on its way back when it was found: a connection that is out knows its pool.
        connection = stranger()
        return connection is not None and identity not in self.held and connection._pool is self.pool

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

    def open_now(self) -> int:
        # One number: a connection that is being reset is neither out nor idle.
        pool = self.pool
        return pool._nconns - self.foreign - len(self.making) if pool is not None else 0

    def look(self) -> None:
        """A query that runs now, or a wait for notifications, has no end yet."""
        for held in tuple(self.held.values()):
            if held.inside:
                held.last = perf_counter()

    def unknown_back(self, connection: Any) -> None:
        if self.strangers.pop(id(connection), None) is None and self.foreign:
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
                self.strangers[id(connection)] = ref(connection)

    def learn(self, connection: Any) -> None:
        """Ask the first connection where it leads: a service file or the environment may say so."""
        self.asked = True
        found = database_behind(connection)
        if found is not None:
            self.configure((found.key, self.pool.min_size, self.pool.max_size))
            registry.rename(self, pool_name(found))

    def give(self, connection: Any, held: Checkout | None) -> None:
        """Watch what a connection that is out does, and whether it is ever given back: the pool would not know."""
        identity = id(connection)
        if held is not None:
            connection.__dict__["_dbsight_use"] = _Use(held)

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
        made.strangers = {}
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
    if connection.__dict__.setdefault("_dbsight_closed", False) is False:
        connection.__dict__["_dbsight_closed"] = True
        created = getattr(connection, "_created_at", None)
        watched.closed(reason, max(0.0, time.monotonic() - created) if created is not None else 0.0)


def _reason(pool: Any, connection: Any) -> str:
    if pool.closed:
        return "dispose"
    if connection.closed:
        return "invalid"
    if getattr(connection, "_expire_at", 0.0) <= time.monotonic():
        return "recycle"
    return "unpooled" if "Null" in type(pool).__name__ else "idle"


# -- The hooks --------------------------------------------------------------------------------------------------------


class _Use:
    """What a connection that is out does: everything happens in its ``wait``."""

    __slots__ = ("held",)

    def __init__(self, held: Checkout) -> None:
        self.held = held

    def returned(self, _: Any) -> None:
        self.held.inside -= 1
        self.held.last = perf_counter()

    raised = returned


def _waiting(connection: Any) -> _Use | None:
    use: _Use | None = connection.__dict__.get("_dbsight_use")
    if use is not None:
        use.held.inside += 1
    return use


class _Getting(Asking):
    """One call of ``getconn``."""

    pool: _PsycopgPool

    __slots__ = ()

    def returned(self, connection: Any) -> None:
        asking.reset(self._token)
        self.pool.got(self.held, connection, id(connection))
        self.pool.give(connection, self.held)


def _getting(pool: Any) -> _Getting | None:
    watched = _watched(pool)
    return _Getting(watched, sys.modules[_LIBRARY].PoolTimeout) if watched is not None else None


def _putting(pool: Any, connection: Any) -> None:
    watched = _watched(pool)
    if watched is None or getattr(connection, "_pool", None) is not pool:
        return
    watched.given.pop(id(connection), None)
    connection.__dict__.pop("_dbsight_use", None)
    watched.gave_back(connection)


class _Connecting(Making):
    """One call of ``_connect``."""

    __slots__ = ()

    _pool: _PsycopgPool

    def returned(self, connection: Any) -> None:
        if not self._pool.asked:
            _learn(self._pool, connection)
        super().returned(connection)


@guard
def _learn(watched: _PsycopgPool, connection: Any) -> None:
    watched.learn(connection)


def _connecting(pool: Any) -> _Connecting | None:
    watched = _watched(pool)
    return _Connecting(watched) if watched is not None else None


def _closing(pool: Any, connection: Any) -> None:
    watched = _watched(pool)
    if watched is not None:
        _close(watched, connection, _reason(pool, connection))


def _drop_broken(pool: Any, connections: Collection[Any]) -> None:
    watched = _watched(pool)
    if watched is not None:
        for connection in connections:
            if connection.closed:
                _close(watched, connection, "invalid")


def _returned(_: Any, pool: Any, connection: Any) -> None:
    _drop_broken(pool, (connection,))


class _Checking:
    """One call of ``check``, which drops what is broken."""

    __slots__ = ("_connections", "_pool")

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connections = list(pool._pool)

    def returned(self, _: Any) -> None:
        _drop_broken(self._pool, self._connections)

    def raised(self, _: BaseException) -> None:
        """Nothing is known of it."""


def _made(_: None, pool: Any) -> None:
    _watched(pool)


_HOOKS: Final[dict[str, Any]] = {
    "putconn": {"before": _putting},
    "_close_connection": {"before": _closing},
    "_return_connection": {"after": _returned},
    "check": {"begin": _Checking},
    "_connect": {"begin": _connecting},
    "getconn": {"begin": _getting},
    "__init__": {"after": _made},
}
"""The hook around each method of a pool; what ends something first, for other threads may use pools meanwhile."""


class PsycopgPoolInstrumentor(BaseInstrumentor):
    """Watches every psycopg_pool of the process; ``instrument(meter_provider=…)`` sends their states there."""

    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """psycopg_pool's versions that this works with."""
        return catalog.requirements("psycopg_pool")

    def _instrument(self, **kwargs: Any) -> None:
        patches = self._patches = Patches()
        carry_windows(patches)

        def imported(library: Any) -> None:
            classes = (library.ConnectionPool, library.AsyncConnectionPool)
            adopted = _adopt_existing(classes) or []
            nulls = (library.NullConnectionPool, library.AsyncNullConnectionPool)
            for cls in (*classes, *nulls):
                for name, hook in _HOOKS.items():
                    # The null variants inherit most of them; their own __init__ calls that of the other class.
                    if name in vars(cls) and (cls not in nulls or name not in {"__init__", "check"}):
                        patches.wrap(cls, name, **hook)
            for connection in _connection_classes():
                patches.wrap(connection, "wait", begin=_waiting)
            instruments.observe(_LIBRARY, kwargs.get("meter_provider"))
            patches.at_undo(_forget)
            _recount(adopted)

        patches.when_imported(_LIBRARY, imported)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None


def _forget() -> None:
    for pool in registry.pools():
        if isinstance(pool, _PsycopgPool):
            pool.given.clear()
            pool.pool.__dict__.pop("_dbsight", None)
    instruments.stop_observing(_LIBRARY)


def _connection_classes() -> tuple[type, ...]:
    """Those of the driver, which is imported with its pool."""
    driver = sys.modules["psycopg"]
    return driver.Connection, driver.AsyncConnection


@guard
def _adopt_existing(classes: tuple[type, ...]) -> list[_PsycopgPool]:
    """Pools that were made before: found among all objects, once."""
    return [_adopt(pool, None) for pool in existing(*classes) if not pool.closed]


@guard
def _recount(pools: list[_PsycopgPool]) -> None:
    """What they have, now that all is wrapped; connections that are out know their pool."""
    connections = existing(*_connection_classes()) if pools else []
    for made in pools:
        made.find_strangers(connections)
        idle = list(made.pool._pool)
        made.settling = True
        made.settle()
        if idle and not made.asked:
            made.learn(idle[0])
