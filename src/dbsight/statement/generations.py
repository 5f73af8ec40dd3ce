"""The bounded memory of what was read: statements by their text, commands by their keys."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Generations(Generic[_K, _V]):
    """Two generations of entries, safe in threads and forks.

    What is asked for moves into the recent one; when that is full, it becomes the older one, and what was the older one
    is forgotten. A hit takes no lock, and nothing is ever sorted.

    Attributes:
        recent: The recent generation, to look up without a call; replaced as a whole, so ask for it each time.
        older: The one before.
        lock: Held while an entry is added.
    """

    __slots__ = ("__weakref__", "lock", "older", "recent")

    def __init__(self) -> None:
        self.recent: dict[_K, _V] = {}
        self.older: dict[_K, _V] = {}
        self.lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def __len__(self) -> int:
        """How many entries are remembered; one that moved counts twice until its older copy is forgotten."""
        return len(self.recent) + len(self.older)

    def find(self, key: _K) -> _V | None:
        """The entry, if it is remembered."""
        found = self.recent.get(key)
        return found if found is not None else self.older.get(key)

    def keep(self, key: _K, value: _V, limit: int) -> _V:
        """Remember an entry as a recent one, and no more than ``limit`` in all.

        Returns:
            The entry that is remembered: another thread may have been faster, and all get the same object.
        """
        with self.lock:
            known = self.find(key)
            value = known if known is not None else value
            if len(self.recent) >= limit // 2:
                self.older = self.recent
                self.recent = {}
            self.recent[key] = value
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.recent = {}
            self.older = {}

    def _after_fork(self) -> None:
        self.lock = threading.Lock()  # another thread of the parent may have held it
        self.clear()
