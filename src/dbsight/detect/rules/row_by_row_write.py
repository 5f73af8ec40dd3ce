"""Rows that are written one at a time instead of with one statement."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect import django_advice, exempt
from dbsight.detect.facts import facts_of
from dbsight.detect.grouping import is_allowed, parts, where
from dbsight.detect.identity import identity
from dbsight.detect.pace import saving
from dbsight.detect.repetition import Repetition
from dbsight.detect.rewriting import key_of
from dbsight.detect.rule import WindowRule
from dbsight.detect.severity import MANY, is_negligible, matters
from dbsight.detect.suppressions import Overrides
from dbsight.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.config import Settings
    from dbsight.detect.history import History
    from dbsight.detect.window import Window
    from dbsight.model import Category, Operation, Severity

_WRITES = frozenset({"insert", "update", "delete"})
_MAX_FINDINGS = 50


class RowByRowWrite(WindowRule):
    """Many rows are written with one statement per row, from one place in the code.

        [ POST /import ----------------------------------------------- ]
          [ INSERT customers ]  [ INSERT customers ]  …  × 200, one row each

    Anti-pattern:
        for number in range(200):
            session.add(Customer(name=f"customer {number}"))
            session.commit()

    Best practice:
        rows = [{"name": f"customer {number}"} for number in range(200)]
        session.execute(insert(Customer), rows)  # 500 at a time (write_batch_size)
        session.commit()

    Severity:
        error: 10 or more writes that take 100 ms, or 20 % of the unit of work.
        warning: ``row_by_row_write_threshold`` (5) or more writes.
        info: Writes over 1 s apart; or over 50 ms apart that take under 10 % of the time; or fewer than 20 of 25 ms.

    Not reported:
        ``executemany``, ``VALUES`` with many rows, a single ORM flush that the database or driver cannot batch, flushes
        of 50 rows or more, one row that is updated at intervals (a heartbeat), rows with a savepoint each, queue
        workers that process one job after another, background threads of libraries, the version table of a migration
        tool, failed writes, and suppressed queries.
    """

    name: ClassVar[str] = "row_by_row_write"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("row_by_row_write_threshold", "write_batch_size", "write_stream_threshold")
    of_repetition: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._threshold = settings.row_by_row_write_threshold
        self._overrides = Overrides(settings)
        self._lowest = min([self._threshold, *self._overrides.every("row_by_row_write_threshold")])

    def complete(self, window: Window) -> Iterable[Finding]:
        """Find the writes that were sent row by row, ordered by the time that a fix would save."""
        facts = facts_of(window)
        repeated = [group for group in facts.by_query.values() if len(group) >= self._lowest and _writes(group[0])]
        if not repeated:
            return ()
        history = facts.history
        judged: dict[str, list[Repetition]] = {}
        for group in repeated:
            single = [each for each in group if _one_row(each) and not is_allowed(self.name, each)]
            for part in parts(single, history.units()):
                if not _row_by_row(part, self._threshold_of(part[0], window)):
                    continue
                repetition = Repetition(part)
                if not _left_alone(repetition, window, history):
                    judged.setdefault(self._identity(repetition), []).append(repetition)
        findings = [self._finding(found, cases, window, history) for found, cases in judged.items()]
        return sorted(findings, key=lambda found: (-found.impact, found.id))[:_MAX_FINDINGS]

    def _threshold_of(self, operation: Operation, window: Window) -> int:
        name = "row_by_row_write_threshold"
        return int(self._overrides.value(name, operation.statement, window.name, self._threshold))

    def _identity(self, repetition: Repetition) -> str:
        site = repetition.call_site
        place = (site.file, site.function) if site is not None else ()
        return identity("rw", self.name, repetition.statement.fingerprint, *place)

    def _finding(self, found: str, cases: Sequence[Repetition], window: Window, history: History) -> Finding:
        main = max(cases, key=lambda each: (len(each), each.duration))
        statement = main.statement
        threshold = self._threshold_of(main.operations[0], window)
        count = sum(map(len, cases))
        duration = fsum(each.duration for each in cases)
        flushes = len({each.flush for case in cases for each in case.operations if each.flush})
        description = f"{count} rows were written by {statement.summary}, one row per statement{where(main.call_site)}."
        if flushes:
            description += f" They belong to {flushes} flushes of the session."
        if any(each.autoflush for each in main.operations):
            description += " A read triggered the flushes: collect the objects, or read inside session.no_autoflush."
        return Finding(
            rule=self.name,
            id=found,
            severity=_severity(cases, count, duration, window.duration, threshold),
            category=self.category,
            title=f"{statement.summary} writes one row at a time",
            description=description,
            suggestion=self._suggestion(main.operations[0], count),
            impact=fsum(saving(case.operations, history) for case in cases),
            effort="low",
            count=count,
            metric="count",
            current_value=float(count),
            threshold=float(threshold),
            statement=statement,
            database=main.database,
            call_site=main.call_site,
            trace=f"{window.trace_id:032x}",
            route=window.name,
            details={"duration": duration, "flushes": flushes},
        )

    def _suggestion(self, operation: Operation, count: int) -> str:
        suggestion = _suggestion(operation, self.configuration.write_batch_size)
        if count < self.configuration.write_stream_threshold or operation.statement.kind == "delete":
            return suggestion
        comment = ", from a generator; batches may run in parallel, each on a connection of its own"
        return suggestion + (comment if "  # " in suggestion else f"  # {comment[2:]}")


def _row_by_row(operations: Sequence[Operation], threshold: int) -> bool:
    """Return whether the application wrote each row separately.

    One flush is one request to write. If the database cannot batch, the ORM sends it row by row,
    which the application cannot change; many flushes of few rows each can be combined.
    """
    flushes = {each.flush for each in operations if each.flush}
    asked = len(flushes) + sum(not each.flush for each in operations)
    return asked >= threshold and len(operations) < exempt.BULK * asked


def _severity(cases: Sequence[Repetition], count: int, total: float, window: float, threshold: int) -> Severity:
    if all(case.slow_paced or case.between_other_work for case in cases):
        return "info"
    if is_negligible(count, total, window):
        return "info"
    return "error" if count >= max(MANY, threshold) and matters(total, window) else "warning"


def _writes(operation: Operation) -> bool:
    """Return whether it writes a table; redis_chatter handles key-value stores."""
    statement = operation.statement
    return statement.kind in _WRITES and bool(statement.written) and not statement.operation


def _one_row(operation: Operation) -> bool:
    """Return whether it wrote one row, as far as is known; failed statements and those without a match count, too."""
    rows = max(operation.batch_size, operation.affected or 0, operation.rows or 0)
    return operation.error_type is None and rows <= 1


def _left_alone(repetition: Repetition, window: Window, history: History) -> bool:
    """Return whether it is exempt: a heartbeat, rows with a savepoint each, or work of a library."""
    return (
        exempt.heartbeat(repetition, window)
        or exempt.own_table_of_migrations(repetition)
        or exempt.in_savepoints(repetition, history)
        or exempt.housekeeping(repetition, window)
    )


def _suggestion(operation: Operation, size: int) -> str:
    """Suggest one statement for all rows, with the application's names where known."""
    statement = operation.statement
    if operation.foreign:
        return f"cursor.executemany(statement, rows)  # {size} rows at a time"
    if operation.django is not None:
        return django_advice.of_write(operation, operation.django, size)
    table = operation.entity or statement.written[0].rpartition(".")[2].strip('"`[]')
    columns = table if operation.entity else f"{table}.c"
    key = key_of(statement.text) or "id"
    if statement.kind == "delete":
        return f"session.execute(delete({table}).where({columns}.{key}.in_(keys)))"
    if statement.kind == "update" and operation.entity:
        # SQLAlchemy 1.4 treats update(Model) with a list as a statement without WHERE; this form works in all versions.
        return f"session.bulk_update_mappings({table}, rows)  # dictionaries with the primary key, {size} at a time"
    if statement.kind == "update":
        named = f'update({table}).where({columns}.{key} == bindparam("key"))'
        return f"session.execute({named}, rows)  # dictionaries with key and the new values, {size} at a time"
    return f"session.execute(insert({table}), rows)  # a list of dictionaries, {size} at a time"
