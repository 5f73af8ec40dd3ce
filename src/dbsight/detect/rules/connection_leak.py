"""Connections that are never returned to their pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.pool_advice import given_back
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Leak, PoolSnapshot, Snapshot


class ConnectionLeak(SnapshotRule):
    """A connection is checked out of its pool and never returned.

        [ GET /export --------- ]
          [ checkout ]                    … no check-in for more than 30 s, or until the
                                            garbage collector closes it

    Anti-pattern:
        connection = engine.connect()
        rows = connection.execute(select(Order)).all()

    Best practice:
        with engine.connect() as connection:
            rows = connection.execute(select(Order)).all()

    Severity:
        error: Always. A leaked connection is missing from the pool.

    Not reported:
        Connections on which a query runs or ran recently, however long they are checked out; invalidated connections;
        and suppressed checkouts. If the connection is returned later, the finding is withdrawn.
    """

    name: ClassVar[str] = "connection_leak"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = ("connection_leak_after",)
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Report each line that leaked, once."""
        for pool in snapshot.pools:
            for leak in pool.totals.leaked:
                if not leak.session:
                    yield self._finding(pool, leak)

    def _finding(self, pool: PoolSnapshot, leak: Leak) -> Finding:
        limit = self.configuration.connection_leak_after
        return self.finding(
            ("cl", pool.state.name, leak.call_site),
            severity="error",
            title=f"A connection of {pool.state.name} was not returned to its pool",
            description=described(leak, limit),
            suggestion=given_back(pool.state),
            count=leak.count,
            metric="age",
            current_value=leak.age,
            threshold=limit,
            call_site=leak.call_site,
        )


def described(leak: Leak, limit: float) -> str:
    """Describe where the connection was checked out, and how the leak was detected."""
    where = f"at {leak.call_site}" if leak.call_site is not None else "on an unknown line"
    times = "" if leak.count == 1 else f" {leak.count} times"
    if leak.collected:
        how = f"closed by the garbage collector after {seconds(leak.age)}"
    else:
        how = f"held for {seconds(leak.age)} without a query (limit {seconds(limit, exact=True)})"
    return f"Checked out {where}{times}; {how}."
