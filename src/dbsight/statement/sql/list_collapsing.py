"""IN lists, rows of VALUES and arrays: long lists are read in one step, and their length is no part of the query.

``IN (?, ?, ?)`` becomes ``IN (?)`` and ``VALUES (?, ?), (?, ?)`` becomes ``VALUES (?, ?)``, in the text as in the
identity: the first element stays as it was written. The semantic conventions allow that for IN; rows are the same case.
A list that holds anything but values and NULL keeps all its elements, and so does a row with a SELECT in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from dbsight.statement.sql.scanner import Scanner

IN: Final = 1
ARRAY: Final = 2
ROW: Final = 3
"""The first row of VALUES."""
EXTRA: Final = 4
"""Every other row."""

_SIMPLE: Final = frozenset(("?", ",", "(", ")", "null", "default", "true", "false", "row", "-", "+"))
_QUERY: Final = frozenset(("select", "with", "values", "table"))
# In a stretch of simple values: a string, a number that is no parameter's, a truth value.
_LITERAL: Final = pattern(r"'|(?<![\w$:@?])\.?\d|\b(?:true|false)\b", re.IGNORECASE | re.ASCII)

_BEHIND: Final = 16_384
"""Characters that are read behind a list that was skipped."""

_LONG: Final = 3  # commas after which reading ahead pays

_UNSET: Final = frozenset(("null", "default"))

_LONG_RUN: Final = 4_096
"""Characters of simple elements from which on they are one literal: to take each by itself would cost more than SQL."""

_QUOTED: Final = pattern(r"'[^']*'")
_NEXT_ROW: Final = pattern(r"\s*,\s*(?:row\s*)?\(", re.IGNORECASE)


class Nesting:
    """What lists in lists have in common: each part of the identity is looked through once for all of them.

    Attributes:
        lists: How many lists are open.
        rows: How many of them are a first row of VALUES.
        odd: Where the latest token of the identity is that is no simple element.
        select: Where the latest SELECT is.
        seen: How much of the identity was looked through.
    """

    __slots__ = ("lists", "odd", "rows", "seen", "select")

    def __init__(self) -> None:
        self.lists = self.rows = self.seen = 0
        self.odd = self.select = -1

    def enter(self, frame: Frame) -> Frame:
        """A list begins."""
        if not self.lists:
            self.seen = frame.mark  # what stands in front of the outermost list is of no interest
        self.lists += 1
        self.rows += frame.sort == ROW
        return frame

    def leave(self, frame: Frame) -> None:
        """A list ends."""
        self.lists -= 1
        self.rows -= frame.sort == ROW

    def look(self, identity: list[str]) -> None:
        """Look through what was added since."""
        for place in range(self.seen, len(identity)):
            word = identity[place]
            if word not in _SIMPLE:
                self.odd = place
                if word == "select":
                    self.select = place
        self.seen = len(identity)

    def cut(self, end: int) -> None:
        """The identity lost what stood from there on; lists around it keep in mind that it was there."""
        self.seen = min(self.seen, end)
        self.odd = min(self.odd, end - 1)
        self.select = min(self.select, end - 1)


class Frame:
    """A list that is being read.

    Attributes:
        sort: IN, ARRAY, ROW or EXTRA.
        mark: Where its identity begins.
        commas: How many of its own it has had.
        cut: Where identity and text ended before its first comma (an EXTRA row: before the comma in front of it).
        gone: Whether it was taken out whole.
        skipped: Whether some of its elements were not looked at: all but the first are forgotten.
    """

    __slots__ = ("commas", "cut", "gone", "mark", "skipped", "sort")

    def __init__(self, sort: int, mark: int, cut: tuple[int, int] = (0, 0)) -> None:
        self.sort = sort
        self.mark = mark
        self.commas = 0
        self.cut = cut
        self.gone = False
        self.skipped = False


def frame_for(scanner: Scanner, char: str, before: str) -> Frame | None:
    """The list that opens with this parenthesis or bracket; None when it is none."""
    mark = len(scanner.identity) + 1
    enter = scanner.nesting.enter
    if char == "[":
        return enter(Frame(ARRAY, mark)) if before == "array" else None
    if before == "in":
        return enter(Frame(IN, mark))
    rows = scanner.grammar.rows
    if rows == 1 and before in ("values", "row"):
        return enter(Frame(ROW, mark))
    cut = scanner.cut[0]
    if rows == 2 and mark - cut <= 3 and scanner.identity[cut:] in ([","], [",", "row"]):
        return enter(Frame(EXTRA, mark, scanner.cut))
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
    scanner.limit += end - start
    if end - start >= _LONG_RUN:
        scanner.literals.append(scanner.text[start:end])
    elif _LITERAL.search(scanner.text, start, end):
        scanner.literals += [
            literal for _, literal, _ in scanner.dialect.value.findall(scanner.text, start, end) if literal
        ]
    scanner.copied = end
    return end


def _take(scanner: Scanner, frame: Frame, start: int, end: int, between: str) -> int:
    """Take a stretch of simple elements of a list; ``between`` is what stands once in front of each."""
    text = scanner.text
    scanner.limit += end - start
    if end - start >= _LONG_RUN:
        run = text[start:end]
        scanner.literals.append(run)
        scanner.copied = end
        frame.skipped = True
        frame.commas += _QUOTED.sub("", run).count(between) - 1
        return end
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
    nesting = scanner.nesting
    nesting.leave(frame)
    if frame.sort == ROW:
        if not nesting.rows:
            # A row with a NULL in it is a row like any other.
            identity[frame.mark :] = ["?" if word in _UNSET else word for word in identity[frame.mark :]]
        return
    nesting.look(identity)
    if frame.sort == EXTRA:
        if nesting.select < frame.mark:
            _forget(scanner, frame, end)
            frame.gone = True
        return
    if len(identity) == frame.mark or identity[frame.mark] in _QUERY:
        return
    scanner.in_length = max(scanner.in_length, frame.commas + 1)
    if frame.commas and (frame.skipped or nesting.odd < frame.mark):
        _forget(scanner, frame, start)


def _forget(scanner: Scanner, frame: Frame, position: int) -> None:
    in_identity, in_text = frame.cut
    del scanner.identity[in_identity:]
    del scanner.out[in_text:]
    scanner.copied = position
    scanner.nesting.cut(in_identity)


def _outermost(scanner: Scanner) -> tuple[Frame, int] | None:
    """The outermost open list that can do without the rest of its elements, and how many parentheses are open in it."""
    chain = [*scanner.frames, scanner.frame]
    identity = scanner.identity
    for depth, frame in enumerate(chain):
        if frame is None or frame.sort == ROW or (frame.sort != EXTRA and not frame.commas):
            continue
        if frame.sort == EXTRA or identity[frame.mark] not in _QUERY:
            return frame, len(chain) - 1 - depth
    return None


def leave_list(scanner: Scanner, position: int) -> None:
    """The text ends within a list, or what comes is not read: forget what was read of it but its first element."""
    found = _outermost(scanner)
    if found is not None:
        _forget(scanner, found[0], position)


def skip_list(scanner: Scanner, position: int) -> int:
    """Pass the rest of a list whose elements are too many to be read one by one.

    Returns:
        The position of what closes it; 0 where the scanner is in no list, or its end is not certain.
    """
    found = _outermost(scanner)
    if found is None or not scanner.skips or scanner.dialect.escapes is None:
        return 0
    frame, depth = found
    behind, commas = _end_of_list(scanner, position, depth, rows=frame.sort == EXTRA)
    if not behind:
        return 0
    for _ in range(depth):
        if scanner.frame is not None:
            scanner.nesting.leave(scanner.frame)
        scanner.frame = scanner.frames.pop()
        scanner.grammar.close()
    if scanner.doubt < 0 and scanner.text.find("\\", position, behind) >= 0:
        scanner.doubt = position
    scanner.skips -= 1
    scanner.literals.append(scanner.text[position:behind])
    scanner.copied = behind
    scanner.limit = behind + _BEHIND
    frame.skipped = True
    frame.commas += commas
    return behind


def _end_of_list(scanner: Scanner, position: int, depth: int, *, rows: bool) -> tuple[int, int]:
    """Where a list is closed, and how many commas of its own come before; 0 where that is not certain."""
    text = scanner.text
    filling = scanner.dialect.filling
    commas = 0
    while position < len(text):
        char = text[position]
        if char in "([":
            depth += 1
            position += 1
        elif char in ")]":
            if not depth:
                following = _NEXT_ROW.match(text, position + 1) if rows else None
                if following is None:
                    return position, commas
                position = following.end()
            else:
                depth -= 1
                position += 1
        elif (found := filling(text, position)) is not None:
            if not depth:
                commas += text.count(",", position, found.end())
            position = found.end()
        else:
            return 0, 0
    return 0, 0
