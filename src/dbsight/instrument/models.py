"""How often the ORM loads, inserts, updates and deletes objects of each class.

SQLAlchemy's events tell of every object; what is done for each is one lookup and one step of a counter. Of Django, the
rows of statements are counted, in the drain. The counts become events when totals are read.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from dbsight import recording, safety, semconv
from dbsight.model import OrmEvent
from dbsight.safety import failed
from dbsight.scope import current_context, says_nothing, suppressed

if TYPE_CHECKING:
    from dbsight.instrument.wrap import Patches
    from dbsight.model import OrmOperation

MAX_MODELS: Final = 500
"""Classes that are told apart; objects of the rest are ``other``."""


class _Counter:
    """One count. Steps are taken by ``next``, which no other thread can interrupt; reading takes one, too."""

    __slots__ = ("reads", "steps", "told")

    def __init__(self) -> None:
        self.steps = itertools.count()
        self.reads = 0
        self.told = 0

    def news(self) -> int:
        """Steps since the last time; called under the lock."""
        count = next(self.steps) - self.reads
        self.reads += 1
        new, self.told = count - self.told, count
        return new


_loads: dict[str, _Counter] = {}
_inserts: dict[str, _Counter] = {}
_updates: dict[str, _Counter] = {}
_deletes: dict[str, _Counter] = {}
_tables: tuple[tuple[OrmOperation, dict[str, _Counter]], ...] = (
    ("load", _loads),
    ("insert", _inserts),
    ("update", _updates),
    ("delete", _deletes),
)
_BY_OPERATION: Final = dict(_tables)
_lock = threading.Lock()


def _counter(table: dict[str, _Counter], name: str) -> _Counter:
    with _lock:
        if name not in table and len(table) >= MAX_MODELS:
            safety.dropped("models")
            name = semconv.OTHER
        return table.setdefault(name, _Counter())


def _count(table: dict[str, _Counter], model: type) -> None:
    if not suppressed():
        name = model.__name__
        next((table.get(name) or _counter(table, name)).steps)


def add(operation: OrmOperation, name: str, number: int) -> None:
    """Count objects of a class by the rows of a statement."""
    if number > 0:
        table = _BY_OPERATION[operation]
        deque(itertools.islice((table.get(name) or _counter(table, name)).steps, number), maxlen=0)


def loaded(state: Any, _: Any) -> None:
    """An object was made from a row; one that the session already had is not made again. Never raises.

    Each row comes here: the guard and ``_count`` are written out, and so is the property ``class_``.
    """
    try:
        if not says_nothing(current_context()) and suppressed():
            return
        name = state.manager.class_.__name__
        next((_loads.get(name) or _counter(_loads, name)).steps)
    except Exception:
        failed("instrument.models.loaded")


def inserted(mapper: Any, _: Any, __: Any) -> None:
    """A flush has inserted an object. Never raises; written out as ``loaded`` is."""
    try:
        if not says_nothing(current_context()) and suppressed():
            return
        name = mapper.class_.__name__
        next((_inserts.get(name) or _counter(_inserts, name)).steps)
    except Exception:
        failed("instrument.models.inserted")


def updated(mapper: Any, _: Any, state: Any) -> None:
    """A flush has come to a changed object; nothing is sent for one whose values are the same again."""
    if state.session is None or state.session.is_modified(state.obj(), include_collections=False):
        _count(_updates, mapper.class_)


def deleted(mapper: Any, _: Any, __: Any) -> None:
    """A flush has deleted an object."""
    _count(_deletes, mapper.class_)


def listen(mapper: Any, patches: Patches) -> None:
    """Count the objects of all mapped classes, until the replacements are undone."""
    patches.listen(mapper, "load", loaded, guarding=False, raw=True)
    # SQLAlchemy wraps a listener without ``retval`` in a function that returns for it; what these return is not read.
    patches.listen(mapper, "after_insert", inserted, guarding=False, raw=True, retval=True)
    patches.listen(mapper, "after_update", updated, raw=True, retval=True)
    patches.listen(mapper, "after_delete", deleted, raw=True, retval=True)


def collect() -> None:
    """Record what was counted since the last time. Never raises."""
    try:
        now = time_ns()
        for operation, table in _tables:
            for name, counter in tuple(table.items()):
                with _lock:
                    count = counter.news()
                if count:
                    recording.record(OrmEvent(name, operation, count, now))
    except Exception:
        failed("models.collect")


def _after_fork() -> None:
    """What the parent counted is the parent's."""
    global _lock  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.Lock()
    for _, table in _tables:
        table.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
