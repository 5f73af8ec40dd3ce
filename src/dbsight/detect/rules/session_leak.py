"""ORM sessions that are never closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.pool_advice import given_back
from dbsight.detect.rule import SnapshotRule
from dbsight.detect.rules.connection_leak import described

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Snapshot


class SessionLeak(SnapshotRule):
    """An ORM session is never closed and keeps its connection.

        [ GET /export --------- ]
          [ SELECT orders ]               … no close(), commit() or rollback(): the transaction
                                            and the connection stay open

    Anti-pattern:
        session = Session(engine)
        orders = session.scalars(select(Order)).all()

    Best practice:
        with Session(engine) as session:
            orders = session.scalars(select(Order)).all()

    Severity:
        error: Always. A leaked connection is missing from the pool.

    Not reported:
        Sessions that run queries, however long they live; sessions whose connection was invalidated; and suppressed
        checkouts. If the session is closed later, the finding is withdrawn.
    """

    name: ClassVar[str] = "session_leak"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = ("connection_leak_after",)
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Report each line that leaked, once."""
        limit = self.configuration.connection_leak_after
        for pool in snapshot.pools:
            for leak in pool.totals.leaked:
                if leak.session:
                    yield self.finding(
                        ("sl", pool.state.name, leak.call_site),
                        severity="error",
                        title="A session was not closed",
                        description=described(leak, limit),
                        suggestion=given_back(pool.state, session=True),
                        count=leak.count,
                        metric="age",
                        current_value=leak.age,
                        threshold=limit,
                        call_site=leak.call_site,
                    )
