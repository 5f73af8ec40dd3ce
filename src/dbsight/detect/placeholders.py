"""The role of each bound value in a statement: the size of a page, its offset, or a condition."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from dbsight.detect.repetition import MAX_TEXTS, PLACEHOLDER
from dbsight.model.deferred import pattern

_FIND: Final = pattern(PLACEHOLDER)
_NUMBERED: Final = pattern(r"\$(\d+)")
_NAMED: Final = pattern(r"%\((\w+)\)s|[:@](\w+)")
_OPENED: Final = pattern(r"(?:CAST\s*)?\(\s*$|\s+$", re.IGNORECASE)
_SIZE: Final = pattern(r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT)|TOP)$", re.IGNORECASE)
_OFFSET: Final = pattern(r"\bOFFSET$", re.IGNORECASE)
_BETWEEN: Final = pattern(r"\bBETWEEN$", re.IGNORECASE)
_AND: Final = pattern(r"^(?:::\w+|\s+AS\s+\w+\s*\))?\s*AND$", re.IGNORECASE)
_NEXT_OF_LIST: Final = pattern(r"^(?:::\w+(?:\s\w+)*|\s+AS\s+\w+\s*\))?\s*,$", re.IGNORECASE)
_COMPARED: Final = pattern(r"(?<![<>=@-])[<>]=?$")
_COMPARES: Final = pattern(r"(?:::\w+)?\s*[<>]=?(?![<>@-])")
_WHERE: Final = pattern(r"\bWHERE\b", re.IGNORECASE)
_MAX_READ: Final = 10_000

SIZE: Final = "size"
OFFSET: Final = "offset"
BOUND: Final = "bound"
CONDITION: Final = "condition"


class Placeholder(NamedTuple):
    """A bound value in a text.

    Attributes:
        key: Its position among the values, from 0, or its name.
        role: ``size`` of a page, ``offset``, a ``bound`` that is compared by less or greater, or any other
            ``condition`` or value.
        filters: Whether it follows WHERE.
    """

    key: object
    role: str
    filters: bool


@lru_cache(maxsize=MAX_TEXTS)
def placeholders(text: str) -> tuple[Placeholder, ...]:
    """Return the placeholders of a sanitised text, in order.

    Literals have become ``?``: where the placeholders of the driver are ``?``, too, a text with literals has more of
    these than the execution has values.
    """
    text = text[:_MAX_READ]
    where = _WHERE.search(text)
    filtering = where.end() if where is not None else len(text)
    found: list[Placeholder] = []
    end = 0
    style = _style(text)
    for match in _FIND.finditer(text):
        if style != "?" and match[0] == "?":
            end = match.end()  # a literal
            continue
        role = _role(text, match, end, found)
        found.append(Placeholder(_key(match[0], len(found)), role, match.start() >= filtering))
        end = match.end()
    return tuple(found)


def _style(text: str) -> str:
    """Return the first character of the driver's placeholder style: ``?`` only if there is no other."""
    return next((match[0][0] for match in _FIND.finditer(text) if match[0] != "?"), "?")


def _key(placeholder: str, position: int) -> object:
    numbered = _NUMBERED.match(placeholder)
    if numbered is not None:
        return int(numbered[1]) - 1
    named = _NAMED.match(placeholder)
    return (named[1] or named[2]) if named is not None else position


def _role(text: str, match: re.Match[str], end: int, found: list[Placeholder]) -> str:
    before = text[end : match.start()]
    while (opened := _OPENED.search(before)) is not None:
        before = before[: opened.start()]
    if _OFFSET.search(before):
        return OFFSET
    if _SIZE.search(before):
        return SIZE
    if _COMPARED.search(before) or _BETWEEN.search(before) or _COMPARES.match(text, match.end()):
        return BOUND
    if found:
        latest = found[-1]
        if latest.role == BOUND and (_NEXT_OF_LIST.match(before) or (_AND.match(before))):
            return BOUND  # a row of values, or the upper end of BETWEEN
        if latest.role == SIZE and _NEXT_OF_LIST.match(before):
            found[-1] = latest._replace(role=OFFSET)  # MySQL: LIMIT offset, size
            return SIZE
    return CONDITION
