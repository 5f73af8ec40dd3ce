"""Which call of a test a query belongs to.

A test calls the application several times, to see that it does what it should: what is repeated between two calls is
the test's doing. Calls are told apart by the places in the test from which they are made: a loop in a test is one call.
"""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dbsight.instrument import callsite

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from dbsight.model import CallSite

    Key = tuple[int, ...]

_SUPPORT_FILES: Final = ("conftest.py", "factories.py", "fixtures.py")
_TEST_FILES: Final = ("test_*.py", "*_test.py", "*_tests.py", "tests.py", *_SUPPORT_FILES)
_RUNNERS: Final = tuple(os.sep + name for name in (f"_pytest{os.sep}python.py", f"unittest{os.sep}case.py"))

_TEST: Final = 1
_OTHER: Final = 2
_RUNNER: Final = 3

_MOST_DEPTH: Final = 300
_MOST_KNOWN: Final = 10_000

# By identity, because hashing a code object is expensive; entries keep their code object alive.
_kinds: dict[int, tuple[int, CodeType]] = {}

_places: set[tuple[int, int, int, int, int]] = set()
"""Depth, instruction and calling instruction of innermost places that walks have found."""
_depth = 0
"""How deep the latest was below ``current``; 0 before the first."""


def is_test_code(site: CallSite | None) -> bool:
    """Whether a line is a test's, or that of what tests are made with."""
    return site is not None and _is_test_file(site.file)


def is_support_code(site: CallSite | None) -> bool:
    """Whether a line is in a file of what tests are made with: factories, fixtures."""
    return site is not None and Path(site.file).name in _SUPPORT_FILES


def _is_test_file(file: str) -> bool:
    path = Path(file)
    return any(fnmatchcase(path.name, pattern) for pattern in _TEST_FILES) or "tests" in path.parts[:-1]


def current() -> Key | None:
    """The places in test code that led here, the innermost first; None where no test did.

    A walk over the frames up to those of the test's runner: 2 to 5 µs. Where the innermost place is as deep as the
    latest, is the same instruction and was called from the same one, the walk begins there: as in ``callsite``, a
    place could only be missed where one line reaches the client library in several ways of the same length.
    """
    global _depth  # noqa: PLW0603 - asked for each query
    at: FrameType | None = sys._getframe(1)
    innermost: FrameType | None = None
    if _depth:
        innermost = _latest()
        at = innermost or at
    depth = 1
    greenlet = None
    key: list[int] = []
    for _ in range(_MOST_DEPTH):
        if at is None:
            greenlet, at = callsite.parent(greenlet)
            if at is None:
                break
        code = at.f_code
        known = _kinds.get(id(code))
        kind = known[0] if known is not None else _kind_of(code)
        if kind == _TEST:
            if not key and innermost is None and greenlet is None and at.f_back is not None:
                if len(_places) >= _MOST_KNOWN:
                    _places.clear()
                _depth = depth
                _places.add((depth, *_instruction(at), *_instruction(at.f_back)))
            key += (id(code), at.f_lasti)
        elif kind == _RUNNER:
            break
        at = at.f_back
        depth += 1
    return tuple(key) or None


def _latest() -> FrameType | None:
    """The frame of the caller's caller where the innermost place was found last, if it is at that place again."""
    try:
        at = sys._getframe(_depth + 1)
    except ValueError:  # not so deep
        return None
    above = at.f_back
    if above is None or (_depth, *_instruction(at), *_instruction(above)) not in _places:
        return None
    return at


def _instruction(frame: FrameType) -> tuple[int, int]:
    return id(frame.f_code), frame.f_lasti


def _kind_of(code: CodeType) -> int:
    name = code.co_filename
    if name.endswith(_RUNNERS):
        kind = _RUNNER
    elif f"{os.sep}site-packages{os.sep}" in name:
        kind = _OTHER
    else:
        kind = _TEST if _is_test_file(callsite.relative(name)) else _OTHER
    if len(_kinds) >= _MOST_KNOWN:
        _kinds.clear()
        _places.clear()  # by identity, too
    _kinds[id(code)] = kind, code
    return kind
