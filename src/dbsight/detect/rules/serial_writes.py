"""Writes that are sent one after the other although the driver could send them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed, where
from dbsight.detect.rule import WindowRule
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation

_WRITES: Final = frozenset(("insert", "update", "delete"))
_SYSTEMS: Final = frozenset(("postgresql", "cockroachdb"))
"""Whose drivers can send a statement before the answer to the one before is there."""
_SHAPES: Final = 3
"""Different statements; what repeats one statement is ``row_by_row_write``'s."""
_SHOWN: Final = 5
_ROUND_TRIPS: Final = 3
"""Round trips that remain: psycopg's pipeline takes about as many to begin, to prepare and to end, as measured."""


class SerialWrites(WindowRule):
    """Independent writes wait for each other's answers, where the driver could send them at once.

        [ POST /order --------------------------------------------- ]
          [ INSERT orders ][ UPDATE stock ][ INSERT log ][ UPDATE … ]   a round trip each
          [ INSERT orders · UPDATE stock · INSERT log · UPDATE … ]      in a pipeline: one

    Anti-pattern:
        def place(connection, order):
            connection.execute("INSERT INTO orders VALUES (%s, %s)", order)
            connection.execute("UPDATE stock SET pieces = pieces - 1 WHERE id = %s", order[:1])
            connection.execute("INSERT INTO log (line) VALUES (%s)", order[1:])

    Best practice:
        def place(connection, order):
            with connection.pipeline():  # psycopg 3
                connection.execute("INSERT INTO orders VALUES (%s, %s)", order)
                connection.execute("UPDATE stock SET pieces = pieces - 1 WHERE id = %s", order[:1])
                connection.execute("INSERT INTO log (line) VALUES (%s)", order[1:])

    Severity:
        warning: 1 s or more could be saved (``serial_writes_warning_threshold``), in a request.
        info: ``serial_writes_threshold`` (5) writes of three or more kinds, one directly after the other, of which
        10 ms (``serial_writes_time_threshold``) and a tenth of the unit of work could be saved.

    Not reported:
        Databases whose drivers have no pipeline; writes whose result is read (``RETURNING``), or with a read in
        between; what an ORM's flush sends, whose order is its own; many rows of one statement (``row_by_row_write``);
        commands of Redis (``redis_chatter``); failed writes; and suppressed queries.
    """

    name: ClassVar[str] = "serial_writes"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "serial_writes_threshold",
        "serial_writes_time_threshold",
        "serial_writes_warning_threshold",
        "serial_writes_share_threshold",
    )

    def concerns(self, shape: Shape) -> bool:
        """Writes that could have been sent with others."""
        return shape.kind in _WRITES and shape.system in _SYSTEMS

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look for chains of writes; without enough of them, this is one pass."""
        few = self.configuration.serial_writes_threshold
        if sum([each.statement.kind in _WRITES for each in window.operations]) < few:
            return
        by_thread: dict[tuple[str, int], list[Operation]] = {}
        for each in sorted(window.operations, key=lambda each: each.start_ns):
            if each.database.system in _SYSTEMS:
                by_thread.setdefault((each.database.key, each.thread), []).append(each)
        longest: list[Operation] = []
        for operations in by_thread.values():
            for chain in _chains(operations):
                if len(chain) >= few and len(chain) > len(longest) and not is_allowed(self.name, chain[0]):
                    longest = chain
        if len({each.statement.fingerprint for each in longest}) < _SHAPES:
            return
        saved = _saved(longest)
        if (
            saved >= self.configuration.serial_writes_time_threshold
            and saved >= self.configuration.serial_writes_share_threshold * window.duration
        ):
            yield self._finding(longest, saved, window)

    def _finding(self, chain: list[Operation], saved: float, window: Window) -> Finding:
        names = ", ".join(dict.fromkeys(each.statement.summary for each in chain[:_SHOWN]))
        grave = saved >= self.configuration.serial_writes_warning_threshold
        return self.finding_in(
            window,
            chain[0],
            ("sw", *sorted({each.statement.fingerprint for each in chain})),
            severity="warning" if grave and window.request else "info",
            title="Writes wait for each other's answers",
            description=f"{counted(len(chain), 'write')} ({names}) were sent one after the other"
            f"{where(chain[0].call_site)}; in a pipeline they would save about {seconds(saved)}.",
            suggestion=_suggestion(chain[0]),
            effort="medium",
            impact=saved,
            count=len(chain),
            metric="count",
            current_value=float(len(chain)),
            threshold=float(self.configuration.serial_writes_threshold),
        )


def _chains(operations: list[Operation]) -> Iterator[list[Operation]]:
    """Writes with nothing in between but statements about the transaction's savepoints and set-up."""
    chain: list[Operation] = []
    for each in operations:
        writes = each.statement.kind in _WRITES and each.error_type is None and not each.flush
        if writes and not each.rows and each.batch_size <= 1:
            if chain and each.start_ns < chain[-1].end_ns:  # at the same time, in another task
                yield chain
                chain = []
            chain.append(each)
        elif not each.statement.setup:
            yield chain
            chain = []
    yield chain


def _saved(chain: list[Operation]) -> float:
    """The round trips of all but those that remain, s: none takes longer than the shortest write."""
    return max(0, len(chain) - _ROUND_TRIPS) * min(each.duration for each in chain)


def _suggestion(operation: Operation) -> str:
    if operation.django is not None:
        return "# one statement with several CTEs: WITH a AS (INSERT …), b AS (UPDATE …) INSERT …"
    if operation.asynchronous:
        return (
            "async with connection.pipeline():  # psycopg 3; with asyncpg, executemany() per statement or one statement"
            " with several CTEs"
        )
    return "with connection.pipeline():  # psycopg 3, around the writes; else one statement with several CTEs"
