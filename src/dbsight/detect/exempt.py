"""Legitimate repetition: patterns that look like queries in a loop but are exempt.

Each function returns whether a ``Repetition`` matches its pattern; ``reason`` tries them all.
"""

from __future__ import annotations

import re
import threading
from operator import attrgetter
from typing import TYPE_CHECKING

from dbsight.detect.history import MIGRATION_TABLES, moves_a_bound
from dbsight.detect.median import median
from dbsight.detect.pace import IN_PROCESS
from dbsight.detect.pages import pages
from dbsight.detect.placeholders import placeholders
from dbsight.detect.repetition import LOADED_ONCE, PLACEHOLDER
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.detect.history import History
    from dbsight.detect.repetition import Repetition
    from dbsight.detect.window import Window
    from dbsight.model import Operation

BULK = 50
"""Values in an IN list, or rows in a range, from which a repetition counts as chunked work."""

_ANY = pattern(r"=\s*ANY\s*\(", re.IGNORECASE)
_EQUAL = pattern(rf"(?<![<>!])=\s*{PLACEHOLDER}|{PLACEHOLDER}\s*=", re.IGNORECASE)
_SEPARATOR = pattern(r"[/\\]")
_INSERT = frozenset({"insert"})
_UPDATE = frozenset({"update"})
_SAVEPOINT = pattern(r"SAVE(?:POINT|\s+TRAN)", re.IGNORECASE)
_PACKAGES = frozenset({"site-packages", "dist-packages"})

FASTEST_ROUND_TRIP = 3e-5
"""s; a query to a server on the same host takes at least 50 µs, also through a socket file."""


def reason(repetition: Repetition, window: Window, history: History) -> str | None:
    """Return the name of the pattern that exempts a repetition, None if no pattern matches."""
    if repetition.load not in LOADED_ONCE:
        found = _shape(repetition, window, history)
        if found is not None:
            return found
    return "library" if of_a_library(repetition, window) else None


def _shape(repetition: Repetition, window: Window, history: History) -> str | None:
    if pages(repetition, history):
        return "pagination"
    if chunks(repetition):
        return "chunks"
    if polling(repetition, window):
        return "polling"
    if follows_inserts(repetition, history) or follows_updates(repetition, history):
        return "write"
    return None


def of_a_library(repetition: Repetition, window: Window) -> bool:
    """Return whether a library ran the queries, or a cache answered them."""
    return own_table_of_migrations(repetition) or housekeeping(repetition, window) or answered_by_a_cache(repetition)


def belong_to_pages(repetition: Repetition, pages: Sequence[Operation]) -> bool:
    """Return whether these load data for the rows of a page by their keys: once per page, on the same thread."""
    if any(operation.statement.in_length < 2 for operation in repetition.operations[:-1]):
        return False
    return _each_after_its_own(pages, repetition.operations) == len(repetition)


def chunks(repetition: Repetition) -> bool:
    """Return whether all but the last process many values or rows: IN lists, arrays or ranges of ≥ 50."""
    operations = repetition.operations
    if _all_but_one([each.statement.in_length for each in operations]):
        return True
    if not _all_but_one([each.rows or 0 for each in operations]):
        return False
    text = repetition.statement.text
    return _ANY.search(text) is not None or (moves_a_bound(text) and _EQUAL.search(text) is None)


def _all_but_one(sizes: list[int]) -> bool:
    return max(sizes[:2]) >= BULK and sum([size < BULK for size in sizes]) <= 1


def polling(repetition: Repetition, window: Window) -> bool:
    """Return whether a query with a moving bound runs at a steady interval, with waiting in between.

    A loop over items compares by equality, and does not count, however evenly it runs.
    """
    return moves_a_bound(repetition.statement.text) and steady(repetition, window)


def steady(repetition: Repetition, window: Window) -> bool:
    """Return whether one thread runs it at a steady interval, with waiting in between.

    Steady means never earlier than usual by more than 20 % or 10 ms, and rarely later by more than 40 % or 20 ms,
    because a pause ends late on a busy machine. Outside requests, several times per second is still polling; in a
    request, the interval is at least 0.2 s.
    """
    if not waits(repetition, window):
        return False
    gaps = sorted(repetition.gaps())
    usual = median(gaps)
    late = gaps[(len(gaps) * 3) // 4]
    return usual - gaps[0] <= max(0.2 * usual, 0.01) and late - usual <= max(0.4 * usual, 0.02)


def waits(repetition: Repetition, window: Window) -> bool:
    """Return whether one thread runs it and waits in between for at least 0.05 s, in a request 0.2 s."""
    if len(repetition) < 3 or len({operation.thread for operation in repetition.operations}) > 1:
        return False
    return median(repetition.gaps()) >= (0.2 if window.request else 0.05)


def follows_inserts(repetition: Repetition, history: History) -> bool:
    """Return whether each is a refresh after its own INSERT, or part of get-or-create, which inserts what is missing.

    A quarter of misses is enough for get-or-create: the longer it has run, the more it finds. Values that the database
    generated may also be read after many INSERTs, if these cannot return them.
    """
    operations = repetition.operations
    inserts = history.writes(repetition.statement.targets, repetition.database.key, _INSERT)
    if not inserts:
        return False
    if _each_after_its_own(inserts, operations) == len(operations):
        return True
    begin = operations[0].start_ns
    if repetition.load == "generated":
        return _inserted_before(inserts, begin, repetition, history) >= len(operations)
    inserted = sum(_rows(insert) for insert in inserts if insert.start_ns > begin)
    missed = sum(operation.rows == 0 for operation in operations)
    return min(missed, inserted) * 4 >= len(operations)


def _inserted_before(inserts: list[Operation], begin: int, repetition: Repetition, history: History) -> int:
    """Return the number of rows inserted before ``begin``, 0 if the last write was an UPDATE."""
    before = [insert for insert in inserts if insert.start_ns < begin]
    updates = history.writes(repetition.statement.targets, repetition.database.key, _UPDATE)
    if any(update.start_ns < begin and (not before or update.start_ns > before[-1].start_ns) for update in updates):
        return 0
    return sum(_rows(insert) for insert in before)


def _rows(write: Operation) -> int:
    return max(1, write.batch_size, write.affected or 0)


def follows_updates(repetition: Repetition, history: History) -> bool:
    """Return whether each is a refresh after its own UPDATE.

    A loop that reads a row and then writes it begins with a read, and ends with a write.
    """
    operations = repetition.operations
    updates = history.writes(repetition.statement.targets[:1], repetition.database.key, _UPDATE)
    if len(updates) < len(operations) or updates[-1].start_ns > operations[-1].start_ns:
        return False
    return _each_after_its_own(updates, operations) == len(operations)


def _each_after_its_own(writes: Sequence[Operation], reads: Sequence[Operation]) -> int:
    """Count the reads that directly follow a write on the same thread."""
    fresh: set[int] = set()
    refreshed = 0
    members = set(map(id, reads))
    for operation in sorted([*writes, *reads], key=attrgetter("start_ns")):
        if id(operation) not in members:
            fresh.add(operation.thread)
        elif operation.thread in fresh:
            fresh.discard(operation.thread)
            refreshed += 1
    return refreshed


def own_table_of_migrations(repetition: Repetition) -> bool:
    """Return whether a migration tool reads or writes its version table."""
    return not MIGRATION_TABLES.isdisjoint(repetition.statement.targets)


def housekeeping(repetition: Repetition, window: Window) -> bool:
    """Return whether a library runs it without an application frame: outside requests, in its own thread.

    A library whose loop runs on the main thread waits in between.
    """
    if window.request:
        return False
    operations = repetition.operations
    if any(each.call_site is None or not _in_a_package(each.call_site.file) for each in operations):
        return False
    main = threading.main_thread().ident
    return all(each.thread != main for each in operations) or waits(repetition, window)


def _in_a_package(file: str) -> bool:
    return not _PACKAGES.isdisjoint(_SEPARATOR.split(file))


def answered_by_a_cache(repetition: Repetition) -> bool:
    """Return whether it was faster than any network: an external span of what an in-process cache answered."""
    return repetition.database.system not in IN_PROCESS and repetition.duration < FASTEST_ROUND_TRIP * len(repetition)


def heartbeat(repetition: Repetition, window: Window) -> bool:
    """Return whether one row is updated repeatedly, with waiting in between; with unknown key, at a steady interval."""
    if repetition.statement.kind != "update" or not waits(repetition, window):
        return False
    if any(operation.values is None for operation in repetition.operations):
        return steady(repetition, window)
    filters = [each.key for each in placeholders(repetition.statement.text) if each.filters]
    rows = {
        (operation.statement.literals, *[(operation.values or {}).get(key) for key in filters])
        for operation in repetition.operations
    }
    return len(rows) == 1


def in_savepoints(repetition: Repetition, history: History) -> bool:
    """Return whether each has its own savepoint, because it may fail."""
    for operation in repetition.operations:
        before = next(history.before(operation), None)
        if before is None or before.statement.kind != "transaction" or not _SAVEPOINT.match(before.statement.text):
            return False
    return True
