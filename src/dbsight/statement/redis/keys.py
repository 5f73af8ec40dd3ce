"""Templates of keys: ``user:4711:cart`` is one of many ``user:{}:cart``.

What is variable in a key is seen at once where it looks like it (numbers, hexadecimal ids, UUIDs, dates, addresses) and
learnt otherwise: a place in a key that has had too many different words holds names, not a word. Everything is bounded:
words at one place, places, templates.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from dbsight.model.deferred import pattern

PLACE: Final = "{}"
"""Stands for what is variable."""

MAX_TEMPLATES: Final = 500
"""Different templates; further keys are all ``{}``."""

MAX_WORDS: Final = 24
"""Different words at one place of a key; with more, the place is variable."""

MAX_FIRST_WORDS: Final = 100
"""The same at the first place: there stand the names of what an application keeps."""

MAX_PLACES: Final = 2_000
"""Places that are remembered."""

READ_LIMIT: Final = 256
"""Characters of a key that are looked at."""

_LONG_WORD: Final = 40

MAX_PLAIN: Final = 5_000
"""Words without anything variable that are remembered."""

_SEPARATORS = pattern(r"([:/|.]+)")
_SEPARATORS_WITHOUT_DOT = pattern(r"([:/|]+)")
_VARIABLE = pattern(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # a UUID
    r"|(?<![A-Za-z])(?=[a-fA-F]*\d)[0-9a-fA-F]{6,}(?![A-Za-z])"  # a hash
    r"|[^:/|]*@[^:/|]*"  # an address
    r"|\d+"
)
_PLACES = pattern(r"\{\}(?:[-_+,.T ]?\{\})+")


class _Place:
    """What has stood at one place behind one beginning."""

    __slots__ = ("variable", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Place] = {}
        self.variable: _Place | None = None  # what follows, once the place is known to be variable


class Templates:
    """Learns the templates of the keys that it is shown.

    Attributes:
        learnt: Grows when a place turns out to be variable: templates given before may have said otherwise.
    """

    def __init__(self) -> None:
        self._first: dict[int, _Place] = {}
        self._places = 0
        self._known: set[str] = set()
        self._plain: set[str] = set()
        self._lock = threading.Lock()
        self.learnt = 0

    def of(self, key: str) -> str:
        """The template of a key; ``{}`` for one that says nothing, or when there are too many templates."""
        key = key[:READ_LIMIT]
        dotted = "." in key or "@" in key  # what is variable may go on behind a dot, but not behind other separators
        if dotted:
            parts = _SEPARATORS.split(_shaped(key))
            parts[::2] = [PLACE if _looks_variable(word) else word for word in parts[::2]]
        else:
            parts = _SEPARATORS_WITHOUT_DOT.split(key)
            plain = self._plain
            parts[::2] = [
                word if word in plain else PLACE if word.isdecimal() else self._shape(word) for word in parts[::2]
            ]
        with self._lock:
            parts[::2] = self._learn(parts[::2])
            template = "".join(parts)
            if dotted:
                template = _PLACES.sub(PLACE, template)
            if template not in self._known:
                if len(self._known) >= MAX_TEMPLATES:
                    return PLACE
                self._known.add(template)
        return template

    def _shape(self, word: str) -> str:
        shaped = _shaped(word)
        if _looks_variable(shaped):
            return PLACE
        if shaped == word:
            if len(self._plain) >= MAX_PLAIN:
                self._plain = set()
            self._plain.add(word)
        return shaped

    def _learn(self, words: list[str]) -> list[str]:
        """The words of a key, with ``{}`` where they are variable."""
        # Keys of other lengths are other things: what is learnt of one does not concern the other.
        at = self._first.setdefault(len(words), _Place())
        learnt: list[str] = []
        for word in words:
            known = word
            if at.variable is not None:
                known, below = PLACE, at.variable
            elif (found := at.words.get(known)) is not None:
                below = found
            elif self._places >= MAX_PLACES:
                known, below = PLACE, at
            elif len(at.words) >= (MAX_WORDS if learnt else MAX_FIRST_WORDS):
                self.learnt += 1
                self._forget(at)
                known, below = PLACE, _Place()
                at.variable = below
            else:
                below = at.words[known] = _Place()
                self._places += 1
            learnt.append(known)
            at = below
        return learnt

    def _forget(self, place: _Place) -> None:
        waiting = [place]
        while waiting:
            each = waiting.pop()
            self._places -= len(each.words)
            waiting += each.words.values()
            if each.variable is not None:
                waiting.append(each.variable)
        place.words = {}
        # Templates with the words that were no words take up no room any more.
        self._known.clear()

    def reset(self) -> None:
        """Forget everything, the lock included: in a forked child another thread may hold it."""
        self.__init__()  # type: ignore[misc]


def _shaped(text: str) -> str:
    return _PLACES.sub(PLACE, _VARIABLE.sub(PLACE, text))


def _looks_variable(word: str) -> bool:
    return len(word) > _LONG_WORD or (PLACE in word and len(word) >= 16 + len(PLACE)) or not word.isprintable()


templates = Templates()
"""Those of this process."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=templates.reset)
