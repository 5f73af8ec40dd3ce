"""What repeats rightly: the shapes that look like a loop of queries and are none.

Each function takes a ``Repetition`` and says whether it has its shape; ``reason`` asks them all.
"""

from __future__ import annotations

import re
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING

from dbsight.detect.history import RANGE
from dbsight.detect.repetition import LOADED_ONCE, PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_MIGRATION_DIRECTORIES = frozenset({"migrations", "alembic"})


def reason(repetition: Repetition, window: Window, history: History) -> str | None:
    """Why a repetition is none: the name of its shape, None when it has none of them."""
    if repetition.load not in LOADED_ONCE:
        if pages(repetition):
            return "pagination"
        if chunks(repetition):
            return "chunks"
        if polling(repetition, window):
            return "polling"
        if follows_inserts(repetition, history):
            return "insert"
    if migration(repetition, history):
        return "migration"
    return None


def pages(repetition: Repetition) -> bool:
    """A listing is read page by page: OFFSET, or a key that walks forward, with LIMIT above 1.

    Bound values are not known here, so that a key walks forward is seen by its comparison and by the pages: all of
    them full but the last. The newest three of each parent (``LIMIT 3`` without a walking key) are no pages; neither
    is the first page for each of many parents, which is seldom full.
    """
    statement = repetition.statement
    if statement.limit == 1 or (statement.limit is None and not statement.offset):
        return False
    rows = [operation.rows for operation in repetition.operations if operation.rows is not None]
    full = max(rows, default=None)
    if full is None:
        return statement.offset or RANGE.search(statement.text) is not None
    if full <= 1:
        return False
    if statement.offset:
        return sum(count == full for count in rows) * 2 >= len(rows)
    return all(count == full for count in rows[:-1]) and RANGE.search(statement.text) is not None


def chunks(repetition: Repetition) -> bool:
    """Many values or rows at once: IN lists, arrays or ranges of ≥ 50, all but the last."""
    operations = repetition.operations
    if _all_but_one(operation.statement.in_length for operation in operations):
        return True
    if not _all_but_one(operation.rows or 0 for operation in operations):
        return False
    text = repetition.statement.text
    return _ANY.search(text) is not None or (RANGE.search(text) is not None and _EQUAL.search(text) is None)


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
    return RANGE.search(repetition.statement.text) is not None and steady(repetition, window)


def steady(repetition: Repetition, window: Window) -> bool:
    """One thread does it at a steady pace, with waiting in between.

    Steady is ± 20 % or 10 ms. Where no request is served, several times a second is still polling; in a request it is
    from 0.2 s on.
    """
    if len(repetition) < 3 or len({operation.thread for operation in repetition.operations}) > 1:
        return False
    gaps = repetition.gaps()
    usual = median(gaps)
    if usual < (0.2 if window.request else 0.05):
        return False
    return max(gaps) - min(gaps) <= max(0.4 * usual, 0.02)


def follows_inserts(repetition: Repetition, history: History) -> bool:
    """Refresh after an INSERT, each row after its own; or get-or-create, where what was missed is then inserted.

    A quarter of misses is enough for get-or-create: the more it has run, the more it finds. Values that the database
    made may also be read after many INSERTs: where these cannot return them, nothing else can be done.
    """
    operations = repetition.operations
    inserts = history.writes(repetition.statement.targets, repetition.database.key, _INSERT)
    if not inserts:
        return False
    fresh: set[int] = set()
    refreshed = 0
    members = set(map(id, operations))
    for operation in sorted([*inserts, *operations], key=attrgetter("start_ns")):
        if id(operation) not in members:
            fresh.add(operation.thread)
        elif operation.thread in fresh:
            fresh.discard(operation.thread)
            refreshed += 1
    if refreshed == len(operations):
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


def migration(repetition: Repetition, history: History) -> bool:
    """A migration tool is at work, or the code stands in a directory of migrations."""
    site = repetition.call_site
    if site is not None and not _MIGRATION_DIRECTORIES.isdisjoint(_SEPARATOR.split(site.file)[-4:-1]):
        return True
    return history.migrating(repetition.operations[0])
