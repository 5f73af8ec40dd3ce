"""Queries that exceed the limit for their database system."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.repetition import KEY_VALUE
from dbsight.detect.rule import WindowRule
from dbsight.detect.slow_thresholds import SlowThresholds
from dbsight.detect.text_smells import smells_of
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.model import Blocker, Category, Finding, Operation, Severity
    from dbsight.recording import OpenWindow


_CONNECT_TOLD: Final = 0.001
"""s; to connect to a file takes less."""


_MANY_ROWS: Final = 1000
"""Rows from which fetching them is the fault, where it takes longer than to execute: the size of a suggested chunk."""


class SlowQuery(WindowRule):
    """A query takes longer than the limit for its database system.

        [ GET /report ------------------------------------------------ ]
          [ SELECT order_lines ------------------------------------- ]  over 1 s
            wait · connect · execute · fetch

    Anti-pattern:
        session.scalars(select(Order).where(Order.note.contains("late"))).all()

    Best practice:
        session.scalars(select(Order).where(Order.status == "late")).all()  # an indexed column

    Severity:
        error: ``very_slow_query_threshold`` (5 s) or longer.
        warning: ``slow_query_threshold`` (1 s) or longer. Redis, object stores and search engines have their own
        limits.

    Not reported:
        Statements that wait by design (``LISTEN``, ``COPY``, ``pg_sleep``, ``BLPOP``), pings, connection setup, and
        suppressed queries.
    """

    name: ClassVar[str] = "slow_query"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = (
        "slow_query_threshold",
        "very_slow_query_threshold",
        "slow_query_thresholds",
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._limits = SlowThresholds(settings)
        self._lowest = self._limits.lowest

    def visit(self, operation: Operation, window: OpenWindow | None) -> Finding | None:
        """Compare the duration with the limit; for a normal query this is the whole cost.

        Returns:
            The finding for the query's own span: how long it waited for its connection, executed and fetched.
        """
        if operation.duration < self._lowest:
            return None
        query_class, limit = self._limits.classify(operation, window.name if window is not None else "")
        if query_class is None or limit is None:
            return None
        allowed = operation.allowed | operation.statement.allowed
        if self.name in allowed or "all" in allowed:
            return None
        return self._finding(operation, window, "error" if query_class == "very_slow" else "warning", limit)

    def _finding(self, operation: Operation, window: OpenWindow | None, severity: Severity, limit: float) -> Finding:
        statement = operation.statement
        fetch = operation.fetch_time
        execute = max(0.0, operation.duration - fetch)
        slow, _ = self._limits.over(operation, window.name if window is not None else "")
        adverb = "very slow" if severity == "error" else "slow"
        return self.finding(
            ("sq", statement.fingerprint),
            severity=severity,
            title=f"{statement.summary} is {adverb}",
            description=_description(operation, execute, limit),
            suggestion=self._suggestion(operation, execute, fetch),
            impact=operation.duration - slow,
            effort="medium",
            metric="duration",
            current_value=operation.duration,
            threshold=limit,
            statement=statement,
            database=operation.database,
            call_site=operation.call_site,
            relationship=operation.relationship,
            trace=f"{operation.context.trace_id:032x}" if operation.context is not None else "",
            route=window.name if window is not None else "",
            details={
                "wait": operation.pool_wait,
                "connect": operation.connect_time,
                "execute": execute,
                "fetch": fetch,
                "lock": operation.blocker.waited if operation.blocker is not None else 0.0,
                "rows": operation.rows,
                "facts": _facts(operation),
            },
        )

    def _suggestion(self, operation: Operation, execute: float, fetch: float) -> str:
        """Suggest code if the split of the time or the text shows the cause; otherwise a query plan is needed."""
        if fetch > execute and (operation.rows or 0) > _MANY_ROWS:
            return _fewer_rows(operation)
        if operation.statement.system in KEY_VALUE:
            return ""
        return "; ".join(smell.fix for smell in smells_of(operation.statement, self.configuration.in_list_threshold))


def _fewer_rows(operation: Operation) -> str:
    """Suggest to fetch less at once, with the words of the client library; what is streamed is so already."""
    limit, streams, columns = ".limit(1000)", ".execution_options(yield_per=1000)", "only the columns that are used"
    django = operation.django
    if django is not None and not django.raw:
        limit, streams, columns = "queryset[:1000]", ".iterator(chunk_size=1000)", ".only(…) the fields that are used"
    return f"{limit}, or {columns}" if operation.streamed else f"{limit}, or {streams} and {columns}"


def _description(operation: Operation, execute: float, limit: float) -> str:
    connected = f", connected {seconds(operation.connect_time)}" if operation.connect_time >= _CONNECT_TOLD else ""
    text = (
        f"Waited {seconds(operation.pool_wait)}{connected}, executed {seconds(execute)},"
        f" fetched {seconds(operation.fetch_time)} (limit {seconds(limit, exact=True)})"
    )
    facts = _facts(operation)
    return f"{text}; {facts}." if facts else f"{text}."


def _facts(operation: Operation) -> str:
    """What else is known of it: its rows, and its error."""
    facts = []
    if operation.rows is not None:
        facts.append(f"{counted(operation.rows, 'row')} returned")
    elif operation.affected is not None:
        facts.append(f"{counted(operation.affected, 'row')} written")
    if operation.error_type is not None:
        facts.append(f"failed with {operation.error_type}")
    if operation.blocker is not None:
        facts.append(_blocked(operation.blocker))
    return "; ".join(facts)


def _blocked(blocker: Blocker) -> str:
    """By whom, what that session does, and where to look for it."""
    application = f" ({blocker.application})" if blocker.application else ""
    text = f"waited {seconds(blocker.waited)} for a lock of session {blocker.session}{application}"
    if blocker.state:
        text += f", {blocker.state}"
    if blocker.open_for is not None:
        text += f", in a transaction of {seconds(blocker.open_for)}"
    if blocker.summary:
        text += f", latest statement {blocker.summary}"
    return f"{text}, trace {blocker.trace}" if blocker.trace else text
