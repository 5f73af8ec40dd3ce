"""Redis pools whose size differs from the setting of their role."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, PoolState, Snapshot


class PoolRoleSize(SnapshotRule):
    """The maximum size of a Redis pool differs from the size configured for its role.

        [ GET /cart ------------------------- ]  REDIS_MASTER_POOL_SIZE=10
          GET  GET  GET  on up to 50 connections

    Anti-pattern:
        pool = dbsight.redis_pool("master", max_connections=50)

    Best practice:
        pool = dbsight.redis_pool("master")  # with REDIS_MASTER_POOL_SIZE=50 for 50

    Severity:
        warning: The pool may open more connections than its role is configured for.
        info: The pool may open fewer, so that clients wait earlier than expected.

    Not reported:
        Pools without a role, and roles requested without ``max_connections``.
    """

    name: ClassVar[str] = "pool_role_size"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = (
        "redis_master_pool_size",
        "redis_slave_pool_size",
        "redis_local_pool_size",
        "redis_async_pool_max",
    )

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the limit of each pool with that of its role."""
        for pool in snapshot.pools:
            state = pool.state
            if state.role and state.max is not None and state.pools:
                declared = self.configuration.redis_pool_size(state.role)
                if state.max != declared * state.pools:
                    yield self._finding(state, state.max, declared)

    def _finding(self, state: PoolState, most: int, declared: int) -> Finding:
        each = f"{counted(state.pools, 'pool')} may hold {counted(most, 'connection')}"
        variable = "REDIS_ASYNC_POOL_MAX" if state.role == "async" else f"REDIS_{state.role.upper()}_POOL_SIZE"
        return self.finding(
            ("rs", state.name),
            severity="warning" if most > declared * state.pools else "info",
            title=f"The pool {state.name} differs in size from its role",
            description=f"{each}; the role {state.role} is configured for {declared} per pool ({variable}).",
            suggestion=f'dbsight.redis_pool("{state.role}")  # without max_connections; {variable} sets the limit',
            metric="connections",
            current_value=float(most),
            threshold=float(declared * state.pools),
            call_site=state.call_site,
        )
