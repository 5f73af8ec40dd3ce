"""What each kind of SQLAlchemy's pools answers for its state. Private names of SQLAlchemy 1.4 to 2.1."""
# ruff: noqa: D102 - each answers what Pool says

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from dbsight.instrument.dialects import database_of
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.drivers import database_behind, pool_name, runs_query, sqlite_behind
from dbsight.instrument.pools.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.model import CallSite, Database


POOL_OF_RECORD = "_ConnectionRecord__pool"


class Target:
    """Where the connections of an engine lead; kept on its dialect, which all its pools share."""

    __slots__ = ("_user", "asked", "database", "engine", "site")

    def __init__(self, engine: Any, site: CallSite | None) -> None:
        url = engine.url
        self.engine = ref(engine)
        self.site = site
        self.asked = False
        self.database: Database = database_of(engine.dialect, url)
        self._user = (url.username, url.drivername)

    def configuration(self, pool: Any) -> tuple[Any, ...]:
        """What two pools that could be one have in common."""
        limits = (pool.size(), pool._max_overflow) if hasattr(pool, "_max_overflow") else ()
        return (self.database.key, *self._user, *limits)

    def learn(self, connection: Any) -> None:
        """Ask the first connection where it leads, once: the URL need not say it, nor which server it is."""
        self.asked = True
        engine = self.engine()
        if engine is None:
            return
        dialect = engine.dialect
        said = database_of(dialect, engine.url)
        found = database_behind(connection, said)
        if said.system == "sqlite":
            found = sqlite_behind(connection, engine.pool, said)
        if found is None or found.key == self.database.key:
            return
        self.database = found
        known = dialect.__dict__.get("_dbsight")
        if known is not None:
            known.database = found


def own_name(pool: Any) -> str:
    """The ``logging_name`` that the application gave a pool, as SQLAlchemy writes it; empty without one."""
    name = pool._orig_logging_name
    return str(name) if name else ""


class SQLAlchemyPool(Pool):
    """What all of SQLAlchemy's pools share; without more, connections that are out are all that it has: NullPool."""

    __slots__ = ("closing", "foreign", "strangers", "target")

    library: ClassVar[str] = "sqlalchemy"
    target: Target | None
    foreign: int
    # Records, by identity: of connections that are out since before it was watched, and of those that came back and are
    # about to be closed, which a pool that is counted in this very moment would miss.
    strangers: dict[int, ref[Any]]
    closing: dict[int, ref[Any]]

    def __init__(self, pool: Any, target: Target | None, *, asynchronous: bool, again: bool) -> None:
        self.target = target
        self.foreign = 0
        self.strangers = {}
        self.closing = {}
        super().__init__(
            pool,
            own_name(pool) or (pool_name(target.database) if target is not None else type(pool).__name__),
            system=target.database.system if target is not None else "other_sql",
            configuration=target.configuration(pool) if target is not None else id(pool),
            site=target.site if target is not None else None,
            asynchronous=asynchronous,
            again=again,
        )

    def aim(self, target: Target) -> None:
        """Take the name, system and place of the engine that it belongs to."""
        pool = self.pool
        self.target = target
        self.system = target.database.system
        self.site = target.site
        self.configure(target.configuration(pool))
        registry.rename(self, own_name(pool) or pool_name(target.database))

    def used(self) -> int:
        if not self.strangers and not self.closing:
            return len(self.held)
        out = set(self.held)
        out.update(known for known, record in _alive(self.strangers) if record.in_use)
        out.update(known for known, record in _alive(self.closing) if record.dbapi_connection is not None)
        return len(out)

    def find_strangers(self, records: list[Any]) -> None:
        """Remember which connections are out already, where the pool itself does not count them.

        Args:
            records: All of SQLAlchemy's connection records.
        """
        pool = self.pool
        if type(self).used is not SQLAlchemyPool.used:
            return
        for record in records:
            if getattr(record, POOL_OF_RECORD) is pool and record.in_use and id(record) not in self.held:
                self.strangers[id(record)] = ref(record)

    def look(self) -> None:
        """A query that runs now has no end yet."""
        for held in tuple(self.held.values()):
            if held.inside or runs_query(held.source()):
                held.last = perf_counter()

    def forked(self) -> None:
        """The library goes on counting what the parent's threads have."""
        self.foreign += self.used()
        self.strangers.clear()
        self.closing.clear()
        super().forked()

    def unknown_back(self, connection: Any) -> None:
        """After a fork: the thread that forked gives back what it had, and the child has it from now on."""
        if self.strangers.pop(id(connection), None) is None and self.foreign:
            self.foreign -= 1
            registry.opened(self.counts)

    def retired(self) -> bool:
        """``engine.dispose()`` put another in its place, or the engine is gone."""
        target = self.target
        if target is None:
            return False
        engine = target.engine()
        return engine is None or engine.pool is not self.pool


class Queue(SQLAlchemyPool):
    """A bounded number of connections, and those who wait for one."""

    __slots__ = ()

    def used(self) -> int:
        # After dispose() of the pool itself its own count starts at zero, with connections still out.
        pool = self.pool
        if pool is None:
            return 0
        out: int = pool.size() - waiting(pool) + pool.overflow() - self.foreign
        return max(out, len(self.held))

    def open_now(self) -> int:
        # One number: other threads take and give back between two.
        pool = self.pool
        return pool.size() + pool.overflow() - self.foreign - len(self.making) if pool is not None else 0

    def idle(self) -> int:
        pool = self.pool
        return waiting(pool) if pool is not None else 0

    def max(self) -> int | None:
        pool = self.pool
        if pool is None or pool._max_overflow < 0:
            return None
        return pool.size() + pool._max_overflow - self.foreign  # type: ignore[no-any-return]

    def idle_max(self) -> int | None:
        pool = self.pool
        return (pool.size() or None) if pool is not None else None

    def overflow(self) -> int:
        pool = self.pool
        return max(0, pool.overflow()) if pool is not None else 0

    def blocks_loop(self) -> bool:
        # SQLAlchemy 2 refuses to make such an engine, 1.4 does not.
        return self.asynchronous and not getattr(type(self.pool), "_is_asyncio", True)


class Null(SQLAlchemyPool):
    """A connection for each request, and none kept."""

    __slots__ = ()

    def gave_back(self, connection: Any) -> None:
        self.closing[id(connection)] = ref(connection)
        super().gave_back(connection)

    def idle_max(self) -> int | None:
        return 0


class Static(SQLAlchemyPool):
    """One connection, given to everybody at once."""

    __slots__ = ()

    def _record(self) -> Any:
        pool = self.pool
        record = pool.__dict__.get("connection") if pool is not None else None
        return record if record is not None and record.dbapi_connection is not None else None

    def used(self) -> int:
        # The first check-in frees it: the records of the other holders are no longer valid.
        record = self._record()
        if record is not None and record.in_use:
            return int(not self.foreign or bool(self.held))
        self.held.clear()
        return 0

    def idle(self) -> int:
        return int(self._record() is not None and not self.used())

    def unknown_back(self, connection: Any) -> None:
        self.foreign = 0

    def _had_none_left(self, held: Checkout) -> bool:
        return False  # a shared connection has no waits

    def max(self) -> int | None:
        return 1

    def idle_max(self) -> int | None:
        return 1


class SingletonThread(SQLAlchemyPool):
    """One connection a thread; those of finished threads are closed when there are too many."""

    __slots__ = ()

    def idle(self) -> int:
        pool = self.pool
        if pool is None:
            return 0
        opened = sum(record.dbapi_connection is not None for record in tuple(pool._all_conns))
        return opened - self.used()

    def idle_max(self) -> int | None:
        pool = self.pool
        return pool.size if pool is not None else None

    def unknown_back(self, connection: Any) -> None:
        """After a fork it was counted as idle all the time."""
        self.strangers.pop(id(connection), None)


class Assertion(SQLAlchemyPool):
    """One connection, which cannot be requested while it is checked out."""

    __slots__ = ()

    def idle(self) -> int:
        pool = self.pool
        record = pool._conn if pool is not None else None
        return int(record is not None and record.dbapi_connection is not None and not pool._checked_out)

    def max(self) -> int | None:
        return 1

    def idle_max(self) -> int | None:
        return 1


def _alive(records: dict[int, ref[Any]]) -> Iterator[tuple[int, Any]]:
    for identity, reference in tuple(records.items()):
        record = reference()
        if record is not None:
            yield identity, record


def waiting(pool: Any) -> int:
    """Connections that wait in a queue, as ``pool.checkedin()`` has it.

    Without the queue's lock: in a forked child, a thread that is the parent's alone may hold it for ever.
    """
    queue = pool._pool
    waiting = getattr(queue, "queue", None)
    return len(waiting) if waiting is not None else queue.qsize()  # that of asynchronous engines has no lock
