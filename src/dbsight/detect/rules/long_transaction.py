"""Transactions that stay open for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.rule import SnapshotRule, WindowRule
from dbsight.detect.rules.slow_consumer import between_rows
from dbsight.detect.slow_thresholds import SlowThresholds
from dbsight.formatting import seconds
from dbsight.model import Finding, TransactionEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.detect.window import Window
    from dbsight.model import Category, OpenedBy, OpenTransaction, Snapshot

_CLOCKS: Final = 1.01
"""The clocks of a transaction and of its statements differ by less than that."""
_ONE_QUERY: Final = 0.9
"""Share of a transaction from which a single slow query is its cause, and ``slow_query`` reports it."""


_BEGINS: Final = frozenset(("atomic", "ATOMIC_REQUESTS"))
"""What sends a BEGIN before the first query: on SQLite, a read then keeps its lock, and no one else can write."""

_SHORTER: Final[dict[OpenedBy, str]] = {
    "sqlalchemy": "with session.begin():  # after the slow work, only around the statements",
    "connection": "# commit before the slow work, or begin the transaction after it",
    "atomic": "with transaction.atomic():  # after the slow work, only around the statements",
    "ATOMIC_REQUESTS": "@transaction.non_atomic_requests  # and transaction.atomic() only around the statements",
}
_SMALLER: Final[dict[OpenedBy, str]] = {
    "sqlalchemy": "for start in range(0, len(rows), 500):\n    with session.begin():\n"
    "        session.add_all(rows[start : start + 500])",
    "connection": "# commit after every 500 rows",
    "atomic": "for start in range(0, len(rows), 500):\n    with transaction.atomic():\n"
    "        save(rows[start : start + 500])",
    "ATOMIC_REQUESTS": "@transaction.non_atomic_requests  # and transaction.atomic() around every 500 rows",
}
"""What keeps a transaction short, by what opened it: one that is idle, and one that does much."""


class LongTransaction(WindowRule, SnapshotRule):
    """A transaction stays open for longer than the limit, often while idle.

        [ POST /order ------------------------------------------ ]
          [ BEGIN … UPDATE stock ]  call to a payment service  [ COMMIT ]
            rows stay locked, and vacuum cannot remove dead rows

    Anti-pattern:
        with Session(engine) as session, session.begin():
            order = session.get(Order, number, with_for_update=True)
            order.paid = charge(order)  # a call over the network

    Best practice:
        paid = charge(number)
        with Session(engine) as session, session.begin():
            session.get(Order, number, with_for_update=True).paid = paid

    Severity:
        error: Open for six times ``long_transaction_threshold`` (``long_transaction_error_factor``).
        warning: Open for ``long_transaction_threshold`` (5 s).

    Not reported:
        Autocommit, transactions without a statement, read-only transactions on SQLite (which hold no locks, except
        in ``transaction.atomic()`` of Django), and suppressed transactions. A transaction that consists of one slow
        query is reported as ``slow_query`` only, one that a stream keeps open as ``slow_consumer`` only.
    """

    name: ClassVar[str] = "long_transaction"
    category: ClassVar[Category] = "lock"
    settings: ClassVar[tuple[str, ...]] = ("long_transaction_threshold", "long_transaction_error_factor")
    of_events: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._slow = SlowThresholds(settings) if settings.rule_enabled("slow_query") else None

    def complete(self, window: Window) -> Iterable[Finding]:
        """Check the transactions that ended in this unit of work."""
        for event in window.events:
            if not isinstance(event, TransactionEvent) or event.allowed & {self.name, "all"}:
                continue
            if self._is_long(event, event.seconds) and not (
                self._is_one_slow_query(event, window) or self._waits_for_consumer(event, window)
            ):
                ended = f"{event.result} after {seconds(event.seconds)}"
                yield self._finding(event, event.seconds, ended)

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Check the transactions that are still open."""
        for each in snapshot.transactions:
            if each.allowed & {self.name, "all"}:
                continue
            if self._is_long(each, each.age):
                yield self._finding(each, each.age, f"open since {seconds(each.age)}")

    def _is_long(self, transaction: TransactionEvent | OpenTransaction, age: float) -> bool:
        if age < self.configuration.long_transaction_threshold or not transaction.queries:
            return False
        return bool(transaction.writes) or transaction.database.system != "sqlite" or transaction.opened_by in _BEGINS

    def _is_one_slow_query(self, event: TransactionEvent, window: Window) -> bool:
        """Return whether one query that ``slow_query`` reports takes nearly all of the transaction's time."""
        slow = self._slow
        return slow is not None and any(
            _ONE_QUERY * event.seconds <= operation.duration <= event.seconds
            and operation.database.key == event.database.key
            and slow.classify(operation, window.name)[0] is not None
            for operation in window.operations
        )

    def _waits_for_consumer(self, event: TransactionEvent, window: Window) -> bool:
        """Return whether a stream that ``slow_consumer`` reports keeps it open."""
        return self.configuration.rule_enabled("slow_consumer") and any(
            operation.streamed
            and operation.database.key == event.database.key
            and between_rows(operation) >= self.configuration.long_transaction_threshold
            and operation.end_ns - operation.start_ns <= event.seconds * _CLOCKS * 1e9
            for operation in window.operations
        )

    def _finding(self, transaction: TransactionEvent | OpenTransaction, age: float, how: str) -> Finding:
        limit = self.configuration.long_transaction_threshold
        database, site, idle = transaction.database, transaction.call_site, transaction.idle
        sleeps = idle >= age / 2
        return self.finding(
            ("lt", database.key, site),
            severity="error" if age >= self.configuration.long_transaction_error_factor * limit else "warning",
            title="A transaction is idle while open" if sleeps else "A transaction stays open for too long",
            description=f"Begun at {site or 'an unknown line'}, {how}; {seconds(idle)} of it without a statement.",
            suggestion=(_SHORTER if sleeps else _SMALLER)[transaction.opened_by],
            impact=idle,
            effort="medium",
            metric="duration",
            current_value=age,
            threshold=limit,
            database=database,
            call_site=site,
            details={"idle": idle},
        )
