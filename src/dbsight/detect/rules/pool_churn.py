"""Pools and connections that are made over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.identity import identity
from dbsight.detect.pool_advice import pooled, resized, shared
from dbsight.detect.rule import SnapshotRule
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, PoolSnapshot, Snapshot

_POOLS = 10
_USES = 5
_CONNECTIONS = 50
_PART = 0.5


class PoolChurn(SnapshotRule):
    """Pools or connections are made over and over, each for one use.

        [ GET /orders --------------------------- ]
          [ make pool ][ connect ][ SELECT orders ]     the same in every request

    Anti-pattern:
        def orders():
            return create_engine(url).connect().execute(select(Order)).all()

    Best practice:
        engine = create_engine(url)
        def orders():
            with engine.connect() as connection:
                return connection.execute(select(Order)).all()

    Severity:
        warning: Ten or more pools, each used five times at most; or every second use opens a connection.
        info: The same where pooling was switched off (NullPool).

    Left alone:
        SQLite, whose connections cost nothing worth keeping; its pools are looked at all the same.
    """

    name: ClassVar[str] = "pool_churn"
    category: ClassVar[Category] = "pool"

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare what was made with what it was used for."""
        for pool in snapshot.pools:
            state, totals = pool.state, pool.totals
            if state.made >= _POOLS and totals.checkouts <= _USES * state.made:
                yield self._pools(pool)
            elif (
                state.system != "sqlite"
                and state.created >= _CONNECTIONS
                and state.created >= _PART * totals.checkouts
                and totals.checkouts
            ):
                yield self._connections(pool)

    def _pools(self, pool: PoolSnapshot) -> Finding:
        state, totals = pool.state, pool.totals
        return Finding(
            rule=self.name,
            id=identity("pc", self.name, state.name),
            severity="warning",
            category=self.category,
            title=f"Pools of {state.name} are made over and over",
            description=f"{state.made} pools were made for {totals.checkouts} uses of a connection.",
            suggestion=shared(state),
            count=state.made,
            metric="pools",
            current_value=float(state.made),
            threshold=1.0,
            call_site=state.call_site,
        )

    def _connections(self, pool: PoolSnapshot) -> Finding:
        state, totals = pool.state, pool.totals
        unpooled = state.idle_max == 0 or "Null" in state.kind  # one that is closed has no limits any more
        # What it keeps is enough: they are closed for another reason, such as their age.
        enough = state.idle_max is not None and totals.needed <= state.idle_max
        return Finding(
            rule=self.name,
            id=identity("pn", self.name, state.name, "connections"),
            severity="info" if unpooled else "warning",
            category=self.category,
            title=f"Connections of {state.name} are made over and over",
            description=f"{state.created} connections were opened for {totals.checkouts} uses.",
            suggestion=pooled(state) if unpooled else "" if enough else resized(state, max(totals.needed, 1)),
            count=state.created,
            metric="connections",
            current_value=float(state.created),
            threshold=float(totals.checkouts) * _PART,
            call_site=state.call_site,
        )
