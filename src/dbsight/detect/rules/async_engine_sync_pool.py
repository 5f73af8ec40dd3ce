"""Pools for threads under asynchronous engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.identity import identity
from dbsight.detect.rule import SnapshotRule
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Snapshot


class AsyncEngineSyncPool(SnapshotRule):
    """An asynchronous engine is given a pool for threads, which SQLAlchemy refuses or which stops the loop.

        [ GET /orders -------------------------------- ]
          create_async_engine(poolclass=QueuePool)  ✖ ArgumentError

    Anti-pattern:
        engine = create_async_engine(url, poolclass=QueuePool, pool_size=20)

    Best practice:
        engine = create_async_engine(url, pool_size=20)  # AsyncAdaptedQueuePool by itself

    Severity:
        error: Always.
    """

    name: ClassVar[str] = "async_engine_sync_pool"
    category: ClassVar[Category] = "pool"

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Look for engines that were refused, or that an old SQLAlchemy let through."""
        for pool in snapshot.pools:
            state, refused = pool.state, pool.totals.refused
            if refused is None and not state.blocks_loop:
                continue
            yield Finding(
                rule=self.name,
                id=identity("as", self.name, state.name),
                severity="error",
                category=self.category,
                title=f"The asynchronous engine of {state.name} has a pool for threads",
                description=f"{state.kind} waits as threads do"
                + (": SQLAlchemy refused it." if refused is not None else ", and stops the event loop."),
                suggestion="create_async_engine(url)  # without poolclass: AsyncAdaptedQueuePool",
                call_site=refused or state.call_site,
            )
