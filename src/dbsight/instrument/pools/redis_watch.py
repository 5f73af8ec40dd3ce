"""The wrappers around the pools of redis-py or valkey-py, and what was made before them."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from dbsight.instrument import redis_server
from dbsight.instrument.pools import instruments, registry
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.redis import (
    RedisPool,
    adopt,
    available,
    cache_asked,
    closing,
    connecting,
    has_socket,
    note_open,
)
from dbsight.instrument.pools.redis_hooks import PoolHooks
from dbsight.instrument.pools.redis_nodes import NodePool, acquiring, adopt_nodes
from dbsight.instrument.wrap import Patches
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from opentelemetry.metrics import MeterProvider


def _methods(package: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Module, class, method, and how it is wrapped."""
    hooks = PoolHooks(package)
    methods: list[tuple[str, str, str, dict[str, Any]]] = []
    # Each checkout connects: of an object with a socket nothing is asked.
    for prefix, socket in (("", "_sock"), ("asyncio.", "_reader")):
        connection = f"{prefix}connection"
        connects = {"begin": connecting, "having": socket}
        methods += [
            # What ends something first: other threads may use pools meanwhile.
            (connection, "AbstractConnection", "disconnect", {"before": closing}),
            (connection, "AbstractConnection", "connect", connects),
            (f"{prefix}sentinel", "SentinelManagedConnection", "connect", connects),
            (connection, "ConnectionPool", "__init__", {"after": hooks.made}),
            (f"{prefix}client", "Redis", "__init__", {"after": hooks.client_made}),
        ]
        # In newer releases, one that lost its socket connects at its next command, not through ``connect``.
        for name in ("Connection", "SSLConnection", "UnixDomainSocketConnection"):
            methods.append((connection, name, "_connect", {"begin": connecting}))
        for name in ("ConnectionPool", "BlockingConnectionPool"):
            methods += [
                (connection, name, "release", {"before": hooks.releasing}),
                (connection, name, "disconnect", {"begin": hooks.disposing}),
                (connection, name, "get_connection", {"begin": hooks.asking}),
            ]
    methods.append(("connection", "CacheProxyConnection", "send_command", {"after": cache_asked}))
    # Only its own: where it is released differs from release to release, but not what it is put into.
    return [*methods, ("asyncio.cluster", "ClusterNode", "acquire_connection", {"begin": acquiring(package)})]


def _awaited(function: Any) -> bool:
    """Whether a decorator, as redis-py 5 and 6 have, hides a coroutine function behind a plain one."""
    return inspect.iscoroutinefunction(inspect.unwrap(function)) and not inspect.iscoroutinefunction(function)


class PoolWatch:
    """The wrappers around the pools of one package.

    Args:
        package: ``redis`` or ``valkey``.
        named: Gives the package's name of a class that redis-py calls so.
    """

    def __init__(self, package: str, named: Callable[[str], str]) -> None:
        self._package = package
        self._named = named
        self._patches = Patches()

    def install(self, meter_provider: MeterProvider | None) -> None:
        """Watch every pool, those that exist already too, and send their states to a meter provider."""
        methods = _methods(self._package)
        for name in dict.fromkeys(module for module, *_ in methods):
            here = [rest for module, *rest in methods if module == name]
            self._patches.when_imported(f"{self._package}.{name}", functools.partial(self._wrap, here))
        _adopt_existing(self._package)

        def observe(_: ModuleType) -> None:
            instruments.observe(RedisPool.library, meter_provider)
            redis_server.poll(meter_provider)

        self._patches.when_imported(f"{self._package}.connection", observe)

    def _wrap(self, methods: Iterable[Any], module: ModuleType) -> None:
        """Wrap the methods of classes of a module that was imported."""
        for name, method, hook in methods:
            owner = getattr(module, self._named(name), None)
            original = vars(owner).get(method) if owner is not None else None
            if original is not None:
                self._patches.wrap(owner, method, awaited=_awaited(original), **hook)

    def stop(self) -> None:
        """Leave nothing behind."""
        self._patches.undo()
        for pool in registry.pools():
            if isinstance(pool, (RedisPool, NodePool)) and pool.system == self._package:
                pool.pool.__dict__.pop("_dbsight", None)
        instruments.stop_observing(RedisPool.library)


@guard
def _adopt_existing(package: str) -> None:
    """Pools that were made before: found among all objects, once; the same for their connections and clients."""
    adopt_nodes(package)
    modules = [sys.modules.get(f"{package}.{name}") for name in ("connection", "asyncio.connection")]
    classes = [module.__dict__["ConnectionPool"] for module in modules if module is not None]
    for each in existing(*classes, having=("connection_kwargs", "max_connections")):
        if "_dbsight" not in each.__dict__:  # else another thread asked it meanwhile
            out = list(getattr(each, "_in_use_connections", ()))
            if hasattr(each, "_connections"):  # a blocking one remembers all that it made
                out = [known for known in each._connections if known not in available(each)]
            inner = [getattr(connection, "_conn", connection) for connection in [*available(each), *out]]
            if not any(map(has_socket, inner)):
                continue  # closed, or not used yet: the first request will tell
            made = adopt(each, package, None)
            made.strangers = {id(connection) for connection in out if id(connection) not in made.held}
            for connection in inner:
                connection.__dict__["_dbsight_pool"] = made
                if has_socket(connection):
                    note_open(connection)
                    registry.opened(made.counts)
