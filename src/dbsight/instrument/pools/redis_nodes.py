"""The nodes of an asynchronous cluster of redis-py or valkey-py, which keep their connections themselves.

``ClusterNode.acquire_connection`` gives one out, in all releases from 5.0 on; each puts it back into ``_free``, some of
them without any method of the node. A node has no room for anything of ours: in the place of ``_free`` there is a queue
of our own, which tells what is put into it, lives as long as the node, and is what the pool is known by.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from dbsight.instrument import callsite
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.existing import existing
from dbsight.instrument.pools.redis import (
    NO_LIMIT,
    LatePool,
    has_socket,
    is_open,
    note_open,
)
from dbsight.instrument.pools.redis_checkout import timed_out
from dbsight.instrument.pools.redis_hooks import UNWATCHED, Unwatched, asker
from dbsight.instrument.redis_clients import pools_measure_themselves
from dbsight.safety import failed

if TYPE_CHECKING:
    from dbsight.instrument.wrap import Hook
    from dbsight.model import CallSite


class NodePool(LatePool):
    """The connections of one node; its ``pool`` is the queue of those that are free."""

    __slots__ = ()

    def idle(self) -> int:
        """Connections with a socket that wait."""
        return sum(map(is_open, tuple(self.pool or ())))

    def max(self) -> int | None:
        """``max_connections``, which is a very large number if unlimited."""
        free = self.pool
        limit = free.maxlen if free is not None else None
        return limit if limit is not None and limit < NO_LIMIT else None

    def idle_max(self) -> int | None:
        """All that it made are kept."""
        return self.max()


class _Free(deque[Any]):
    """The free connections of a node."""

    def append(self, connection: Any) -> None:
        """One is given back."""
        try:
            watched: NodePool | None = self.__dict__.get("_dbsight")
            if watched is not None:
                watched.gave_back(connection)
        except Exception:
            failed("pools.redis.free")
        super().append(connection)


def _watched(node: Any, package: str) -> NodePool | None:
    try:
        free = node._free
        known: NodePool | None = free.__dict__.get("_dbsight") if isinstance(free, _Free) else None
        if known is not None:
            return known
        return None if pools_measure_themselves(package) else _adopt(node, package, callsite.find())
    except Exception:
        failed("pools.redis.node")
        return None


def _adopt(node: Any, package: str, site: CallSite | None) -> NodePool:
    free = node._free
    if not isinstance(free, _Free):
        free = node._free = _Free(free, node.max_connections)
    name = f"{node.host}:{node.port}/0"
    pool = NodePool(
        free, name, system=package, configuration=(name, node.max_connections), site=site, asynchronous=True
    )
    pool.kind = type(node).__name__
    waiting = set(map(id, free))
    pool.strangers = {id(each) for each in node._connections if id(each) not in waiting}
    free.__dict__["_dbsight"] = pool
    for connection in node._connections:
        connection.__dict__["_dbsight_pool"] = pool
        if has_socket(connection):
            note_open(connection)
            registry.opened(pool.counts)
    return pool


class _Acquiring:
    """One call of ``acquire_connection``."""

    __slots__ = ("_pool", "_request")

    def __init__(self, pool: NodePool) -> None:
        self._pool = pool
        self._request = pool.ask()

    def returned(self, connection: Any) -> None:
        connection.__dict__["_dbsight_pool"] = self._pool  # it is connected later, when it is first used
        asker().given(self._request, connection)

    def raised(self, error: BaseException) -> None:
        self._pool.gave_up(self._request, timed_out=timed_out(error))


def acquiring(package: str) -> Hook:
    """The hook around ``ClusterNode.acquire_connection``."""

    def begin(node: Any) -> _Acquiring | Unwatched:
        pool = _watched(node, package)
        return _Acquiring(pool) if pool is not None else UNWATCHED

    return begin


def adopt_nodes(package: str) -> None:
    """Nodes that were made before: found among all objects, once."""
    module = sys.modules.get(f"{package}.asyncio.cluster")
    if module is not None:
        for node in existing(module.__dict__["ClusterNode"], having=("_connections", "_free")):
            if any(map(has_socket, node._connections)):
                _adopt(node, package, None)
