"""Texts of statements that ask for more than is needed, where many rows show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.repetition import KEY_VALUE
from dbsight.detect.rule import WindowRule
from dbsight.detect.shape import Shape
from dbsight.detect.slow_thresholds import SlowThresholds
from dbsight.detect.text_smells import smells_of, tests_existence
from dbsight.formatting import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dbsight.config import Settings
    from dbsight.detect.text_smells import Smell
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation


class TextSmell(WindowRule):
    """A statement's text asks for more than is needed, and many rows prove it.

        [ GET /export ------------------------------- ]
          [ SELECT * FROM orders ------------------ ]    5 000 rows, every column of each

    Anti-pattern:
        session.execute(text("SELECT * FROM orders WHERE lower(city) = :city"), {"city": "oslo"})

    Best practice:
        session.execute(text("SELECT id, total FROM orders WHERE city = :city"), {"city": "Oslo"})

    Severity:
        warning: UPDATE or DELETE without WHERE, a join without condition; in a request.
        info: ``SELECT *``, a leading wildcard, a function on a column, ``ORDER BY random()``, ``NOT IN (SELECT …)``,
        ``OR`` over columns, OFFSET, lists of more than 500 values; a ``COUNT`` of 20 ms or more
        (``slow_count_threshold``) of which the line of code only asks whether it is zero.

    Not reported:
        Statements that return or write fewer than 1 000 rows, unless their list is long; slow ones, of which
        ``slow_query`` gives the same advice; reads of the catalogue; and suppressed queries.
    """

    name: ClassVar[str] = "text_smell"
    category: ClassVar[Category] = "query"

    settings: ClassVar[tuple[str, ...]] = ("text_smell_threshold", "in_list_threshold", "slow_count_threshold")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._rows = settings.text_smell_threshold
        self._counted = settings.slow_count_threshold
        self._values = settings.in_list_threshold
        self._limits = SlowThresholds(settings)

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at the texts of statements with many rows, each once."""
        if window.longest >= self._counted or any([self._is_large(Shape._make(each)) for each in window.shapes]):  # noqa: C419 - mostly one
            return self._look(window)
        return ()

    def _is_large(self, shape: Shape) -> bool:
        most = max(shape.rows or 0, shape.affected or 0)
        return most >= self._rows or shape.in_length > self._values

    def _look(self, window: Window) -> Iterator[Finding]:
        rows, values = self._rows, self._values
        large = [
            each
            for each in window.operations
            if (each.rows or 0) >= rows
            or (each.affected or 0) >= rows
            or each.statement.in_length > values
            or each.duration >= self._counted
        ]
        seen: set[str] = set()
        for operation in large:
            statement = operation.statement
            if statement.fingerprint in seen or statement.catalogue or statement.system in KEY_VALUE:
                continue
            if is_allowed(self.name, operation) or self._limits.classify(operation, window.name)[0] is not None:
                continue
            seen.add(statement.fingerprint)
            smells = (
                smells_of(statement, self._values)
                if self._has_many(operation)
                else tests_existence(statement, operation)
            )
            if smells:
                yield self._finding(operation, smells, window)

    def _has_many(self, operation: Operation) -> bool:
        rows = max(operation.rows or 0, operation.affected or 0)
        return rows >= self._rows or operation.statement.in_length > self._values

    def _finding(self, operation: Operation, smells: tuple[Smell, ...], window: Window) -> Finding:
        statement = operation.statement
        names = {smell.name for smell in smells}
        many = self._has_many(operation)
        rows = operation.rows if operation.rows is not None else operation.affected or 0
        verb = "returned" if operation.rows is not None else "written"
        evidence = f"{count(rows)} rows were {verb}" if many else f"it took {seconds(operation.duration)}"
        grave = bool(names & {"write_without_where", "cartesian_join"}) and window.request
        return self.finding_in(
            window,
            operation,
            ("ts", statement.fingerprint, *sorted(names)),
            severity="warning" if grave else "info",
            title=f"{statement.summary} {smells[0].what}",
            description=f"It {', and '.join(smell.what for smell in smells)}: {evidence}{where(operation.call_site)}.",
            suggestion="; ".join(smell.fix for smell in smells),
            effort="medium",
            impact=0.0,
            metric="rows" if many else "duration",
            current_value=float(rows) if many else operation.duration,
            threshold=float(self._rows) if many else self._counted,
        )
