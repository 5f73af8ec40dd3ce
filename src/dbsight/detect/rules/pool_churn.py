"""Pools and connections that are created repeatedly."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.pool_advice import pooled, resized, shared
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, PoolSnapshot, Snapshot


class PoolChurn(SnapshotRule):
    """Pools or connections are created again and again, each for a single use.

        [ GET /orders --------------------------- ]
          [ create pool ][ connect ][ SELECT orders ]   again in every request

    Anti-pattern:
        def orders():
            return create_engine(url).connect().execute(select(Order)).all()

    Best practice:
        engine = create_engine(url)
        def orders():
            with engine.connect() as connection:
                return connection.execute(select(Order)).all()

    Severity:
        warning: Ten or more pools, each used five times at most; or a new connection for every second use.
        info: The same with pooling disabled (``NullPool``).

    Not reported:
        New connections to SQLite, which are cheap. New SQLite pools are reported.
    """

    name: ClassVar[str] = "pool_churn"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = (
        "pool_churn_threshold",
        "pool_churn_uses_threshold",
        "pool_churn_connections_threshold",
        "pool_churn_share_threshold",
    )

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the number of pools and connections created with the number of checkouts."""
        for pool in snapshot.pools:
            state, totals = pool.state, pool.totals
            if (
                state.made >= self.configuration.pool_churn_threshold
                and totals.checkouts <= self.configuration.pool_churn_uses_threshold * state.made
            ):
                yield self._pools(pool)
            elif (
                state.system != "sqlite"
                and state.created >= self.configuration.pool_churn_connections_threshold
                and state.created >= self.configuration.pool_churn_share_threshold * totals.checkouts
                and totals.checkouts
            ):
                yield self._connections(pool)

    def _pools(self, pool: PoolSnapshot) -> Finding:
        state, totals = pool.state, pool.totals
        return self.finding(
            ("pc", state.name),
            severity="warning",
            title=f"Pools of {state.name} are created repeatedly",
            description=f"{state.made} pools were created for {counted(totals.checkouts, 'checkout')}.",
            suggestion=shared(state),
            count=state.made,
            metric="pools",
            current_value=float(state.made),
            threshold=1.0,
            call_site=state.call_site,
        )

    def _connections(self, pool: PoolSnapshot) -> Finding:
        state, totals = pool.state, pool.totals
        unpooled = state.idle_max == 0 or "Null" in state.kind  # a closed pool has no limits
        # The pool is large enough: its connections are closed for another reason, such as their age.
        enough = state.idle_max is not None and totals.needed <= state.idle_max
        return self.finding(
            ("pn", state.name, "connections"),
            severity="info" if unpooled else "warning",
            title=f"Connections of {state.name} are created repeatedly",
            description=f"{state.created} connections were opened for {counted(totals.checkouts, 'checkout')}.",
            suggestion=pooled(state) if unpooled else "" if enough else resized(state, max(totals.needed, 1)),
            count=state.created,
            metric="connections",
            current_value=float(state.created),
            threshold=float(totals.checkouts) * self.configuration.pool_churn_share_threshold,
            call_site=state.call_site,
        )
