"""Queries with values in their texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.history import MIGRATION_TABLES
from dbsight.detect.repetition import KEY_VALUE, Repetition
from dbsight.detect.rule import WindowRule
from dbsight.statement.parameters import hash_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation

_MAX_SHOWN: Final = 500
"""Characters of a suggested statement."""
_NO_VALUES: Final = hash_parameters(())


class UnpreparedRepeat(WindowRule):
    """One query runs with ever other texts, because its values are written into them.

        [ GET /orders ------------------------------------------------ ]
          [ SELECT … id = 1 ] [ SELECT … id = 2 ] [ SELECT … id = 3 ]     three texts to parse and plan

    Anti-pattern:
        connection.exec_driver_sql(f"SELECT name FROM customers WHERE id = {customer}")

    Best practice:
        connection.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": customer})

    Severity:
        warning: 10 or more texts of one query from one request, task or script.

    Not reported:
        Bound parameters; spans of other instrumentations, which may show what the driver made of bound parameters;
        INSERT, DDL and connection setup; version tables of migration tools; and suppressed queries.
    """

    name: ClassVar[str] = "unprepared_repeat"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("unprepared_repeat_threshold",)
    of_repetition: ClassVar[bool] = True

    def complete(self, window: Window) -> Iterable[Finding]:
        """Group the statements that have literals and no parameters."""
        groups: dict[tuple[str, str], list[Operation]] = {}
        for operation in window.operations:
            statement = operation.statement
            if (
                statement.literals
                and operation.parameters == _NO_VALUES
                and statement.kind in {"select", "update", "delete"}
                and not operation.foreign
                and MIGRATION_TABLES.isdisjoint(statement.targets)
                and not operation.batch_size
                and operation.database.system not in KEY_VALUE
            ):
                groups.setdefault((statement.fingerprint, operation.database.key), []).append(operation)
        for operations in groups.values():
            texts = len({each.statement.literals for each in operations})
            if texts >= self.configuration.unprepared_repeat_threshold and not is_allowed(self.name, operations[0]):
                yield self._finding(Repetition(operations), texts, window)

    def _finding(self, repetition: Repetition, texts: int, window: Window) -> Finding:
        statement = repetition.statement
        return self.finding_in(
            window,
            repetition,
            ("up", statement.fingerprint),
            severity="warning",
            title=f"{statement.summary} has values in its text",
            description=f"{texts} different texts of one query, without bound parameters{where(repetition.call_site)}."
            " Each is parsed and planned again, and a value that a user chooses can change the query.",
            suggestion=statement.text.replace("?", ":value")[:_MAX_SHOWN],
            impact=0.0,
            count=len(repetition),
            metric="count",
            current_value=float(texts),
            threshold=float(self.configuration.unprepared_repeat_threshold),
        )
