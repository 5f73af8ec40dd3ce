"""Queries whose rows made the memory of the process grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.memory import Peak
from dbsight.detect.repetition import KEY_VALUE
from dbsight.detect.rule import WindowRule
from dbsight.formatting import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.config import Settings
    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation
    from dbsight.recording import OpenWindow

_MB: Final = 1e6
_VALUE: Final = 64
"""Bytes of one value, estimated: a Python object and its place in the row."""
_OBJECT: Final = 1000
"""Bytes of one object of an ORM, estimated, beside its values."""
_PART: Final = 0.1
"""Share of the growth that the estimate has to explain: values may be ten times as long."""


class MemorySpike(WindowRule):
    """The rows of one query made the memory of the process grow.

        [ GET /export ------------------------------- ]  210 MB → 690 MB
          [ SELECT order_lines ------------------- ]     400 000 rows

    Anti-pattern:
        lines = session.scalars(select(OrderLine)).all()

    Best practice:
        for line in session.scalars(select(OrderLine).execution_options(yield_per=1000)):
            write(line)

    Severity:
        error: By ten times ``memory_spike_threshold`` (``memory_spike_error_factor``).
        warning: By ``memory_spike_threshold`` (50 MB), in a request.
        info: The same in a script or a task.

    Not reported:
        Memory that the process had used before; results of fewer than 1 000 rows (``memory_spike_rows_threshold``);
        rows that are streamed; growth that the number of rows and columns does not explain; and suppressed queries.
        It is the growth of the peak of resident memory, or of what ``tracemalloc`` counts while it runs; estimated
        from the rows where neither is known.
    """

    name: ClassVar[str] = "memory_spike"
    category: ClassVar[Category] = "memory"
    settings: ClassVar[tuple[str, ...]] = (
        "memory_spike_threshold",
        "memory_spike_error_factor",
        "memory_spike_rows_threshold",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._peak = Peak()

    def ended(self, window: OpenWindow | Window) -> None:
        """Note by how much the peak grew: what the process uses when the window is judged is another request's."""
        window.grown = self._peak.growth()

    def concerns(self, shape: Shape) -> bool:
        """Queries whose many rows were in memory at once."""
        return (shape.rows or 0) >= self.configuration.memory_spike_rows_threshold and not shape.streamed

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look at the query with most rows, if the peak of memory grew since the window before."""
        grown = window.grown if window.grown is not None else self._peak.growth()
        fewest = self.configuration.memory_spike_rows_threshold
        large = [each for each in window.operations if (each.rows or 0) >= fewest and not each.streamed]
        if not large:
            return
        largest = max(large, key=_estimate)
        estimate = _estimate(largest)
        grown = grown or (0 if self._peak.counts else estimate)
        limit = self.configuration.memory_spike_threshold
        if grown < limit or estimate < _PART * grown:
            return
        statement = largest.statement
        if statement.catalogue or statement.system in KEY_VALUE or is_allowed(self.name, largest):
            return
        grave = grown >= self.configuration.memory_spike_error_factor * limit
        rows = count(largest.rows or 0)
        yield self.finding_in(
            window,
            largest,
            ("ms", statement.fingerprint, largest.call_site.function if largest.call_site is not None else ""),
            severity="error" if grave else "warning" if window.request else "info",
            title=f"{statement.summary} makes the memory of the process grow",
            description=f"With its {rows} rows the process used up to {grown / _MB:.0f} MB more than ever before"
            f" ({self._peak.source}){where(largest.call_site)}.",
            suggestion="statement.execution_options(yield_per=1000), .iterator(chunk_size=1000), a server-side cursor,"
            " or LIMIT",
            impact=0.0,
            metric="memory",
            current_value=float(grown),
            threshold=float(limit),
        )


def _estimate(operation: Operation) -> int:
    """Bytes that the rows of a query take, from their number and that of the columns that its text names."""
    head = operation.statement.text.partition(" FROM ")[0]
    row = _VALUE * (head.count(",") + 1)
    if operation.model is not None or operation.django is not None:
        row += _OBJECT
    return row * (operation.rows or 0)
