"""A query for one key, rewritten as one for all keys."""

from __future__ import annotations

import re
from functools import lru_cache

from dbsight.detect.repetition import MAX_TEXTS, PLACEHOLDER
from dbsight.model.deferred import pattern

_NAME = r'(?:"[^"]+"|`[^`]+`|\[[^\]]+\]|[A-Za-z_]\w*)'
_COLUMN = rf"{_NAME}(?:\.{_NAME})*"
_VALUE = rf"{PLACEHOLDER}(?:::\w+)?"
_EQUALITY = pattern(rf"(?<![\w.])(?P<left>{_COLUMN})\s*=\s*{_VALUE}|{_VALUE}\s*=\s*(?P<right>{_COLUMN})")
_KEY = pattern(r"(?:^|_)(?:id|pk|key|uuid)\W?$|[a-z]Id\W?$")
_AGGREGATE = pattern(r"(?:count|sum|min|max|avg|total)\s*\(", re.IGNORECASE)
_SELECT = pattern(r"SELECT\s+(?:DISTINCT\s+)?", re.IGNORECASE)
_FROM = pattern(r"\sFROM\s", re.IGNORECASE)
_WHERE = pattern(r"\sWHERE\s", re.IGNORECASE)
_GROUPED = pattern(r"\s(?:GROUP|ORDER)\s+BY\s", re.IGNORECASE)
_TAIL = pattern(r"\s+(?:LIMIT|FETCH\s+FIRST)\s+[^()]*$", re.IGNORECASE)
_BRACKET = pattern(r"[()]")
_EXISTS = pattern(r"^SELECT\s+(?:\S+\s+)?EXISTS\s*$", re.IGNORECASE)
_COUNTED = pattern(r"^SELECT\s+count\([^()]*\)[^()]*\sFROM\s*$", re.IGNORECASE)

_MAX_READ = 5_000
_MAX_COLUMNS = 60
_MAX_REWRITTEN = 500


@lru_cache(maxsize=MAX_TEXTS)
def all_at_once(text: str) -> str:
    """Rewrite a query for one key as one for all keys.

    Args:
        text: Sanitised SQL.

    Returns:
        The query with ``column IN (…)`` in place of ``column = ?``; empty when it compares no column with a value.
        Of several compared columns, the name decides which is the key.

    Example:
        >>> all_at_once("SELECT name FROM products WHERE products.id = ? LIMIT 1")
        'SELECT products.id, name FROM products WHERE products.id IN (…)'
    """
    text = " ".join(text[:_MAX_READ].split())
    where = _WHERE.search(text)
    if where is None or _SELECT.match(text) is None:
        return ""
    found = list(_EQUALITY.finditer(text, where.end() - 1))
    if not found:
        return ""
    match = next((each for each in found if _KEY.search(each["left"] or each["right"])), found[0])
    column = match["left"] or match["right"]
    many = f"{column} IN (…)"
    begin, end = _query_around(text, match.start())
    before, query = text[:begin].removesuffix("("), f"{text[begin : match.start()]}{many}{text[match.end() : end]}"
    if not begin:
        rewritten = _with_key(query, column)
    elif _EXISTS.match(before):
        rewritten = _selecting(f"DISTINCT {column}", query)
    elif _COUNTED.match(before):
        rewritten = f"{_selecting(f'{column}, count(*)', query)} GROUP BY {column}"
    else:
        rewritten = f"{text[:begin]}{query}{text[end:]}"
    # A text whose FROM stands behind its WHERE has lost the condition among the columns.
    return next((each for each in (rewritten, many) if many in each and len(each) <= _MAX_REWRITTEN), "")


@lru_cache(maxsize=MAX_TEXTS)
def key_of(text: str) -> str:
    """Return the column by which a statement selects its row, without table and quotes; empty if none is compared.

    Args:
        text: Sanitised SQL.

    Example:
        >>> key_of('UPDATE stock SET pieces = ? WHERE stock."number" = ?')
        'number'
    """
    columns = compared(text)
    return next((each for each in columns if _KEY.search(each)), columns[0] if columns else "")


@lru_cache(maxsize=MAX_TEXTS)
def compared(text: str) -> tuple[str, ...]:
    """Return the columns that a statement compares with a value, without table and quotes.

    Args:
        text: Sanitised SQL.
    """
    text = " ".join(text[:_MAX_READ].split())
    where = _WHERE.search(text)
    found = _EQUALITY.finditer(text, where.end() - 1) if where is not None else ()
    return tuple(_bare(each["left"] or each["right"]) for each in found)


def _query_around(text: str, position: int) -> tuple[int, int]:
    """Return begin and end of the innermost SELECT around this position."""
    opened: list[int] = []
    for bracket in _BRACKET.finditer(text):
        place = bracket.start()
        if text[place] == "(":
            opened.append(place)
        elif opened:
            begin = opened.pop() + 1
            if begin <= position < place and _SELECT.match(text, begin):
                return begin, place
    return 0, len(text)


def _outside_brackets(pattern: re.Pattern[str], query: str) -> re.Match[str] | None:
    for match in pattern.finditer(query):
        ahead = query[: match.start()]
        if ahead.count("(") == ahead.count(")"):
            return match
    return None


def _selecting(columns: str, query: str) -> str:
    """Return the query with other columns; empty if it has no FROM."""
    source = _outside_brackets(_FROM, query)
    return f"SELECT {columns}{_TAIL.sub('', query[source.start() :])}" if source is not None else ""


def _with_key(query: str, column: str) -> str:
    """Add the key to the columns, and group by it if the query counts; empty if it has no FROM."""
    select = _SELECT.match(query)
    source = _outside_brackets(_FROM, query)
    if select is None or source is None:
        return ""
    columns = query[select.end() : source.start()]
    rest = _TAIL.sub("", query[source.start() :])
    if _AGGREGATE.match(columns) and not _GROUPED.search(rest):
        rest += f" GROUP BY {column}"
    if columns != "*" and _plain(column) not in {_plain(each) for each in columns.split(",")}:
        columns = f"{column}, {columns}"
    if len(columns) > _MAX_COLUMNS:
        columns = "…"
    return f"{select[0]}{columns}{rest}"


def _plain(column: str) -> str:
    """Return the bare name in lower case, without table, alias and quotes."""
    return _bare(column.strip().partition(" ")[0]).lower()


def _bare(column: str) -> str:
    return column.rpartition(".")[2].strip('"`[]')
