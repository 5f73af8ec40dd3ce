"""The wrappers around the pools of redis-py or valkey-py, and what was made before them."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import TYPE_CHECKING, Any

from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.redis import (
    RedisPool,
    adopt,
    around_client_init,
    around_connect,
    around_disconnect,
    around_dispose,
    around_get_connection,
    around_init,
    around_release,
    available,
    has_socket,
    note_open,
)
from dbsight.instrument.pools.redis_nodes import NodePool, adopt_nodes, around_acquire
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Callable


def _methods(package: str) -> list[tuple[str, str, str, Callable[[Any], Any]]]:
    """Module, class, method, and what it becomes."""
    named = functools.partial
    methods: list[tuple[str, str, str, Callable[[Any], Any]]] = []
    for prefix in ("", "asyncio."):
        connection = f"{prefix}connection"
        methods += [
            (connection, "AbstractConnection", "connect", around_connect),
            # What connects at its first command goes there at once, in newer releases.
            (connection, "AbstractConnection", "connect_check_health", around_connect),
            (connection, "AbstractConnection", "disconnect", around_disconnect),
            (f"{prefix}sentinel", "SentinelManagedConnection", "connect", around_connect),
            (connection, "ConnectionPool", "__init__", named(around_init, package=package)),
            (f"{prefix}client", "Redis", "__init__", named(around_client_init, package=package)),
        ]
        for name in ("ConnectionPool", "BlockingConnectionPool"):
            methods += [
                (connection, name, "get_connection", named(around_get_connection, package=package)),
                (connection, name, "release", named(around_release, package=package)),
                (connection, name, "disconnect", named(around_dispose, package=package)),
            ]
    # Only its own: where it is released differs from release to release, but not what it is put into.
    return [*methods, ("asyncio.cluster", "ClusterNode", "acquire_connection", named(around_acquire, package=package))]


class PoolWatch:
    """The wrappers around the pools of one package.

    Args:
        package: ``redis`` or ``valkey``.
        named: Gives the package's name of a class that redis-py calls so.
    """

    def __init__(self, package: str, named: Callable[[str], str]) -> None:
        self._package = package
        self._undo: list[tuple[Any, str, Any]] = []
        for module, name, method, wrap in _methods(package):
            owner = getattr(importlib.import_module(f"{package}.{module}"), named(name), None)
            original = vars(owner).get(method) if owner is not None else None
            if original is not None:
                setattr(owner, method, wrap(original))
                self._undo.append((owner, method, original))
        _adopt_existing(package)

    def observe(self, meter_provider: Any) -> None:
        """Send the states of the pools there."""
        instruments.observe(RedisPool.library, meter_provider)

    def stop(self) -> None:
        """Leave nothing behind."""
        for owner, method, original in reversed(self._undo):
            setattr(owner, method, original)
        self._undo = []
        for pool in registry.pools():
            if isinstance(pool, (RedisPool, NodePool)) and pool.system == self._package:
                pool.pool.__dict__.pop("_dbsight", None)
        instruments.stop_observing(RedisPool.library)


@guard
def _adopt_existing(package: str) -> None:
    """Pools that were made before: found among all objects, once; the same for their connections and clients."""
    adopt_nodes(package)
    modules = [sys.modules.get(f"{package}.{name}") for name in ("connection", "asyncio.connection")]
    for each in existing(*(module.__dict__["ConnectionPool"] for module in modules if module is not None)):
        if hasattr(each, "connection_kwargs"):
            out = list(getattr(each, "_in_use_connections", ()))
            if hasattr(each, "_connections"):  # a blocking one remembers all that it made
                out = [known for known in each._connections if known not in available(each)]
            inner = [getattr(connection, "_conn", connection) for connection in [*available(each), *out]]
            if not any(map(has_socket, inner)):
                continue  # closed, or not used yet: the first request will tell
            if "_dbsight" in each.__dict__:
                continue  # another thread asked it meanwhile
            made = adopt(each, package, None)
            made.strangers = {id(connection) for connection in out if id(connection) not in made.held}
            for connection in inner:
                connection.__dict__["_dbsight_pool"] = made
                if has_socket(connection):
                    note_open(connection)
                    registry.opened(made.counts)
