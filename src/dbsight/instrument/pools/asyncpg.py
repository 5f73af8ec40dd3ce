"""asyncpg.Pool.

It can be asked for its sizes; requests, connections made and closed are seen around ``Pool._acquire`` and the
``connect``, ``_release`` and ``_release_on_close`` of its holders, asyncpg 0.27 to 0.32. A pool allows no weak
references, but its first holder, which lives as long, does.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import catalog
from dbsight.instrument import callsite
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.around import Asking, Making
from dbsight.instrument.pools.checkout import asking
from dbsight.instrument.pools.drivers import database_behind, pool_name, runs_query
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.pool import Pool
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches
from dbsight.model import Database
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Collection

_LIBRARY = "asyncpg"

_known: WeakKeyDictionary[Any, _AsyncpgPool] = WeakKeyDictionary()
"""By the first holder of each pool."""


class _AsyncpgPool(Pool):
    """Its ``pool`` is the first holder, which knows the pool."""

    __slots__ = ("asked", "foreign", "made_at", "unseen")

    library: ClassVar[str] = _LIBRARY
    made_at: dict[int, float]
    foreign: set[int]  # holders whose connections were out when the process forked
    unseen: set[int]  # holders that had no connection, or were making one, when it began to be watched
    asked: bool  # a connection was asked where it leads

    def _asyncpg(self) -> Any:
        holder = self.pool
        return holder._pool if holder is not None else None

    def used(self) -> int:
        return len(self._out())

    def _out(self) -> list[int]:
        """The holders whose connections are out."""
        pool = self._asyncpg()
        out = [id(holder) for holder in pool._holders if holder.is_connected() and not holder.is_idle()] if pool else []
        return [identity for identity in out if identity not in self.foreign]

    def forked(self) -> None:
        out = self._out()
        self.foreign.update(out)
        for identity in out:
            self.made_at.pop(identity, None)
        super().forked()

    def unknown_back(self, connection: Any) -> None:
        if id(connection) in self.foreign:
            self.foreign.discard(id(connection))
            self.opened(connection)
            registry.opened(self.counts)

    def idle(self) -> int:
        pool = self._asyncpg()
        return pool.get_idle_size() if pool else 0

    def max(self) -> int | None:
        pool = self._asyncpg()
        return pool.get_max_size() if pool else None

    def idle_max(self) -> int | None:
        return self.max()

    def idle_min(self) -> int:
        pool = self._asyncpg()
        return pool.get_min_size() if pool else 0

    def retired(self) -> bool:
        pool = self._asyncpg()
        return pool is None or pool._closed

    def look(self) -> None:
        """A connection counts its queries when they begin."""
        pool = self._asyncpg()
        for holder in pool._holders if pool else ():
            if id(holder) in self.unseen and holder.is_connected():
                self.unseen.discard(id(holder))
                self.opened(holder)
                registry.opened(self.counts)
            held = self.held.get(id(holder))
            if held is not None:
                queries = _queries(holder)
                if queries != held.seen or runs_query(holder._con):
                    held.seen = queries
                    held.last = perf_counter()

    def opened(self, holder: Any) -> None:
        """A holder has a new connection; the one before it is gone without a word."""
        if id(holder) in self.made_at:
            self.gone(holder, "invalid")
        self.made_at[id(holder)] = perf_counter()
        if not self.asked:
            self.learn(holder._con)

    def learn(self, connection: Any) -> None:
        """Ask the first connection where it leads: the environment may say so."""
        self.asked = True
        pool = self._asyncpg()
        found = database_behind(connection)
        if found is not None and pool is not None:
            self.configure((found.key, pool._minsize, pool._maxsize))
            registry.rename(self, pool_name(found))

    def gone(self, holder: Any, reason: str) -> None:
        """A holder's connection is closed."""
        made = self.made_at.pop(id(holder), None)
        if made is not None:
            self.closed(reason, perf_counter() - made)


def _watched(pool: Any) -> _AsyncpgPool | None:
    try:
        holders = pool._holders
        if not holders:
            return None
        known = _known.get(holders[0])
        return known if known is not None else _adopt(pool, callsite.find())
    except Exception:
        failed("pools.asyncpg")
        return None


def _adopt(pool: Any, site: Any) -> _AsyncpgPool:
    with registry.adopting:
        known = _known.get(pool._holders[0])
        if known is not None:
            return known
        database = _database(pool)
        made = _AsyncpgPool(
            pool._holders[0],
            pool_name(database),
            system="postgresql",
            configuration=(database.key, pool._minsize, pool._maxsize),
            site=site,
            asynchronous=True,
        )
        made.kind = type(pool).__name__
        made.made_at = {}
        made.foreign = set()
        made.unseen = set()
        made.asked = False
        for holder in pool._holders:
            if holder.is_connected():
                registry.opened(made.counts)
                made.opened(holder)
            else:
                made.unseen.add(id(holder))
        _known[pool._holders[0]] = made
        return made


def _database(pool: Any) -> Database:
    """Where it leads, of what the pool was made with; libpq's defaults for the rest."""
    arguments, named = pool._connect_args, pool._connect_kwargs
    dsn = (arguments[0] if arguments else None) or named.get("dsn") or ""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    host = named.get("host") or parts.hostname or query.get("host", ["localhost"])[0]
    port = named.get("port") or parts.port or query.get("port", [""])[0]
    if isinstance(host, (list, tuple)):
        host = host[0]
    if isinstance(port, (list, tuple)):
        port = port[0]
    database = named.get("database") or parts.path.lstrip("/") or named.get("user") or parts.username or ""
    return Database("postgresql", str(database), str(host), int(port) if str(port).isdigit() else None)


def _queries(holder: Any) -> int:
    """How many the connection of a holder ran since it was made."""
    return getattr(getattr(holder._con, "_protocol", None), "queries_count", 0)


# -- The hooks --------------------------------------------------------------------------------------------------------


class _Acquiring(Asking):
    """One call of a pool's ``_acquire``."""

    __slots__ = ("_timeout",)

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        super().__init__(pool, asyncio.TimeoutError)
        self._timeout = timeout

    def returned(self, proxy: Any) -> None:
        asking.reset(self._token)
        holder = proxy._holder
        self.pool.got(self.held, holder, id(holder._con))
        self.held.seen = _queries(proxy._holder)

    def timed_out(self, error: BaseException | None) -> bool:
        # Connecting may time out too, and is a failure then.
        return (
            super().timed_out(error)
            and self._timeout is not None
            and perf_counter() - self.held.asked >= self._timeout * 0.9
        )


def _acquiring(pool: Any, timeout: Any) -> _Acquiring | None:
    watched = _watched(pool)
    return _Acquiring(watched, timeout) if watched is not None else None


class _Connecting(Making):
    """One call of a holder's ``connect``."""

    __slots__ = ("_holder",)

    _pool: _AsyncpgPool

    def __init__(self, pool: _AsyncpgPool, holder: Any) -> None:
        pool.unseen.discard(id(holder))
        super().__init__(pool)
        self._holder = holder

    def returned(self, result: Any) -> None:
        _opened(self._pool, self._holder)
        super().returned(result)


@guard
def _opened(watched: _AsyncpgPool, holder: Any) -> None:
    watched.opened(holder)


def _connecting(holder: Any) -> _Connecting | None:
    watched = _watched(holder._pool)
    return _Connecting(watched, holder) if watched is not None else None


class _Releasing:
    """One call of a holder's ``_release``."""

    __slots__ = ("_holder", "_pool")

    def __init__(self, pool: _AsyncpgPool, holder: Any) -> None:
        self._pool = pool
        self._holder = holder

    def returned(self, _: Any) -> None:
        self._pool.gave_back(self._holder)

    def raised(self, _: BaseException) -> None:
        """It is still out."""


def _releasing(holder: Any) -> _Releasing | None:
    watched = _watched(holder._pool) if holder._in_use is not None else None
    return _Releasing(watched, holder) if watched is not None else None


def _closed(_: Any, holder: Any) -> None:
    watched = _watched(holder._pool)
    if watched is not None:
        watched.gone(holder, "dispose" if holder._pool.is_closing() else "invalid")


class AsyncpgPoolInstrumentor(BaseInstrumentor):
    """Watches every asyncpg.Pool of the process; ``instrument(meter_provider=…)`` sends their states there."""

    _patches: Patches | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Versions of asyncpg that this works with."""
        return catalog.requirements("asyncpg")

    def _instrument(self, **kwargs: Any) -> None:
        patches = self._patches = Patches()
        carry_windows(patches)

        def imported(pool: Any) -> None:
            # What ends something first: another thread may use pools meanwhile.
            patches.wrap(pool.PoolConnectionHolder, "_release", begin=_releasing)
            patches.wrap(pool.PoolConnectionHolder, "_release_on_close", after=_closed)
            patches.wrap(pool.PoolConnectionHolder, "connect", begin=_connecting)
            patches.wrap(pool.Pool, "_acquire", begin=_acquiring)
            instruments.observe(_LIBRARY, kwargs.get("meter_provider"))
            patches.at_undo(_forget)
            _adopt_existing(pool.PoolConnectionHolder)

        patches.when_imported("asyncpg.pool", imported)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None


def _forget() -> None:
    _known.clear()
    instruments.stop_observing(_LIBRARY)


@guard
def _adopt_existing(holder_class: type) -> None:
    """Pools that were made before: found by their holders among all objects, once."""
    pools = {id(holder._pool): holder._pool for holder in existing(holder_class, having=("_pool",))}
    for pool in pools.values():
        if pool._holders and not getattr(pool, "_closed", True):
            _adopt(pool, None)
