"""IN lists, rows of VALUES and arrays: long lists are read in one step, and their length is no part of the query.

``IN (?, ?, ?)`` becomes ``IN (?)`` and ``VALUES (?, ?), (?, ?)`` becomes ``VALUES (?, ?)``, in the text as in the
identity: the first element stays as it was written. The semantic conventions allow that for IN; rows are the same case.
A list that holds anything but values and NULL keeps all its elements, and so does a row with a SELECT in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dbsight.statement.scanner import Scanner

IN: Final = 1
ARRAY: Final = 2
ROW: Final = 3
"""The first row of VALUES."""
EXTRA: Final = 4
"""Every other row."""

_SIMPLE: Final = frozenset(("?", ",", "(", ")", "null", "default", "true", "false", "row", "-", "+"))
_QUERY: Final = frozenset(("select", "with", "values", "table"))
# In a stretch of simple values: a string, a number that is no parameter's, a truth value.
_LITERAL: Final = re.compile(r"'|(?<![\w$:@?])\.?\d|\b(?:true|false)\b", re.IGNORECASE | re.ASCII)

_LONG: Final = 3  # commas after which reading ahead pays

_UNSET: Final = frozenset(("null", "default"))


class Frame:
    """A list that is being read.

    Attributes:
        sort: IN, ARRAY, ROW or EXTRA.
        mark: Where its identity begins.
        commas: How many of its own it has had.
        cut: Where identity and text ended before its first comma (an EXTRA row: before the comma in front of it).
        gone: Whether it was taken out whole.
    """

    __slots__ = ("commas", "cut", "gone", "mark", "sort")

    def __init__(self, sort: int, mark: int, cut: tuple[int, int] = (0, 0)) -> None:
        self.sort = sort
        self.mark = mark
        self.commas = 0
        self.cut = cut
        self.gone = False


def frame_for(scanner: Scanner, char: str, before: str) -> Frame | None:
    """The list that opens with this parenthesis or bracket; None when it is none."""
    identity = scanner.identity
    if char == "[":
        return Frame(ARRAY, len(identity) + 1) if before == "array" else None
    if before == "in":
        return Frame(IN, len(identity) + 1)
    rows = scanner.grammar.rows
    if rows == 1 and before in ("values", "row"):
        return Frame(ROW, len(identity) + 1)
    if rows == 2 and identity[scanner.cut[0] :] in ([","], [",", "row"]):
        return Frame(EXTRA, len(identity) + 1, scanner.cut)
    return None


def _flush(scanner: Scanner, start: int) -> tuple[int, int]:
    """Bring the text up to a comma, and return where identity and text end before it."""
    scanner.out.append(scanner.text[scanner.copied : start])
    scanner.copied = start
    return len(scanner.identity), len(scanner.out)


def comma_in_list(scanner: Scanner, start: int) -> int:
    """Pass a comma of a list or between rows, and with it as many simple elements as follow.

    Returns:
        The position behind what was read.
    """
    frame = scanner.frame
    if frame is not None:
        frame.commas += 1
    if scanner.grammar.rows == 2:
        return _comma_between_rows(scanner, start)
    if frame is not None and frame.sort != ROW:
        if frame.commas == 1 and frame.sort != EXTRA:
            frame.cut = _flush(scanner, start)
        if frame.commas >= _LONG:
            if (run := scanner.dialect.more(scanner.text, start)) is not None:
                return _take(scanner, frame, start, run.end(), ",")
            if (run := scanner.dialect.more_rows(scanner.text, start)) is not None:
                return _take(scanner, frame, start, run.end(), "(")
    scanner.identity.append(",")
    return start + 1


def _comma_between_rows(scanner: Scanner, start: int) -> int:
    scanner.cut = _flush(scanner, start)
    if (rows := scanner.dialect.more_rows(scanner.text, start)) is None:
        scanner.identity.append(",")
        return start + 1
    end = rows.end()
    if _LITERAL.search(scanner.text, start, end):
        scanner.literals += [
            literal for _, literal, _ in scanner.dialect.value.findall(scanner.text, start, end) if literal
        ]
    scanner.copied = end
    return end


def _take(scanner: Scanner, frame: Frame, start: int, end: int, between: str) -> int:
    """Take a stretch of simple elements of a list; ``between`` is what stands once in front of each."""
    text = scanner.text
    if _LITERAL.search(text, start, end) is None:
        count = text.count(between, start, end)
    else:
        values = scanner.dialect.value.findall(text, start, end)
        scanner.literals += [literal for _, literal, _ in values if literal]
        count = sum(1 for _, _, row in values if row) if between == "(" else len(values)
        # Shown only when something that is no value follows: else the list is cut behind its first element.
        shown = "".join([f", {other or '?'}" for other, _, row in values if not row])
        scanner.out.append(text[scanner.copied : start] + shown)
        scanner.copied = end
    frame.commas += count - 1
    scanner.identity += [",", "?"] * count
    return end


def close_list(scanner: Scanner, frame: Frame, start: int, end: int) -> None:
    """A list ends: forget all but its first element where it is made of values alone."""
    identity = scanner.identity
    elements = identity[frame.mark :]
    if frame.sort == EXTRA:
        if "select" not in elements:
            _forget(scanner, frame, end)
            frame.gone = True
        return
    if frame.sort == ROW:
        # A row with a NULL in it is a row like any other.
        identity[frame.mark :] = ["?" if word in _UNSET else word for word in elements]
        return
    if not elements or elements[0] in _QUERY:
        return
    scanner.in_length = max(scanner.in_length, frame.commas + 1)
    if frame.commas and _SIMPLE.issuperset(elements):
        _forget(scanner, frame, start)


def _forget(scanner: Scanner, frame: Frame, position: int) -> None:
    in_identity, in_text = frame.cut
    del scanner.identity[in_identity:]
    del scanner.out[in_text:]
    scanner.copied = position
