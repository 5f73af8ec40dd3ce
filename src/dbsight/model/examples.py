"""Single requests, kept to show: the queries of one window in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.model.query import CallSite, Statement


class Step(NamedTuple):
    """One query of a window.

    Attributes:
        start: s after the window began.
        duration: s; execution and fetches.
        end: s after the window began, when its last row was fetched.
        statement: What ran.
        wait: s that it waited for a pooled connection, before ``start``.
        connect: s that making a connection took, before ``start``.
        fetch: s of ``duration`` that fetches took.
        rows: Rows returned; None if unknown.
        error: ``error.type``, empty if it succeeded.
        call_site: Line of the application.
    """

    start: float
    duration: float
    end: float
    statement: Statement
    wait: float = 0.0
    connect: float = 0.0
    fetch: float = 0.0
    rows: int | None = None
    error: str = ""
    call_site: CallSite | None = None


@record()
class WindowExample:
    """The slowest window of one route.

    Attributes:
        route: As in ``WindowSummary``.
        trace: 32 hexadecimal digits.
        start_ns: When it began, ns since the epoch.
        duration: s.
        request: Whether its root is a SERVER or CONSUMER span.
        calls: All its operations; ``steps`` may have fewer.
        db_time: s; the sum of the durations of all operations.
        findings: Ids of its findings.
        steps: The first operations, in the order of their starts.
    """

    route: str
    trace: str
    start_ns: int
    duration: float
    request: bool
    calls: int
    db_time: float
    findings: tuple[str, ...] = ()
    steps: Sequence[Step] = ()
