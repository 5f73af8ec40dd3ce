"""SQLAlchemy's pools: QueuePool, AsyncAdaptedQueuePool, NullPool, StaticPool, SingletonThreadPool, AssertionPool.

Close, detach and invalidate are events of a pool. Creating an engine or a pool, a checkout and a new connection have no
event, and the event of a check-in costs as much as the check-in itself: wrapped are the constructors of ``Engine`` and
``Pool``, ``_ConnectionRecord.checkout``, which is entered once per request, its ``__connect``, ``Pool._return_conn``,
and what only the garbage collector calls before it returns a leaked connection (``needs_gc``, before SQLAlchemy 2.1
``_finalize_fairy``). Private names of SQLAlchemy 1.4 to 2.1.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ref

from dbsight import recording, scope
from dbsight.instrument import callsite
from dbsight.instrument.dialects import database_of
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.checkout import Checkout, held_by_connection
from dbsight.instrument.pools.drivers import database_behind, pool_name
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.sqlalchemy_kinds import (
    POOL_OF_RECORD,
    Assertion,
    Null,
    Queue,
    SingletonThread,
    SQLAlchemyPool,
    Static,
    Target,
    own_name,
    waiting,
)
from dbsight.instrument.wrap import Patches, call_of
from dbsight.model import PoolEvent
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, FrameType

    from opentelemetry.metrics import MeterProvider

    from dbsight.model import CallSite

_R = TypeVar("_R")
_LIBRARY = "sqlalchemy"
_CONNECT = "_ConnectionRecord__connect"
_ENGINE = ("pool", "dialect", "url")
_POOL = ("_dialect", "_orig_logging_name")
"""Attributes that one has which another thread is not just making."""
UNWATCHED = "_dbsight_unwatched"
"""Attribute of a pool that is not watched: one of our own."""

_DEPTH = 30
"""Frames between a request for a connection and its making, at most."""


class PoolWatcher(Generic[_R]):
    """The wrappers and listeners, while SQLAlchemy is instrumented.

    Args:
        running: Statements whose results are still open, by the identity of the driver's connection.
        finish: Called for such a one before its connection goes back to the pool.
        watch_dialect: Called with the class of each engine's dialect.
    """

    def __init__(
        self, running: Mapping[int, _R], finish: Callable[[_R], None], watch_dialect: Callable[[type], None]
    ) -> None:
        from sqlalchemy import __version__ as sqlalchemy_version
        from sqlalchemy import pool
        from sqlalchemy.engine import Engine
        from sqlalchemy.pool import base

        self._running = running
        self._finish = finish
        self._watch_dialect = watch_dialect
        self._base = base
        self._engine_class = Engine
        self._kinds: tuple[tuple[type, type[SQLAlchemyPool]], ...] = (
            (pool.QueuePool, Queue),
            (pool.NullPool, Null),
            (pool.StaticPool, Static),
            (pool.SingletonThreadPool, SingletonThread),
            (pool.AssertionPool, Assertion),
        )
        self._refuses = not sqlalchemy_version.startswith("1.")
        self._patches = Patches()
        self._checkout_code: CodeType | None = None

    def install(self, provider: MeterProvider | None, *, first: bool = False) -> None:
        """Watch every pool, those that exist already too.

        Args:
            provider: Of meters; None for the global one.
            first: SQLAlchemy has just been imported: there is no pool yet, and no object need be looked at.
        """
        patches = self._patches
        patches.wrap(self._engine_class, "__init__", after=self._engine_made)
        patches.wrap(self._base.Pool, "__init__", after=self._pool_made)
        # Other threads may use the pools meanwhile: what they take is known by its right name, and its end is seen.
        if not first:
            self._adopt_existing()
        record: Any = self._base._ConnectionRecord
        if hasattr(record, "needs_gc"):
            patches.wrap(record, "needs_gc", after=self._needed_collection)
        else:
            patches.wrap(self._base, "_finalize_fairy", before=self._finalizing)
        for kind in {self._base.Pool, *(kind for kind, _ in self._kinds)}:
            if "_return_conn" in kind.__dict__:
                patches.wrap(kind, "_return_conn", before=self._returning)
        patches.listen(self._base.Pool, "close", self.close)
        patches.listen(self._base.Pool, "detach", self.detach)
        patches.listen(self._base.Pool, "invalidate", self.invalidate)
        patches.listen(self._base.Pool, "soft_invalidate", self.invalidate)
        patches.wrap(self._engine_class, "dispose", after=self._engine_disposed)
        patches.wrap(record, _CONNECT, begin=self._connecting)
        patches.wrap(record, "checkout", begin=self._asking)
        self._checkout_code = record.checkout.__func__.__code__
        instruments.observe(_LIBRARY, provider)
        self._recount()

    def uninstall(self) -> None:
        """Leave nothing behind."""
        self._patches.undo()
        for pool in registry.pools():
            if isinstance(pool, SQLAlchemyPool) and pool.pool is not None:
                pool.pool.__dict__.pop("_dbsight", None)
        for engine in list(registry.engines()):
            engine.dialect.__dict__.pop("_dbsight_target", None)
            engine.dialect.__dict__.pop("_dbsight", None)
        registry.engines().clear()
        instruments.stop_observing(_LIBRARY)

    # -- Engines and their pools ----------------------------------------------------------------------------------

    def _engine_made(self, _: None, engine: Any) -> None:
        self._note_engine(engine, callsite.find)

    def _pool_made(self, _: None, pool: Any) -> None:
        """A pool for threads that an asynchronous engine is given is refused by SQLAlchemy 2 right after this."""
        dialect = pool._dialect
        if not self._refuses or not getattr(dialect, "is_async", False) or pool._is_asyncio or scope.suppressed():
            return
        url = _url_of_new_engine(sys._getframe(1))
        if url is None:
            return
        where = database_of(dialect, url)
        name = registry.bounded(pool_name(where))
        registry.describe(name, _LIBRARY, type(pool).__name__, where.system)
        event = PoolEvent("failure", name, time.time_ns(), error_type="sqlalchemy.exc.ArgumentError")
        event.reason = "sync_pool"
        event.call_site = callsite.find()
        recording.record(event)

    @guard
    def _note_engine(self, engine: Any, find: Callable[[], CallSite | None] | None) -> None:
        if UNWATCHED in engine.pool.__dict__:
            return
        engine.dialect._dbsight_target = Target(engine, find() if find is not None else None)
        registry.engines().add(engine)
        self._watch_dialect(type(engine.dialect))
        self._adopt(engine.pool)

    @guard
    def _adopt_existing(self) -> None:
        """Engines and pools that were made before: found among all objects, once."""
        if "sqlalchemy.engine" not in sys.modules:
            return
        found = existing(self._engine_class, self._base.Pool)
        for each in found:
            if isinstance(each, self._engine_class) and all(hasattr(each, name) for name in _ENGINE):
                self._note_engine(each, None)
        for each in found:
            if isinstance(each, self._base.Pool) and all(hasattr(each, name) for name in _POOL):
                self._adopt(each)

    def _adopt(self, pool: Any, *, again: bool = False) -> SQLAlchemyPool | None:
        """Watch one pool; None for those of a kind that is not known."""
        known_base: Any = self._base.Pool
        # ``create_engine(pool=…)`` takes anything.
        if not isinstance(pool, known_base) or UNWATCHED in pool.__dict__:
            return None
        dialect = pool._dialect
        target: Target | None = dialect.__dict__.get("_dbsight_target")
        with registry.adopting:
            known: SQLAlchemyPool | None = pool.__dict__.get("_dbsight")
            if known is not None:
                if known.target is None and target is not None:
                    known.aim(target)
                return known
            adapter = next((adapter for kind, adapter in self._kinds if isinstance(pool, kind)), SQLAlchemyPool)
            asynchronous = bool(getattr(dialect, "is_async", False))
            made = adapter(pool, target, asynchronous=asynchronous, again=again)
            registry.recount(made, made.open_now())
            pool._dbsight = made
            return made

    @guard
    def _recount(self) -> None:
        """Connections that other threads made or closed while the functions were wrapped one by one."""
        pools = [pool for pool in registry.pools() if isinstance(pool, SQLAlchemyPool)]
        records = existing(self._base._ConnectionRecord, having=("in_use",)) if pools else []
        for pool in pools:
            pool.find_strangers(records)
            pool.settling = True
            pool.settle()

    def _engine_disposed(self, _: None, engine: Any) -> None:
        """Another pool took the place of the engine's."""
        self._adopt(engine.pool, again=True)

    def _pool_of(self, pool: Any) -> SQLAlchemyPool | None:
        try:
            known: SQLAlchemyPool | None = pool.__dict__.get("_dbsight")
            return known if known is not None else self._adopt(pool)
        except Exception:
            failed("pools.sqlalchemy")
            return None

    # -- What happens -----------------------------------------------------------------------------------------------

    def _asking(self, _: Any, pool: Any) -> _Checkout | None:
        watched = pool.__dict__.get("_dbsight") or self._pool_of(pool)
        return _Checkout(watched) if watched is not None else None

    def _connecting(self, record: Any) -> _Connecting | None:
        watched = self._pool_of(getattr(record, POOL_OF_RECORD))
        if watched is None:
            return None
        return _Connecting(watched, record, _request(sys._getframe(2), self._checkout_code))

    def _needed_collection(self, needed: Any, record: Any) -> None:
        if needed:
            self._lost(record)

    def _finalizing(self, dbapi_connection: Any, record: Any, _: Any, reference: Any) -> None:
        # The collector alone names the reference; a connection that was invalidated is None here too.
        if dbapi_connection is None and reference is not None:
            self._lost(record, reference)

    def _lost(self, record: Any, reference: Any = None) -> None:
        """The connection of a record was garbage collected; with a reference, if that is of the latest checkout."""
        if record is None or (reference is not None and record.fairy_ref is not reference):
            return
        watched = self._pool_of(getattr(record, POOL_OF_RECORD))
        if watched is not None:
            watched.lost(id(record))

    def _returning(self, pool: Any, record: Any) -> None:
        running = self._running
        if running and id(record.dbapi_connection) in running:
            self._finish(running[id(record.dbapi_connection)])
        watched = pool.__dict__.get("_dbsight")
        if watched is not None:
            watched.gave_back(record)

    def close(self, dbapi_connection: Any, record: Any) -> None:
        """A connection is closed by its pool."""
        pool = getattr(record, POOL_OF_RECORD)
        watched = self._pool_of(pool)
        if watched is None:
            return
        reason = record.__dict__.pop("_dbsight_reason", None)
        if reason is None:
            if _request(sys._getframe(1), self._checkout_code) is not None:
                reason = "recycle"
            elif isinstance(watched, Null):
                reason = "unpooled"
            elif isinstance(watched, Queue) and waiting(pool) >= pool.size():
                reason = "overflow"
            else:
                reason = "dispose"
        watched.closing.pop(id(record), None)
        watched.closed(reason, time.time() - record.starttime)

    def detach(self, dbapi_connection: Any, record: Any) -> None:
        """A connection leaves its pool for good, still open."""
        watched = self._pool_of(getattr(record, POOL_OF_RECORD))
        if watched is not None:
            watched.gave_back(record)
            watched.closing.pop(id(record), None)
            watched.closed("detach", time.time() - record.starttime)

    def invalidate(self, dbapi_connection: Any, record: Any, exception: Any) -> None:
        """A connection is about to be closed because it is broken, at once or before it is used again."""
        record.__dict__["_dbsight_reason"] = "invalid"


class _Checkout(Checkout):
    """A connection that is asked for, and its own hook around that."""

    def returned(self, fairy: Any) -> None:
        record = fairy._connection_record
        self.source = ref(record)
        self.pool.got(self, record, id(fairy.dbapi_connection))

    def raised(self, error: BaseException) -> None:
        self.pool.gave_up(self, timed_out=isinstance(error, sys.modules["sqlalchemy.exc"].TimeoutError))


class _Connecting:
    """A connection that is made, by the record that keeps it."""

    __slots__ = ("_began", "_pool", "_record", "_request")

    def __init__(self, pool: SQLAlchemyPool, record: Any, request: Checkout | None) -> None:
        self._pool = pool
        self._record = record
        self._request = request
        self._began = pool.connecting(request)

    def returned(self, _: None) -> None:
        pool = self._pool
        _learn(pool, self._record)
        pool.connected(self._began, None, self._request)
        held = pool.held.get(id(self._record))
        if held is not None:
            # Recreated for the current holder: its queries are identified by the new object.
            held_by_connection.pop(held.connection, None)
            held.connection = id(self._record.dbapi_connection)
            held_by_connection[held.connection] = held

    def raised(self, error: BaseException) -> None:
        failure = error if isinstance(error, Exception) else None
        self._pool.connected(self._began, failure, self._request, cancelled=failure is None)


def _url_of_new_engine(frame: FrameType | None) -> Any:
    """The URL of the engine that is being made by one of the callers, None if there is none."""
    for _ in range(_DEPTH):
        if frame is None or frame.f_globals.get("__name__") == "sqlalchemy.engine.create":
            return frame.f_locals.get("u") if frame is not None else None
        frame = frame.f_back
    return None


def _request(frame: FrameType | None, checkout: CodeType | None) -> Checkout | None:
    """The request that a connection is made or closed for: asked of our wrapper, which is among the callers.

    That is seldom needed; a ContextVar would have to be set for each request.
    """
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if frame.f_code is checkout:
            request: Checkout | None = call_of(frame)
            return request
        frame = frame.f_back
    return None


def aim_pool(pool: Any, target: Target) -> None:
    """Name a pool after what was learnt of its engine."""
    known = pool.__dict__.get("_dbsight")
    if known is not None:
        known.aim(target)


@guard
def _learn(pool: SQLAlchemyPool, record: Any) -> None:
    """Of its first connection a pool learns where it leads."""
    target = pool.target
    if target is None:
        if pool.system == "other_sql":  # a pool without an engine
            found = database_behind(record)
            pool.system = found.system if found is not None else "unknown"
            if found is not None:
                registry.rename(pool, own_name(pool.pool) or pool_name(found))
    elif not target.asked:
        target.learn(record)
        pool.aim(target)
