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

    A walk over the frames up to those of the test's runner: 2 to 5 µs.
    """
    at: FrameType | None = sys._getframe(1)
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
            key += (id(code), at.f_lasti)
        elif kind == _RUNNER:
            break
        at = at.f_back
    return tuple(key) or None


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
    _kinds[id(code)] = kind, code
    return kind
