"""What repeats rightly: the shapes that look like a loop of queries and are none.

Each function takes a ``Repetition`` and says whether it has its shape; ``reason`` asks them all.
"""

from __future__ import annotations

import re
import threading
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING

from dbsight.detect.history import MIGRATION_TABLES, moves_a_bound
from dbsight.detect.pages import pages
from dbsight.detect.placeholders import placeholders
from dbsight.detect.repetition import LOADED_ONCE, PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.detect.history import History
    from dbsight.detect.repetition import Repetition
    from dbsight.detect.window import Window
    from dbsight.model import Operation

BULK = 50
"""Values of an IN list, or rows of a range, from which a repetition is work in chunks."""

_ANY = re.compile(r"=\s*ANY\s*\(", re.IGNORECASE)
_EQUAL = re.compile(rf"(?<![<>!])=\s*{PLACEHOLDER}|{PLACEHOLDER}\s*=", re.IGNORECASE)
_SEPARATOR = re.compile(r"[/\\]")
_INSERT = frozenset({"insert"})
_UPDATE = frozenset({"update"})
_SAVEPOINT = re.compile(r"SAVE(?:POINT|\s+TRAN)", re.IGNORECASE)
_PACKAGES = frozenset({"site-packages", "dist-packages"})

IN_PROCESS = frozenset({"sqlite", "duckdb"})
"""Databases without a network in between."""

FASTEST_ROUND_TRIP = 3e-5
"""s; a query to a server on the same host takes 50 µs and more, also through a socket file."""


def reason(repetition: Repetition, window: Window, history: History) -> str | None:
    """Why a repetition is none: the name of its shape, None when it has none of them."""
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
    """Whether no code of the application asks, or no database answers."""
    return own_table_of_migrations(repetition) or housekeeping(repetition, window) or answered_by_a_cache(repetition)


def belong_to_pages(repetition: Repetition, pages: Sequence[Operation]) -> bool:
    """What is loaded for the rows of a page, by a list of their keys: once for each page, on the same thread."""
    if any(operation.statement.in_length < 2 for operation in repetition.operations[:-1]):
        return False
    return _each_after_its_own(pages, repetition.operations) == len(repetition)


def chunks(repetition: Repetition) -> bool:
    """Many values or rows at once: IN lists, arrays or ranges of ≥ 50, all but the last."""
    operations = repetition.operations
    if _all_but_one(operation.statement.in_length for operation in operations):
        return True
    if not _all_but_one(operation.rows or 0 for operation in operations):
        return False
    text = repetition.statement.text
    return _ANY.search(text) is not None or (moves_a_bound(text) and _EQUAL.search(text) is None)


def _all_but_one(sizes: Iterable[int]) -> bool:
    few = 0
    for size in sizes:
        few += size < BULK
        if few > 1:
            return False
    return True


def polling(repetition: Repetition, window: Window) -> bool:
    """A moving bound is asked for at a steady pace, with waiting in between.

    A loop over items asks by equality, and is none however evenly it runs.
    """
    return moves_a_bound(repetition.statement.text) and steady(repetition, window)


def steady(repetition: Repetition, window: Window) -> bool:
    """One thread does it at a steady pace, with waiting in between.

    Steady is: never earlier than usual by more than 20 % or 10 ms, and seldom later by more than 40 % or 20 ms, because
    a pause ends late on a busy machine. Where no request is served, several times a second is still polling; in a
    request it is from 0.2 s on.
    """
    if not waits(repetition, window):
        return False
    gaps = sorted(repetition.gaps())
    usual = median(gaps)
    late = gaps[(len(gaps) * 3) // 4]
    return usual - gaps[0] <= max(0.2 * usual, 0.01) and late - usual <= max(0.4 * usual, 0.02)


def waits(repetition: Repetition, window: Window) -> bool:
    """One thread does it, and waits in between, as long as a poll would: 0.05 s, in a request 0.2 s."""
    if len(repetition) < 3 or len({operation.thread for operation in repetition.operations}) > 1:
        return False
    return median(repetition.gaps()) >= (0.2 if window.request else 0.05)


def follows_inserts(repetition: Repetition, history: History) -> bool:
    """Refresh after an INSERT, each row after its own; or get-or-create, where what was missed is then inserted.

    A quarter of misses is enough for get-or-create: the more it has run, the more it finds. Values that the database
    made may also be read after many INSERTs: where these cannot return them, nothing else can be done.
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
    """Rows inserted before ``begin``, 0 when it was an UPDATE that came last."""
    before = [insert for insert in inserts if insert.start_ns < begin]
    updates = history.writes(repetition.statement.targets, repetition.database.key, _UPDATE)
    if any(update.start_ns < begin and (not before or update.start_ns > before[-1].start_ns) for update in updates):
        return 0
    return sum(_rows(insert) for insert in before)


def _rows(write: Operation) -> int:
    return max(1, write.batch_size, write.affected or 0)


def follows_updates(repetition: Repetition, history: History) -> bool:
    """Refresh after an UPDATE, each row after its own.

    A loop that reads a row and then writes it begins with a read, and ends with a write.
    """
    operations = repetition.operations
    updates = history.writes(repetition.statement.targets[:1], repetition.database.key, _UPDATE)
    if len(updates) < len(operations) or updates[-1].start_ns > operations[-1].start_ns:
        return False
    return _each_after_its_own(updates, operations) == len(operations)


def _each_after_its_own(writes: Sequence[Operation], reads: Sequence[Operation]) -> int:
    """How many reads came first after a write of the same thread."""
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
    """A migration tool looks at its own table, or writes down what it did."""
    return not MIGRATION_TABLES.isdisjoint(repetition.statement.targets)


def housekeeping(repetition: Repetition, window: Window) -> bool:
    """A library does it by itself, without a line of the application: outside of requests, in a thread of its own.

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
    """Faster than any network: an instrumentation made spans for what a cache in the process answered."""
    return repetition.database.system not in IN_PROCESS and repetition.duration < FASTEST_ROUND_TRIP * len(repetition)


def heartbeat(repetition: Repetition, window: Window) -> bool:
    """One row is updated again and again, with waiting in between; where its key is not known, at a steady pace."""
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
    """Each of them has a savepoint of its own, because it may fail."""
    for operation in repetition.operations:
        before = next(history.before(operation), None)
        if before is None or before.statement.kind != "transaction" or not _SAVEPOINT.match(before.statement.text):
            return False
    return True
