"""Queries that are repeated although their result cannot have changed."""

from __future__ import annotations

import re
from functools import lru_cache
from math import fsum
from operator import attrgetter
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect import exempt
from dbsight.detect.facts import facts_of
from dbsight.detect.grouping import is_allowed, parts, where
from dbsight.detect.identity import identity
from dbsight.detect.median import median
from dbsight.detect.pace import saving
from dbsight.detect.repetition import MAX_TEXTS, Repetition, binds_values
from dbsight.detect.rule import WindowRule
from dbsight.detect.severity import MATTERS, SEVERAL
from dbsight.model import Finding, TransactionEvent
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbsight.detect.history import History
    from dbsight.detect.window import Window
    from dbsight.model import Category, Operation, Severity

_CHANGES = pattern(
    r"\b(?:FOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY\s+SHARE)|LOCK\s+IN\s+SHARE\s+MODE"
    r"|(?:random|rand|newid|uuid|uuid_generate_v4|gen_random_uuid|nextval|now|clock_timestamp|sysdate|getdate)\s*\("
    r"|CURRENT_(?:TIMESTAMP|TIME|DATE)|LOCALTIME(?:STAMP)?|get_lock|pg_(?:try_)?advisory_\w+)",
    re.IGNORECASE,
)
"""Functions that return a different result each time, or are called for their effect."""

_READ_AGAIN = frozenset({"eager", "expired", "generated", "refreshed"})
"""ORM loads that follow another operation: a repeated query, a commit, a write."""

_MAX_FINDINGS = 50


class RedundantQuery(WindowRule):
    """The same query runs again with the same parameters, although nothing was written in between.

        [ GET /cart -------------------------------------------------- ]
          [ SELECT tags ]  [ SELECT tags ]  [ SELECT tags ]  …  × 38, the same row each time

    Anti-pattern:
        for order in session.scalars(select(Order)):
            str(session.scalars(select(Tag.name).where(Tag.id == 1)).one() + order.note)

    Best practice:
        name = session.scalars(select(Tag.name).where(Tag.id == 1)).one()
        for order in session.scalars(select(Order)):
            str(name + order.note)

    Severity:
        warning: ``redundant_query_warning_threshold`` (5) or more executions; or 3 or more, if all but the first take
        100 ms in total.
        info: ``redundant_query_threshold`` (3) or more executions.

    Not reported:
        Queries with unknown parameters or with different parameters each time (an N+1), polling at a steady interval or
        at most once per second, queries that lock rows or return the time or a random number, refreshes by an ORM after
        a commit, reads after an error or after a write to one of the tables, queue workers that process one job after
        another, background threads of libraries, fetches from one cursor, queries on system catalogs and on the version
        table of a migration tool, pings, connection setup, and suppressed queries.
    """

    name: ClassVar[str] = "redundant_query"
    category: ClassVar[Category] = "query"
    settings: ClassVar[tuple[str, ...]] = ("redundant_query_threshold", "redundant_query_warning_threshold")
    of_repetition: ClassVar[bool] = True

    def complete(self, window: Window) -> Iterable[Finding]:
        """Find the queries that were repeated, ordered by the time that a fix would save."""
        facts = facts_of(window)
        few = self.configuration.redundant_query_threshold
        repeated = [group for group in facts.by_query.values() if _asks_again(group, few) and _reads(group[0])]
        if not repeated:
            return ()
        history = facts.history
        failures = sorted(
            event.at_ns for event in window.events if isinstance(event, TransactionEvent) and event.failed
        )
        judged: dict[str, list[Repetition]] = {}
        for group in repeated:
            for same in self._same(group, history):
                barriers = _barriers(same[0], facts.operations, failures)
                for run in _runs(same, barriers):
                    repetition = Repetition(run)
                    if not _waits(repetition, window) and not exempt.of_a_library(repetition, window):
                        judged.setdefault(self._identity(repetition), []).append(repetition)
        findings = [
            found for found in (self._judge(*case, window, history) for case in judged.items()) if found is not None
        ]
        return sorted(findings, key=lambda found: (-found.impact, found.id))[:_MAX_FINDINGS]

    def _same(self, group: Sequence[Operation], history: History) -> Iterator[list[Operation]]:
        """Yield executions of one query with the same parameters, on one database, in one unit of work.

        Call sites with different parameters are excluded: their repetition may be an N+1.
        """
        known = [each for each in group if _is_known(each) and not is_allowed(self.name, each)]
        units = history.units()
        same: dict[object, list[Operation]] = {}
        for part in parts(known, units):
            asked = {(each.parameters, each.statement.literals) for each in part}
            if len(asked) >= SEVERAL or (len(asked) == len(part) > 1):
                continue
            for each in part:
                key = (each.database.key, units.get(id(each)), each.parameters, each.statement.literals)
                same.setdefault(key, []).append(each)
        for executions in same.values():
            if len(executions) > 1:
                executions.sort(key=attrgetter("start_ns"))
                yield executions

    def _identity(self, repetition: Repetition) -> str:
        """Only the query identifies the finding: the order of its call sites may change between runs."""
        return identity("rq", self.name, repetition.statement.fingerprint)

    def _severity(self, count: int, again: float) -> Severity | None:
        few = self.configuration.redundant_query_threshold
        if count >= self.configuration.redundant_query_warning_threshold or (count >= few and again >= MATTERS):
            return "warning"
        return "info" if count >= few else None

    def _judge(self, found: str, cases: Sequence[Repetition], window: Window, history: History) -> Finding | None:
        count = sum(map(len, cases))
        again = fsum(each.duration for case in cases for each in case.operations[1:])
        severity = self._severity(count, again)
        if severity is None:
            return None
        main = max(cases, key=lambda each: (len(each), each.duration))
        statement = main.statement
        sites = {str(each.call_site) for case in cases for each in case.operations if each.call_site is not None}
        description = (
            f"{statement.summary} ran {count} times with the same parameters, although nothing was written to its"
            f" tables in between{where(main.call_site)}."
        )
        if len(sites) > 1:
            description += f" {len(sites)} lines run it."
        return Finding(
            rule=self.name,
            id=found,
            severity=severity,
            category=self.category,
            title=f"{statement.summary} is repeated with the same parameters",
            description=description,
            suggestion=_suggestion(main, len(sites)),
            impact=fsum(saving(case.operations, history, again=False) for case in cases),
            effort="low",
            count=count,
            metric="count",
            current_value=float(count),
            threshold=float(self.configuration.redundant_query_warning_threshold),
            statement=statement,
            database=main.database,
            call_site=main.call_site,
            relationship=main.relationship,
            trace=f"{window.trace_id:032x}",
            route=window.name,
            details={"duration": fsum(case.duration for case in cases), "places": len(sites), "answers": len(cases)},
        )


def _asks_again(group: Sequence[Operation], few: int) -> bool:
    """Return whether it ran so often, and not with different parameters each time, as most loops do."""
    return len(group) >= few and len({each.parameters for each in group}) < len(group)


def _reads(operation: Operation) -> bool:
    """Return whether the result stays the same until the next write: the statement only reads tables."""
    statement = operation.statement
    # redis_chatter handles key-value stores; their statements have an operation name, SQL has none.
    if (
        statement.operation
        or statement.kind != "select"
        or statement.written
        or not statement.targets
        or statement.truncated
    ):
        return False
    if statement.ping or statement.setup or statement.catalogue or statement.blocking:
        return False
    return not _changes(statement.text)


@lru_cache(maxsize=MAX_TEXTS)
def _changes(text: str) -> bool:
    return _CHANGES.search(text) is not None


def _is_known(operation: Operation) -> bool:
    """Return whether it succeeded, is no follow-up load of an ORM, and has known parameters."""
    if operation.error_type is not None or operation.load in _READ_AGAIN:
        return False
    return operation.parameters is not None or not binds_values(operation.statement.text)


def _barriers(operation: Operation, operations: Iterable[Operation], failures: Sequence[int]) -> list[int]:
    """When the result may have changed, ns since the epoch: a write to one of the tables, even a failed one; a
    statement whose written tables are unknown; the end of a failed transaction.
    """  # noqa: D205 - one sentence
    tables = set(operation.statement.targets)
    key = operation.database.key
    found = [*failures]
    for each in operations:
        statement = each.statement
        if statement.kind == "select" and not statement.written:
            continue
        if each.database.key != key or statement.setup or statement.ping or statement.kind == "transaction":
            continue
        if not statement.written or statement.truncated or not tables.isdisjoint(statement.written):
            found.append(each.start_ns)
    found.sort()
    return found


def _runs(executions: Sequence[Operation], barriers: Sequence[int]) -> Iterator[list[Operation]]:
    """Yield the groups of several executions between two barriers."""
    run: list[Operation] = []
    position = 0
    for each in executions:
        passed = False
        while position < len(barriers) and barriers[position] <= each.start_ns:
            position += 1
            passed = True
        if passed and run:
            if len(run) > 1:
                yield run
            run = []
        run.append(each)
    if len(run) > 1:
        yield run


def _waits(repetition: Repetition, window: Window) -> bool:
    """Return whether it polls: at a steady interval, or at most once per second."""
    return median(repetition.gaps()) > 1.0 or exempt.steady(repetition, window)


def _suggestion(repetition: Repetition, places: int) -> str:
    """Suggest keeping or caching the result, with the application's names."""
    table = repetition.statement.targets[0].rpartition(".")[2].strip('"`[]')
    site = repetition.call_site
    function = site.function.rpartition(".")[2] if site is not None else "<"
    if places > 1 or function.startswith("<"):
        return f"{table} = …  # query once per request and pass it on, or cache it"
    return f"{table} = …  # query once in {function}, or cache it"
