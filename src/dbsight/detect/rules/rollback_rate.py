"""Transactions that are rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Snapshot


class RollbackRate(SnapshotRule):
    """Many transactions that wrote something are rolled back.

        [ POST /order -------------------------- ]
          [ BEGIN ][ INSERT order ][ ROLLBACK ]     every fifth time

    Anti-pattern:
        with Session(engine) as session:
            session.add(order)
            session.flush()
            if not order.is_valid():
                session.rollback()

    Best practice:
        if order.is_valid():
            with Session(engine) as session, session.begin():
                session.add(order)

    Severity:
        error: At least half of 20 or more transactions.
        warning: At least a tenth of 20 or more transactions.

    Not reported:
        Transactions that only read: closing a session rolls them back without losing anything.
    """

    name: ClassVar[str] = "rollback_rate"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = (
        "rollback_rate_threshold",
        "rollback_rate_error_threshold",
        "rollback_rate_transactions_threshold",
    )

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare rollbacks with commits per database."""
        for totals in snapshot.transaction_totals:
            count = totals.commits + totals.rollbacks
            if count < self.configuration.rollback_rate_transactions_threshold:
                continue
            rate = totals.rollbacks / count
            if rate >= self.configuration.rollback_rate_threshold:
                yield self.finding(
                    ("rr", totals.database.key),
                    severity="error" if rate >= self.configuration.rollback_rate_error_threshold else "warning",
                    title="Many transactions are rolled back",
                    description=f"{totals.rollbacks} of {count} transactions with writes were rolled back.",
                    suggestion="with session.begin():  # validate before the transaction begins",
                    effort="medium",
                    count=totals.rollbacks,
                    metric="rate",
                    current_value=rate,
                    threshold=self.configuration.rollback_rate_threshold,
                    database=totals.database,
                    call_site=totals.call_site,
                )
