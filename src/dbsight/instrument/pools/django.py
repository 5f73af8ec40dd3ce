"""Django's connections: one per thread and alias, kept between requests as ``CONN_MAX_AGE`` says.

They are no pool, but are asked the same questions: how many are open, how many requests opened one, how long that took.
A connection is out from when it is opened, or from the start of a request, until the request ends; Django gives it back
whatever happens. Where a database has ``OPTIONS["pool"]``, psycopg_pool's own file watches that pool
instead. Used: ``BaseDatabaseWrapper.connect``, ``_close``, ``close_at``, ``errors_occurred``, the signals of requests;
checked with Django 4.2, 5.2 and 6.1.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from dbsight import scope
from dbsight.instrument.dialects import sqlite_database
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.drivers import database_behind, pool_name
from dbsight.instrument.pools.pool import Pool
from dbsight.model import Database
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from types import ModuleType

    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.instrument.wrap import Patches

_LIBRARY: Final = "django"
_MAX_DATABASES: Final = 200
_SYSTEMS: Final = {"microsoft": "microsoft.sql_server", "oracle": "oracle.db"}
"""``db.system.name`` by the vendor of a back end, where that is another word."""

_databases: dict[tuple[str, str], tuple[DjangoConnections, _Connections]] = {}
"""By alias and target; a test database has the alias of the one that it stands for."""


class DjangoConnections:
    """The connections of one alias; what the records of pools call their class.

    Attributes:
        alias: As in ``DATABASES``.
        max_age: ``CONN_MAX_AGE``, s; None for ever.
        health_checks: ``CONN_HEALTH_CHECKS``.
    """

    def __init__(self, alias: str, settings: dict[str, Any]) -> None:
        self.alias = alias
        self.max_age: float | None = settings.get("CONN_MAX_AGE", 0)
        self.health_checks = bool(settings.get("CONN_HEALTH_CHECKS"))


class _Connections(Pool):
    __slots__ = ("open",)

    library: ClassVar[str] = _LIBRARY
    open: dict[int, tuple[ref[Any] | None, float]]  # by identity of the driver's connection, and since when (monotonic)

    def idle(self) -> int:
        return max(0, len(self.open) - len(self.held))

    def idle_max(self) -> int | None:
        pool = self.pool
        return 0 if pool is not None and pool.max_age == 0 else None

    def forked(self) -> None:
        self.open.clear()
        super().forked()

    def take(self, connection: Any, held: Checkout | None = None) -> None:
        """A request has a connection from now on."""
        held = self.got(held or self.ask(), connection, id(connection))
        if held is not None:
            held.kept = True

    def opened(self, connection: Any) -> None:
        """Remember a connection, which a thread that ends may leave to the garbage collector."""
        identity = id(connection)

        def collected(_: Any) -> None:
            try:
                self.gone(identity, "collected")
            except Exception:
                failed("pools.django.collected")

        try:
            reference: ref[Any] | None = ref(connection, collected)
        except TypeError:
            reference = None
        self.open[identity] = (reference, time.monotonic())

    def gone(self, identity: int, reason: str) -> None:
        """It is closed."""
        known = self.open.pop(identity, None)
        if known is not None:
            held = self.held.pop(identity, None)
            if held is not None:
                self.over(held)
            self.closed(reason, time.monotonic() - known[1])

    def request_started(self, connection: Any) -> None:
        """The thread of an open connection serves a request now."""
        if id(connection) in self.open and id(connection) not in self.held:
            self.take(connection)

    def request_finished(self, connection: Any) -> None:
        """It served one, and keeps the connection."""
        if id(connection) in self.held:
            self.gave_back(connection)


# -- The hooks --------------------------------------------------------------------------------------------------------
def _watched(wrapper: Any) -> _Connections | None:
    """The connections that one of Django's belongs to; None where a pool has them, or it is in memory."""
    settings = wrapper.settings_dict
    if settings.get("OPTIONS", {}).get("pool") or (wrapper.vendor == "sqlite" and wrapper.is_in_memory_db()):
        return None
    host, name = str(settings.get("HOST") or ""), str(settings.get("NAME") or "")
    key = (wrapper.alias, f"{host}:{settings.get('PORT')}/{name}")
    known = _databases.get(key)
    if known is None:
        with registry.adopting:
            known = _databases.get(key) or _adopt(key, wrapper, host, name)
    return known[1]


def _adopt(key: tuple[str, str], wrapper: Any, host: str, name: str) -> tuple[DjangoConnections, _Connections]:
    if len(_databases) >= _MAX_DATABASES:
        _databases.clear()
    settings, vendor = wrapper.settings_dict, wrapper.vendor
    port = str(settings.get("PORT") or "")
    if vendor == "sqlite":
        database = sqlite_database(name)
    else:
        database = Database(_SYSTEMS.get(vendor, vendor), name, host or None, int(port) if port.isdigit() else None)
    about = DjangoConnections(wrapper.alias, settings)
    made = _Connections(about, pool_name(database), system=database.system, configuration=key)
    made.open = {}
    known = _databases[key] = (about, made)
    return known


class _Connecting:
    """One connection that is being opened: what Django sends meanwhile is no query of the request."""

    __slots__ = ("_began", "_held", "_pool", "_token", "_wrapper")

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._pool = pool = _watched(wrapper)
        if pool is None:
            self._token: Token[str] = scope.connecting.set(_LIBRARY)
        else:
            self._held = pool.ask()
            self._began = pool.connecting(self._held)

    def returned(self, _: Any) -> None:
        """It is open."""
        pool = self._pool
        if pool is None:
            scope.connecting.reset(self._token)
            return
        connection = self._wrapper.connection
        if not pool.open and pool.system != "sqlite":
            found = database_behind(connection)
            if found is not None:  # libpq's environment or an option file may say where it leads
                registry.rename(pool, pool_name(found))
        pool.connected(self._began, None, self._held)
        pool.opened(connection)
        pool.take(connection, self._held)

    def raised(self, error: BaseException) -> None:
        """It could not be opened."""
        pool = self._pool
        if pool is None:
            scope.connecting.reset(self._token)
            return
        failure = error if isinstance(error, Exception) else None
        pool.connected(self._began, failure, self._held, cancelled=failure is None)
        pool.gave_up(self._held, timed_out=False)


def _closing(wrapper: Any) -> None:
    connection = wrapper.connection
    if connection is None or wrapper.closed_in_transaction:
        return
    pool = _watched(wrapper)
    if pool is not None:
        pool.gone(id(connection), _reason(wrapper))


def _reason(wrapper: Any) -> str:
    if wrapper.errors_occurred:
        return "invalid"
    if wrapper.close_at is None or time.monotonic() < wrapper.close_at:
        return "dispose"
    return "recycle" if wrapper.settings_dict.get("CONN_MAX_AGE") else "unpooled"


def _started(**_: Any) -> None:
    _each_open(_Connections.request_started)


def _finished(**_: Any) -> None:
    _each_open(_Connections.request_finished)


@guard
def _each_open(tell: Callable[[_Connections, Any], None]) -> None:
    for wrapper in sys.modules["django.db"].connections.all(initialized_only=True):
        connection = wrapper.connection
        pool = _watched(wrapper) if connection is not None else None
        if pool is not None:
            tell(pool, connection)


def watch(patches: Patches) -> None:
    """Watch the connections of Django from now on, or from when it is imported."""
    patches.when_imported("django.db.backends.base.base", lambda module: _patch(patches, module))
    patches.when_imported("django.db", lambda _: _signals(patches))


def _patch(patches: Patches, module: ModuleType) -> None:
    patches.wrap(module.BaseDatabaseWrapper, "connect", begin=_Connecting)
    patches.wrap(module.BaseDatabaseWrapper, "close", before=_closing)
    instruments.observe(_LIBRARY, None)
    patches.at_undo(_forget)


def _signals(patches: Patches) -> None:
    """Follow requests; Django's own receivers, which close what is too old, have run before."""
    signals = sys.modules["django.core.signals"]
    for signal, receiver in ((signals.request_started, _started), (signals.request_finished, _finished)):
        signal.connect(receiver, weak=False, dispatch_uid="dbsight")
        patches.at_undo(functools.partial(signal.disconnect, receiver, dispatch_uid="dbsight"))


def _forget() -> None:
    instruments.stop_observing(_LIBRARY)
    _databases.clear()
