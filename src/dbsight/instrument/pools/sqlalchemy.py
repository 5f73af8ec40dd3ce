"""SQLAlchemy's pools: QueuePool, AsyncAdaptedQueuePool, NullPool, StaticPool, SingletonThreadPool, AssertionPool.

What a pool seldom tells by its public events is taken from them (close, detach, invalidate). Asking for a connection
and making one have none, and the event of a check-in costs as much as giving the connection back: wrapped are
``_ConnectionRecord.checkout``, which is never entered twice for one request, its ``__connect``, ``Pool._return_conn``,
and what the garbage collector alone asks before it gives back what nobody did (``needs_gc``, before SQLAlchemy 2.1
``_finalize_fairy``). Private names of SQLAlchemy 1.4 to 2.1.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dbsight import bus, scope
from dbsight.instrument import callsite
from dbsight.instrument.dialects import database_of
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.held import Held, held_by_connection
from dbsight.instrument.pools.sqlalchemy_kinds import (
    Assertion,
    Null,
    Queue,
    SingletonThread,
    SQLAlchemyPool,
    Static,
    Target,
    waiting,
)
from dbsight.model import PoolEvent
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, FrameType

    from opentelemetry.metrics import MeterProvider

    from dbsight.instrument.pools.pool import Pool
    from dbsight.model import CallSite, Database

_R = TypeVar("_R")
_LIBRARY = "sqlalchemy"
_CONNECT = "_ConnectionRecord__connect"
_POOL_OF_RECORD = "_ConnectionRecord__pool"
_DEPTH = 30
"""Frames between a request for a connection and its making, at most."""


def pool_name(database: Database) -> str:
    """``host:port/namespace`` as the semantic conventions recommend for a pool that has no name of its own.

    Of SQLite the name of the file.
    """
    if database.address is None:
        return database.namespace or database.system
    port = f":{database.port}" if database.port is not None else ""
    return f"{database.address}{port}/{database.namespace or ''}"


class PoolWatcher(Generic[_R]):
    """The wrappers and listeners, while SQLAlchemy is instrumented.

    Args:
        running: Statements whose results are still open, by the identity of the driver's connection.
        finish: Called for such a one before its connection goes back to the pool.
    """

    def __init__(self, running: Mapping[int, _R], finish: Callable[[_R], None]) -> None:
        from sqlalchemy import exc, pool
        from sqlalchemy.engine import Engine
        from sqlalchemy.pool import base

        self._running = running
        self._finish = finish
        self._base = base
        self._engine_class = Engine
        self._timeout = exc.TimeoutError
        self._kinds: tuple[tuple[type, type[SQLAlchemyPool]], ...] = (
            (pool.QueuePool, Queue),
            (pool.NullPool, Null),
            (pool.StaticPool, Static),
            (pool.SingletonThreadPool, SingletonThread),
            (pool.AssertionPool, Assertion),
        )
        self._undo: list[Callable[[], None]] = []
        self._listeners: tuple[tuple[Any, str, Any], ...] = ()

    def install(self, provider: MeterProvider | None) -> None:
        """Watch every pool, those that exist already too."""
        from sqlalchemy import event

        self._replace(self._engine_class, "__init__", self._engine_init(self._engine_class.__init__))
        record: Any = self._base._ConnectionRecord
        self._replace(record, "checkout", classmethod(self._checkout(record.checkout.__func__)))
        self._replace(record, _CONNECT, self._connect(getattr(record, _CONNECT)))
        # Where asynchronous engines are not imported yet, they bind ours when they are: importing them takes 0.1 s.
        package = sys.modules.get("sqlalchemy.ext.asyncio.engine")
        name = "create_engine" if package is None else "_create_engine"
        owner: Any = sys.modules["sqlalchemy.engine"] if package is None else package
        self._replace(owner, name, self._create_async(getattr(owner, name)))
        if hasattr(record, "needs_gc"):
            self._replace(record, "needs_gc", property(self._needs_collection(record.needs_gc.fget)))
        else:
            self._replace(self._base, "_finalize_fairy", self._finalize(self._base._finalize_fairy))
        for kind in {self._base.Pool, *(kind for kind, _ in self._kinds)}:
            if "_return_conn" in kind.__dict__:
                self._replace(kind, "_return_conn", self._return(kind.__dict__["_return_conn"]))
        self._listeners = (
            (self._base.Pool, "close", self.close),
            (self._base.Pool, "detach", self.detach),
            (self._base.Pool, "invalidate", self.invalidate),
            (self._engine_class, "engine_disposed", self.engine_disposed),
        )
        for target, name, listener in self._listeners:
            event.listen(target, name, listener)
        instruments.observe(_LIBRARY, provider)
        self._adopt_existing()

    def uninstall(self) -> None:
        """Leave nothing behind."""
        from sqlalchemy import event

        for target, name, listener in self._listeners:
            event.remove(target, name, listener)
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        for pool in registry.pools():
            if isinstance(pool, SQLAlchemyPool) and pool.pool is not None:
                pool.pool.__dict__.pop("_dbsight", None)
        for engine in list(registry.engines()):
            engine.dialect.__dict__.pop("_dbsight_target", None)
        registry.engines().clear()
        instruments.stop_observing(_LIBRARY)

    def _replace(self, owner: Any, name: str, wrapper: Any) -> None:
        original = owner.__dict__[name]
        setattr(owner, name, wrapper)

        def undo() -> None:
            if owner.__dict__[name] is wrapper:  # else somebody wrapped ours: taking it out would take theirs
                setattr(owner, name, original)

        self._undo.append(undo)

    # -- Engines and their pools ----------------------------------------------------------------------------------

    def _engine_init(self, original: Any) -> Any:
        note = self._note_engine

        def __init__(engine: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807 - it takes the place of one
            original(engine, *arguments, **named)
            note(engine, callsite.find)

        return __init__

    def _create_async(self, original: Any) -> Any:
        from sqlalchemy import exc

        def create(url: Any, **options: Any) -> Any:
            try:
                return original(url, **options)
            except exc.ArgumentError:
                if self._undo:
                    self._refused(url, options)
                raise

        return create

    @guard
    def _refused(self, url: Any, options: dict[str, Any]) -> None:
        """An asynchronous engine was given a pool for threads."""
        kind = options.get("poolclass")
        if kind is None or getattr(kind, "_is_asyncio", True) or scope.suppressed():
            return
        from sqlalchemy import make_url

        made = make_url(url)
        where = database_of(made.get_dialect()(), made)
        name = registry.bounded(pool_name(where))
        registry.describe(name, _LIBRARY, kind.__name__, where.system)
        event = PoolEvent("failure", name, time.time_ns(), error_type="sqlalchemy.exc.ArgumentError")
        event.reason = "sync_pool"
        event.call_site = callsite.find()
        bus.observe(event)

    @guard
    def _note_engine(self, engine: Any, find: Callable[[], CallSite | None] | None) -> None:
        engine.dialect._dbsight_target = Target(engine, find() if find is not None else None)
        registry.engines().add(engine)
        self._adopt(engine.pool)

    @guard
    def _adopt_existing(self) -> None:
        """Engines and pools that were made before: found among all objects, once."""
        if "sqlalchemy.engine" not in sys.modules:
            return
        found = existing(self._engine_class, self._base.Pool)
        for each in found:
            if isinstance(each, self._engine_class):
                self._note_engine(each, None)
        for each in found:
            if isinstance(each, self._base.Pool):
                self._adopt(each)

    def _adopt(self, pool: Any, *, again: bool = False) -> SQLAlchemyPool | None:
        """Watch one pool; None for those of a kind that is not known."""
        known: SQLAlchemyPool | None = pool.__dict__.get("_dbsight")
        if known is not None:
            return known
        adapter = next((adapter for kind, adapter in self._kinds if isinstance(pool, kind)), SQLAlchemyPool)
        target: Target | None = pool._dialect.__dict__.get("_dbsight_target")
        name = pool._orig_logging_name or (pool_name(target.database) if target is not None else type(pool).__name__)
        system = target.database.system if target is not None else "other_sql"
        limits = (pool.size(), pool._max_overflow) if adapter is Queue else ()
        configuration = (*target.configuration, *limits) if target is not None else id(pool)
        asynchronous = bool(getattr(pool._dialect, "is_async", False))
        site = target.site if target is not None else None
        made = adapter(
            pool,
            name,
            system=system,
            configuration=configuration,
            site=site,
            asynchronous=asynchronous,
            again=again,
        )
        made.target = target
        for _ in range(made.used() + made.idle()):
            registry.opened(made.counts)
        pool._dbsight = made
        return made

    @guard
    def engine_disposed(self, engine: Any) -> None:
        """Another pool took the place of the engine's."""
        self._adopt(engine.pool, again=True)

    def _pool_of(self, pool: Any) -> Pool | None:
        try:
            known: Pool | None = pool.__dict__.get("_dbsight")
            return known if known is not None else self._adopt(pool)
        except Exception:
            failed("pools.sqlalchemy")
            return None

    # -- What happens -----------------------------------------------------------------------------------------------

    def _checkout(self, original: Any) -> Any:
        timeout = self._timeout
        pool_of = self._pool_of

        def checkout(cls: Any, pool: Any) -> Any:
            watched = pool.__dict__.get("_dbsight") or pool_of(pool)
            if watched is None:
                return original(cls, pool)
            request = Held(watched)  # ``_request`` looks for this name
            try:
                fairy = original(cls, pool)
            except BaseException as error:
                watched.gave_up(request, timed_out=isinstance(error, timeout))
                raise
            watched.got(request, fairy._connection_record, id(fairy.dbapi_connection))
            return fairy

        self._checkout_code = checkout.__code__
        return checkout

    def _connect(self, original: Any) -> Any:
        pool_of = self._pool_of

        def connect(record: Any, *arguments: Any, **named: Any) -> Any:
            watched = pool_of(getattr(record, _POOL_OF_RECORD))
            if watched is None:
                return original(record, *arguments, **named)
            request = _request(sys._getframe(1), self._checkout_code)
            began = watched.connecting(request)
            error: Exception | None = None
            done = False
            try:
                result = original(record, *arguments, **named)
                done = True
            except Exception as raised:
                error = raised
                raise
            finally:
                _connected(watched, record, began, error, request, done=done)
                error = None  # or its traceback and this frame would keep each other
            return result

        return connect

    def _needs_collection(self, original: Any) -> Any:
        lost = self._lost

        def needs_gc(record: Any) -> Any:
            needed = original(record)
            if needed:
                lost(record)
            return needed

        return needs_gc

    def _finalize(self, original: Any) -> Any:
        lost = self._lost

        def _finalize_fairy(dbapi_connection: Any, *arguments: Any, **named: Any) -> Any:
            if dbapi_connection is None and len(arguments) > 2:  # the collector, which has no connection left to give
                lost(arguments[0], arguments[2])
            return original(dbapi_connection, *arguments, **named)

        return _finalize_fairy

    @guard
    def _lost(self, record: Any, reference: Any = None) -> None:
        """The connection of a record was garbage collected; with a reference, if that is of the latest checkout."""
        if record is None or (reference is not None and record.fairy_ref is not reference):
            return
        watched = self._pool_of(getattr(record, _POOL_OF_RECORD))
        if watched is not None:
            watched.lost(id(record))

    def _return(self, original: Any) -> Any:
        running = self._running
        finish = self._finish

        def _return_conn(pool: Any, record: Any) -> Any:
            try:
                if running and id(record.dbapi_connection) in running:
                    finish(running[id(record.dbapi_connection)])
                watched = pool.__dict__.get("_dbsight")
                if watched is not None:
                    watched.gave_back(record)
            except Exception:
                failed("pools.sqlalchemy.return")
            return original(pool, record)

        return _return_conn

    @guard
    def close(self, dbapi_connection: Any, record: Any) -> None:
        """A connection is closed by its pool."""
        pool = getattr(record, _POOL_OF_RECORD)
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
        watched.closed(reason, time.time() - record.starttime)

    @guard
    def detach(self, dbapi_connection: Any, record: Any) -> None:
        """A connection leaves its pool for good, still open."""
        watched = self._pool_of(getattr(record, _POOL_OF_RECORD))
        if watched is not None:
            watched.gave_back(record)
            watched.closed("detach", time.time() - record.starttime)

    @guard
    def invalidate(self, dbapi_connection: Any, record: Any, exception: Any) -> None:
        """A connection is about to be closed because it is broken."""
        record.__dict__["_dbsight_reason"] = "invalid"


def _request(frame: FrameType | None, checkout: CodeType) -> Held | None:
    """The request that a connection is made or closed for: asked of our wrapper, which is among the callers.

    That is seldom needed; a ContextVar would have to be set for each request.
    """
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if frame.f_code is checkout:
            request: Held = frame.f_locals["request"]
            return request
        frame = frame.f_back
    return None


def _connected(
    pool: Pool, record: Any, began: float, error: Exception | None, request: Held | None, *, done: bool
) -> None:
    try:
        pool.connected(began, error, request, cancelled=not done and error is None)
        held = pool.held.get(id(record))
        if held is not None and done:
            # Made anew for who holds it already: queries on it are known by the new object.
            held_by_connection.pop(held.connection, None)
            held.connection = id(record.dbapi_connection)
            held_by_connection[held.connection] = held
    except Exception:
        failed("pools.sqlalchemy.connected")
