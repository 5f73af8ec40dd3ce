"""Growing numbers of connections, and pools whose cleanup fails."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.pool_advice import grown
from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, PoolSnapshot, PoolState, Snapshot


class ConnectionGrowth(SnapshotRule):
    """The number of connections to a server keeps growing, or idle connections cannot be closed.

        [ GET /cart --- ] 12 connections … [ GET /cart --- ] 40 … [ GET /cart --- ] 95

    Anti-pattern:
        def cart():
            client = redis.Redis()  # creates a new pool per call

    Best practice:
        pool = dbsight.redis_pool("master")
        def cart():
            client = redis.Redis(connection_pool=pool)

    Severity:
        warning: 20 more connections and twice as many within two minutes, without a decrease; or a cleanup that failed.

    Not reported:
        Growth up to the pool's minimum, and numbers that decrease again.
    """

    name: ClassVar[str] = "connection_growth"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = ("connection_growth_threshold", "connection_growth_samples_threshold")

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Check the time series of each pool, then its cleanup failures."""
        for pool in snapshot.pools:
            if pool.state.cleanup_failures:
                yield self._failed(pool.state)
            found = self._growing(pool)
            if found is not None:
                yield found

    def _growing(self, pool: PoolSnapshot) -> Finding | None:
        samples = self.configuration.connection_growth_samples_threshold
        counts = [point.used + point.idle for point in pool.series[-samples:]]
        if len(counts) < samples or any(later < earlier for earlier, later in pairwise(counts)):
            return None
        first, last = counts[0], counts[-1]
        if (
            last - first < self.configuration.connection_growth_threshold
            or last < 2 * first
            or last <= pool.state.idle_min
        ):
            return None
        state = pool.state
        return self.finding(
            ("cg", state.name),
            severity="warning",
            title=f"The number of connections to {state.name} keeps growing",
            description=f"From {first} to {last} connections in {len(counts)} samples, without a decrease;"
            f" {state.pools} pools.",
            suggestion=grown(state),
            metric="connections",
            current_value=float(last),
            threshold=float(first + self.configuration.connection_growth_threshold),
            call_site=state.call_site,
        )

    def _failed(self, state: PoolState) -> Finding:
        return self.finding(
            ("cf", state.name),
            severity="warning",
            title=f"Idle connections of {state.name} cannot be closed",
            description=f"{state.cleanup_failures} cleanups of the {state.role} pool failed.",
            suggestion="SharedPoolRegistry.close()  # before the event loop that the pool belongs to is closed",
            count=state.cleanup_failures,
            metric="cleanup_failures",
            current_value=float(state.cleanup_failures),
            threshold=0.0,
            call_site=state.call_site,
        )
