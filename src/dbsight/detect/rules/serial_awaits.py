"""Reads that are awaited one after the other although none needs the answer of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.grouping import is_allowed
from dbsight.detect.rule import WindowRule
from dbsight.formatting import counted, seconds
from dbsight.statement.parameters import hash_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dbsight.detect.shape import Shape
    from dbsight.detect.window import Window
    from dbsight.model import Category, Finding, Operation

_BETWEEN: Final = 0.25
"""Time between two of them, by their own, from which the application does something else in between."""
_SHOWN: Final = 5
_NO_VALUES: Final = hash_parameters(())
"""The hash of a query without parameters."""


class SerialAwaits(WindowRule):
    """Independent reads are awaited one after the other.

        [ GET /dashboard ----------------------------------------- ]
          [ SELECT orders ---- ][ SELECT reviews -- ][ SELECT stock ]    as long as all together
          [ SELECT orders ---- ]
          [ SELECT reviews -- ]                                          gathered: as long as the longest
          [ SELECT stock ]

    Anti-pattern:
        async def dashboard():
            return await open_orders(), await latest_reviews(), await low_stock()

    Best practice:
        async def dashboard():
            return await asyncio.gather(open_orders(), latest_reviews(), low_stock())  # each in a session of its own

    Severity:
        error: 1 s or more could be saved (``serial_awaits_error_threshold``), in a request.
        warning: 0.1 s or more, and a tenth of the request.
        info: The same in a script or a task.

    Not reported:
        Reads whose parameters were not known before the first of them was sent, as they may depend on its answer;
        reads of one query in a loop; transactions that write; synchronous drivers; reads with other work in between;
        and suppressed queries.
    """

    name: ClassVar[str] = "serial_awaits"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "serial_awaits_threshold",
        "serial_awaits_error_threshold",
        "serial_awaits_share_threshold",
    )

    def concerns(self, shape: Shape) -> bool:
        """What is awaited."""
        return shape.asynchronous

    def complete(self, window: Window) -> Iterable[Finding]:
        """Look for chains among the awaited reads; without any, this is one pass."""
        awaited = [each for each in window.operations if each.asynchronous]
        if len(awaited) < 2 or sum([each.duration for each in awaited]) < self.configuration.serial_awaits_threshold:
            return
        for chain in _chains(sorted(awaited, key=lambda each: each.start_ns)):
            independent = [each for each in _independent(chain) if not is_allowed(self.name, each)]
            if len({each.statement.fingerprint for each in independent}) < 2:
                continue  # one query in a loop is an N+1
            durations = [each.duration for each in independent]
            saved = sum(durations) - max(durations)
            if (
                saved >= self.configuration.serial_awaits_threshold
                and saved >= self.configuration.serial_awaits_share_threshold * window.duration
            ):
                yield self._finding(independent, saved, window)

    def _finding(self, chain: list[Operation], saved: float, window: Window) -> Finding:
        longest = max(chain, key=lambda each: each.duration)
        names = ", ".join(dict.fromkeys(each.statement.summary for each in chain[:_SHOWN]))
        sites = [each.call_site for each in chain if each.call_site is not None]
        lines = ", ".join(dict.fromkeys(map(str, sites[:_SHOWN])))
        grave = saved >= self.configuration.serial_awaits_error_threshold
        return self.finding_in(
            window,
            longest,
            ("sa", *sorted({each.statement.fingerprint for each in chain})),
            severity=("error" if grave else "warning") if window.request else "info",
            title="Independent queries are awaited one after the other",
            description=f"{counted(len(chain), 'query', 'queries')} ({names}) that do not need each other's answers"
            f" were awaited one after the other{lines and f', at {lines}'}; at once, they would save {seconds(saved)}.",
            suggestion="await asyncio.gather(…)  # each query in a session or on a connection of its own",
            effort="medium",
            impact=saved,
            count=len(chain),
            metric="duration",
            current_value=saved,
            threshold=self.configuration.serial_awaits_threshold,
        )


def _chains(operations: list[Operation]) -> Iterator[list[Operation]]:
    """Split operations where they overlap, where something is written, and where the application does other work."""
    chain: list[Operation] = []
    for operation in operations:
        statement = operation.statement
        if statement.ping or statement.setup or statement.kind == "transaction":
            continue  # BEGIN and ROLLBACK of each session
        reads = statement.kind == "select" and operation.error_type is None
        if chain:
            gap = (operation.start_ns - chain[-1].end_ns) / 1e9
            if not reads or gap < 0 or gap > _BETWEEN * (chain[-1].duration + operation.duration):
                yield chain
                chain = []
        if reads:
            chain.append(operation)
    yield chain


def _independent(chain: list[Operation]) -> list[Operation]:
    """Of a chain, the first and those that were known when it was sent: without parameters, or with the same ones."""
    if not chain:
        return []
    known = {chain[0].parameters, _NO_VALUES} - {None}
    return [chain[0], *(each for each in chain[1:] if each.parameters in known)]
