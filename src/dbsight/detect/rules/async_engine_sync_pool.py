"""Asynchronous engines with a synchronous pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Snapshot


class AsyncEngineSyncPool(SnapshotRule):
    """An asynchronous engine has a pool class for synchronous engines.

        [ GET /orders -------------------------------- ]
          create_async_engine(poolclass=QueuePool)  ✖ ArgumentError

    Anti-pattern:
        engine = create_async_engine(url, poolclass=QueuePool, pool_size=20)

    Best practice:
        engine = create_async_engine(url, pool_size=20)  # uses AsyncAdaptedQueuePool

    Severity:
        error: Always.
    """

    name: ClassVar[str] = "async_engine_sync_pool"
    category: ClassVar[Category] = "pool"

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Report engines that SQLAlchemy rejected, and those that older versions accepted."""
        for pool in snapshot.pools:
            state, refused = pool.state, pool.totals.refused
            if refused is None and not state.blocks_loop:
                continue
            yield self.finding(
                ("as", state.name),
                severity="error",
                title=f"The asynchronous engine of {state.name} has a synchronous pool",
                description=f"{state.kind} blocks the thread while it waits"
                + ("; SQLAlchemy rejected it." if refused is not None else ", which blocks the event loop."),
                suggestion="create_async_engine(url)  # without poolclass: AsyncAdaptedQueuePool",
                call_site=refused or state.call_site,
            )
