"""Comments and quotes that the pattern cannot close by itself, and those that can be read in two ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from dbsight.statement.sql.scanner import Scanner

_WITHOUT_ESCAPES: Final = frozenset(("sqlite", "sql_server", "oracle"))
_CLOSING: Final = {"[": "]", "(": ")", "{": "}", "<": ">"}
_COMMENT_MARK: Final = pattern(r"/\*|\*/")


def read_opener(scanner: Scanner, start: int, end: int) -> int:
    """Read a comment that nests or never ends, a dollar string, or a quote that is not closed.

    Returns:
        The position behind it.
    """
    text = scanner.text
    token = text[start:end]
    first = token[0]
    if token.startswith("/*"):
        return _read_comment(scanner, start, end)
    if first == "$":
        close = text.find(token, end)
        return scanner.hide_rest(start) if close < 0 else scanner.hide(start, close + len(token))
    if first in "#/":
        return _read_hash(scanner, start, end)
    return scanner.hide_rest(start)


def read_letter(scanner: Scanner, start: int, end: int) -> int:
    """Read ``q'[it's]'`` as Oracle does; any other letter and quote begin a string that is not closed."""
    text = scanner.text
    if text[end - 2] in "qQ" and end < len(text):
        close = text.find(_CLOSING.get(text[end], text[end]) + "'", end + 1)
        if close >= 0:
            return scanner.hide(start, close + 2)
    return scanner.hide_rest(start)


def _read_comment(scanner: Scanner, start: int, end: int) -> int:
    text = scanner.text
    dialect = scanner.dialect
    if dialect.name == "mysql" and "!" in text[start:end]:
        scanner.executable += 1  # /*!40101 … */ is executed: only its marks are a comment
        return scanner.comment(start, end)
    if dialect.nests:
        if dialect.escapes is None and "/*" in text[end : text.find("*/", end)]:
            return scanner.hide_rest(start)  # where nesting is not known, neither is the end
        depth = 1
        for found in _COMMENT_MARK.finditer(text, end):
            depth += 1 if found[0] == "/*" else -1
            if not depth:
                return scanner.comment(start, found.end())
    scanner.truncated = True
    return scanner.comment(start, len(text))


def _read_hash(scanner: Scanner, start: int, end: int) -> int:
    """``#`` and ``//`` open a comment in some databases and are operators in others."""
    text = scanner.text
    if start >= scanner.bare_until:
        line_end = text.find("\n", start)
        line_end = line_end if line_end >= 0 else len(text)
        if any(text.find(quote, start, line_end) >= 0 for quote in "'\"`"):
            return scanner.hide_rest(start)
        scanner.bare_until = line_end
    if text[end : end + 1] in (" ", "\t"):
        return scanner.comment(start, scanner.bare_until)
    scanner.identity.append(text[start:end])
    return end


def is_ambiguous(scanner: Scanner, start: int, end: int) -> bool:
    r"""Whether a string with a backslash in it ends elsewhere where backslashes mean something else.

    ``'C:\'`` ends where it seems to in standard SQL, and goes on where a backslash escapes the quote behind it. The
    text does not tell which: databases have a switch (``NO_BACKSLASH_ESCAPES``, ``standard_conforming_strings``).
    """
    text = scanner.text
    quote = text[end - 1]
    if scanner.dialect.escapes:
        return text.find("\\" + quote, start + 1, end - 1) >= 0
    if text[start] in "eE" or scanner.dialect.name in _WITHOUT_ESCAPES:
        return False
    if text[start:end] == r"'\'" and scanner.identity[-1:] == ["escape"]:
        return False  # LIKE … ESCAPE '\'
    place = text.find(quote, start) + 1
    while place < end:
        char = text[place]
        place += 2 if char == "\\" else 1
        if char == quote:
            if place < end and text[place] == quote:
                place += 1
            else:
                return place != end
    return True
