"""The operations of a window in order of time, the context in which rules evaluate a repetition."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

from dbsight.detect.repetition import MAX_TEXTS, PLACEHOLDER
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbsight.model import Operation

_RANGE = pattern(
    rf"(?<![<>=@-])[<>]=?\s*(?:{PLACEHOLDER}|\()|{PLACEHOLDER}\s*[<>]=?(?![<>@-])|\bBETWEEN\b",
    re.IGNORECASE,
)
"""A comparison whose bound value may move: ``id > ?``, ``run_at <= ?``, ``(a, b) > (?, ?)``, ``BETWEEN ? AND ?``."""

_LIMIT = pattern(r"\bLIMIT\b|\bFETCH\s+FIRST\b|\bTOP\b", re.IGNORECASE)
_SKIP_LOCKED = pattern(r"\bSKIP\s+LOCKED\b|\bREADPAST\b", re.IGNORECASE)

_SWITCH = pattern(
    r"SET\s+(?:LOCAL\s+|SESSION\s+)?(?:search_path|SCHEMA)\b|USE\s|ALTER\s+SESSION\s+SET\s+CURRENT_SCHEMA\b"
    r"|SELECT\s+(?:pg_catalog\.)?set_config\b",
    re.IGNORECASE,
)
"""Statements after which the same text may refer to another table."""

MIGRATION_TABLES = frozenset(
    {
        "alembic_version",
        "django_migrations",
        "flyway_schema_history",
        "databasechangelog",
        "goose_db_version",
        "schema_migrations",
        "schema_version",
        "yoyo_migrations",
        "_yoyo_migration",
        "aerich",
    }
)
"""Version tables of migration tools."""

_MAX_LOOK_BACK = 200


@lru_cache(maxsize=MAX_TEXTS)
def moves_a_bound(text: str) -> bool:
    """Return whether a sanitised text compares something with a value by ``<`` or ``>``."""
    return _RANGE.search(text) is not None


@lru_cache(maxsize=MAX_TEXTS)
def _skips_and_limits(text: str) -> tuple[bool, bool]:
    """Return whether a sanitised text skips locked rows, and whether it limits the number of rows."""
    return _SKIP_LOCKED.search(text) is not None, _LIMIT.search(text) is not None


class History:
    """The operations of a window by start, and what follows from their order.

    Created once per window with repetitions, and discarded with it.

    Args:
        operations: All operations that the window holds, by start.
        groups: The same by fingerprint.
    """

    def __init__(self, operations: Sequence[Operation], groups: Mapping[str, Sequence[Operation]]) -> None:
        self.groups = groups
        self.operations = operations
        self._starts: list[int] = []
        self._units: dict[int, tuple[object, ...]] | None = None
        self._pauses: dict[int, int] | None = None

    def writes(self, repetition_tables: Sequence[str], database: str, kinds: frozenset[str]) -> list[Operation]:
        """Return the successful writes to these tables, by start."""
        found: list[Operation] = []
        for group in self.groups.values():
            statement = group[0].statement
            if statement.kind in kinds and not set(statement.written).isdisjoint(repetition_tables):
                found += [each for each in group if each.error_type is None and each.database.key == database]
        found.sort(key=attrgetter("start_ns"))
        return found

    def before(self, operation: Operation) -> Iterator[Operation]:
        """Yield earlier operations of the same thread, the latest first, up to a limit."""
        if not self._starts:
            self._starts = [each.start_ns for each in self.operations]
        end = bisect_left(self._starts, operation.start_ns)
        for position in range(end - 1, max(end - 1 - _MAX_LOOK_BACK, -1), -1):
            earlier = self.operations[position]
            if earlier.thread == operation.thread:
                yield earlier

    def pauses(self) -> dict[int, int]:
        """Map each operation, by identity, to the pauses before and after it on its thread together, ns.

        A pause is the time in which no query runs there: between two queries, it is counted for both.
        """
        if self._pauses is None:
            pauses: dict[int, int] = {}
            latest: dict[int, Operation] = {}
            for operation in self.operations:
                thread, pause = operation.thread, 0
                before = latest.get(thread)
                if before is not None:
                    pause = operation.start_ns - before.end_ns
                    if pause > 0:
                        pauses[id(before)] += pause
                    else:
                        pause = 0
                pauses[id(operation)] = pause
                if before is None or before.end_ns < operation.end_ns:
                    latest[thread] = operation
            self._pauses = pauses
        return self._pauses

    # -- Units of work ------------------------------------------------------------------------------------------

    def units(self) -> dict[int, tuple[object, ...]]:
        """Map each operation, by identity, to its unit of work; empty if the window is one unit.

        A queue worker that runs outside spans processes one job after another in one window. Its queries for different
        jobs are not a repetition: each claim of a job begins a new unit on its thread. Neither are those run in one
        schema after another, by ``SET search_path`` or ``USE``: these count as separate databases.
        """
        if self._units is None:
            claims = {name for name, group in self.groups.items() if self._claims(group)}
            switches = {name for name, group in self.groups.items() if _switches(group[0])}
            units: dict[int, tuple[object, ...]] = {}
            if claims or switches:
                claimed: dict[int, int] = {}
                schemas: dict[int, tuple[object, ...]] = {}
                for operation in self.operations:
                    statement, thread = operation.statement, operation.thread
                    if statement.fingerprint in claims:
                        claimed[thread] = claimed.get(thread, 0) + 1
                    if statement.fingerprint in switches:
                        schemas[thread] = (statement.fingerprint, statement.literals, operation.parameters)
                    units[id(operation)] = (thread if claims else 0, claimed.get(thread, 0), schemas.get(thread))
            self._units = units
        return self._units

    def _claims(self, group: Sequence[Operation]) -> bool:
        """Return whether these statements claim jobs from a queue: the same query each time, for a free job."""
        statement = group[0].statement
        if statement.blocking:
            return True
        if len(group) < 2 or statement.kind not in {"select", "update", "delete"} or group[0].relationship:
            return False
        skips, limited = _skips_and_limits(statement.text)
        if skips:
            return True
        if statement.limit is None and (statement.kind == "select" or not limited):
            return False
        asked = {(operation.parameters, operation.statement.literals) for operation in group}
        if len(asked) > len(group) // 2 and not moves_a_bound(statement.text):
            return False
        return statement.kind != "select" or self._taken(group)

    def _taken(self, group: Sequence[Operation]) -> bool:
        """Return whether each row found was then updated or deleted."""
        first = group[0]
        marks = self.writes(first.statement.targets[:1], first.database.key, frozenset({"update", "delete"}))
        if not marks:
            return False
        open_claims: set[int] = set()
        found = taken = 0
        for operation in sorted([*group, *marks], key=attrgetter("start_ns")):
            if operation.statement.kind == "select":
                open_claims.add(operation.thread)
                found += operation.rows != 0
            elif operation.thread in open_claims:
                open_claims.discard(operation.thread)
                taken += 1
        return taken * 2 >= found > 0


def _switches(operation: Operation) -> bool:
    return operation.statement.setup and _SWITCH.match(operation.statement.text) is not None
