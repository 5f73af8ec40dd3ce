"""A query that fails and is tried again at once, over and over."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.errors import error_class
from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.median import median
from dbsight.detect.rule import WindowRule
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation

_GROWS: Final = 3.0
"""The last pause by the first from which the pauses grow: backoff."""
_THIRDS: Final = 3
"""The first and the last third of the pauses are compared: backoff has a random part in each of them."""
_RESTS: Final = 0.01
"""s; shorter pauses are those between two statements, however they grow."""
_SHORTEST: Final = 0.001
"""s; the first pause is taken for at least as long, or a retry at once would make any other backoff."""
_BACKOFF: Final = "time.sleep(min(5, 0.05 * 2**attempt) * random.uniform(0.5, 1.5))  # and give up after 5"
_NO_RETRY: Final = "do not retry: this error does not pass by itself; check first, or INSERT … ON CONFLICT"


class RetryStorm(WindowRule):
    """A failing query is tried again at once, many times, without backoff.

        [ POST /register -------------------------------- ]
          [ INSERT ]✘[ INSERT ]✘[ INSERT ]✘[ INSERT ]✘ …       no pause between attempts

    Anti-pattern:
        while True:
            try:
                return work(session)
            except OperationalError:
                session.rollback()

    Best practice:
        for attempt in range(5):
            try:
                return work(session)
            except OperationalError:
                session.rollback()
                time.sleep(0.05 * 2**attempt * random.uniform(0.5, 1.5))

    Severity:
        error: 20 or more failed attempts (``retry_storm_error_threshold``).
        warning: 5 or more failed attempts with the same parameters, without growing pauses.

    Not reported:
        Failures with different parameters (rows that are there already), pauses of 1 s or more, pauses that grow, and
        suppressed queries.
    """

    name: ClassVar[str] = "retry_storm"
    category: ClassVar[Category] = "workload"
    settings: ClassVar[tuple[str, ...]] = (
        "retry_storm_threshold",
        "retry_storm_error_threshold",
        "retry_storm_pause_threshold",
    )

    def concerns(self, shape: Shape) -> bool:
        """Failures."""
        return shape.error_type is not None

    def complete(self, window: Window) -> Iterable[Finding]:
        """Group the failures of the window by query, database and parameters."""
        failed = [each for each in window.operations if each.error_type is not None]
        if len(failed) < self.configuration.retry_storm_threshold:
            return
        groups: dict[tuple[object, ...], list[Operation]] = {}
        for operation in failed:
            parameters = operation.parameters
            if parameters is not None and not operation.cursor and not is_allowed(self.name, operation):
                statement = operation.statement
                key = (statement.fingerprint, operation.database.key, parameters, statement.literals, operation.thread)
                groups.setdefault(key, []).append(operation)
        for operations in groups.values():
            operations.sort(key=lambda each: each.start_ns)
            pauses = [(later.start_ns - earlier.end_ns) / 1e9 for earlier, later in pairwise(operations)]
            if len(operations) >= self.configuration.retry_storm_threshold and not _backs_off(
                pauses, self.configuration.retry_storm_pause_threshold
            ):
                yield self._finding(operations, pauses, window)

    def _finding(self, operations: list[Operation], pauses: list[float], window: Window) -> Finding:
        last = operations[-1]
        passes = error_class(last)
        name = (last.error_type or "").rpartition(".")[2]
        return self.finding_in(
            window,
            last,
            ("rt", last.statement.fingerprint, last.call_site.function if last.call_site is not None else ""),
            severity="error" if len(operations) >= self.configuration.retry_storm_error_threshold else "warning",
            title=f"{last.statement.summary} fails and is retried without backoff",
            description=f"{counted(len(operations), 'attempt')} with the same parameters failed with {name}, "
            f"{seconds(max(0.0, median(pauses)))} apart{where(last.call_site)}.",
            suggestion=_BACKOFF if passes is not None else _NO_RETRY,
            impact=sum(operation.duration for operation in operations[1:]),
            count=len(operations),
            metric="count",
            current_value=float(len(operations)),
            threshold=float(self.configuration.retry_storm_threshold),
        )


def _backs_off(pauses: Sequence[float], long: float) -> bool:
    """Whether somebody waits between attempts, long enough or longer and longer."""
    if median(pauses) >= long:
        return True
    third = max(1, len(pauses) // _THIRDS)
    first, last = median(pauses[:third]), median(pauses[-third:])
    return last >= _RESTS and last >= _GROWS * max(first, _SHORTEST)
