"""What each kind of SQLAlchemy's pools answers for its state. Private names of SQLAlchemy 1.4 to 2.1."""
# ruff: noqa: D102 - each answers what Pool says

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from dbsight.instrument.dialects import database_of
from dbsight.instrument.pools.pool import Pool

if TYPE_CHECKING:
    from dbsight.model import CallSite, Database


class Target:
    """Where the connections of an engine lead; kept on its dialect, which all its pools share."""

    __slots__ = ("configuration", "database", "engine", "site")

    def __init__(self, engine: Any, site: CallSite | None) -> None:
        url = engine.url
        self.engine = ref(engine)
        self.site = site
        self.database: Database = database_of(engine.dialect, url)
        self.configuration = (self.database.key, url.username, url.drivername)


class SQLAlchemyPool(Pool):
    """What all of SQLAlchemy's pools share; without more, connections that are out are all that it has: NullPool."""

    __slots__ = ("target",)

    library: ClassVar[str] = "sqlalchemy"
    target: Target | None

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
        out: int = pool.size() - waiting(pool) + pool.overflow()
        return max(out, len(self.held))

    def idle(self) -> int:
        pool = self.pool
        return waiting(pool) if pool is not None else 0

    def max(self) -> int | None:
        pool = self.pool
        if pool is None or pool._max_overflow < 0:
            return None
        return pool.size() + pool._max_overflow  # type: ignore[no-any-return]

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
        # Whoever gives it back first makes it free: what is remembered of the others is not true any more.
        record = self._record()
        if record is not None and record.in_use:
            return 1
        self.held.clear()
        return 0

    def idle(self) -> int:
        record = self._record()
        return int(record is not None and not record.in_use)

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
        return opened - len(self.held)

    def idle_max(self) -> int | None:
        pool = self.pool
        return pool.size if pool is not None else None


class Assertion(SQLAlchemyPool):
    """One connection, which nobody may ask for while it is out."""

    __slots__ = ()

    def idle(self) -> int:
        pool = self.pool
        record = pool._conn if pool is not None else None
        return int(record is not None and record.dbapi_connection is not None and not pool._checked_out)

    def max(self) -> int | None:
        return 1

    def idle_max(self) -> int | None:
        return 1


def waiting(pool: Any) -> int:
    """Connections that wait in a queue, as ``pool.checkedin()`` has it.

    Without the queue's lock: in a forked child, a thread that is the parent's alone may hold it for ever.
    """
    queue = pool._pool
    waiting = getattr(queue, "queue", None)
    return len(waiting) if waiting is not None else queue.qsize()  # that of asynchronous engines has no lock
