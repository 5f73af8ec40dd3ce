"""Tables that most of the time in the database goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.repetition import KEY_VALUE
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, Snapshot

_TABLES: Final = 3
"""Of fewer tables, one always has most of the time."""


class HotTable(SnapshotRule):
    """Most of the time in the database goes to statements that name one table.

        [ GET /orders --------------------------------- ]
          [ orders ------------------------------ ][ … ]    62 % of the time in the database

    Anti-pattern:
        prices = session.scalars(select(Price)).all()  # in every request

    Best practice:
        prices = price_cache.get_or_create("prices", load_prices, expiration_time=60)

    Severity:
        info: Half of the time in the database, of 1 000 or more queries on three or more tables.

    Not reported:
        Key-value stores, processes with fewer queries, and less than a second in the database.
    """

    name: ClassVar[str] = "hot_table"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = (
        "workload_calls_threshold",
        "table_share_threshold",
        "workload_time_threshold",
    )
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Add up the time of the statements by table."""
        if snapshot.calls < self.configuration.workload_calls_threshold:
            return
        by_table: dict[str, float] = {}
        total = 0.0
        for totals in snapshot.statements:
            if totals.statement.system not in KEY_VALUE:
                total += totals.total
                for table in totals.statement.targets:
                    by_table[table] = by_table.get(table, 0.0) + totals.total
        if len(by_table) < _TABLES or total < self.configuration.workload_time_threshold:
            return
        for table, time in by_table.items():
            if time > self.configuration.table_share_threshold * total:
                yield self.finding(
                    ("ht", table),
                    severity="info",
                    title=f"Most of the time in the database goes to {table}",
                    description=f"Statements that name {table} take {seconds(time)}, {time / total:.0%} of the time in"
                    " the database. Cache what is read often, or partition the table where it is large.",
                    effort="high",
                    impact=0.0,
                    metric="share",
                    current_value=time / total,
                    threshold=self.configuration.table_share_threshold,
                )
