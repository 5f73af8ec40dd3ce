"""Redis pools of another size than their role has been given."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.identity import identity
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import counted
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, PoolState, Snapshot


class PoolRoleSize(SnapshotRule):
    """A Redis pool holds more or fewer connections than the settings give its role.

        [ GET /cart ------------------------- ]  REDIS_MASTER_POOL_SIZE=10
          GET  GET  GET  on up to 50 connections

    Anti-pattern:
        pool = dbsight.redis_pool("master", max_connections=50)

    Best practice:
        pool = dbsight.redis_pool("master")  # and REDIS_MASTER_POOL_SIZE=50 where 50 are wanted

    Severity:
        warning: the pool may hold more, which the server's limit was not planned for.
        info: it may hold fewer, and clients wait where nobody expects it.

    Left alone:
        Pools without a role; a role asked for without ``max_connections``.
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
        return Finding(
            rule=self.name,
            id=identity("rs", self.name, state.name),
            severity="warning" if most > declared * state.pools else "info",
            category=self.category,
            title=f"The pool {state.name} has another size than its role",
            description=f"{each}; the settings give the role {state.role} {declared} a pool ({variable}).",
            suggestion=f'dbsight.redis_pool("{state.role}")  # without max_connections; {variable} says how many',
            metric="connections",
            current_value=float(most),
            threshold=float(declared * state.pools),
            call_site=state.call_site,
        )
