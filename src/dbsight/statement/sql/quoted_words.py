"""SQLite takes a word in double quotes for a string where no column has that name: what is certainly a name.

The columns are not known here. A word is a name where nothing but a name can stand, or where a string would make no
sense; anything else is hidden.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dbsight.model.deferred import pattern
from dbsight.statement.sql.clauses import KEYWORDS
from dbsight.statement.sql.states import (
    ALIAS,
    CTE,
    DELETING,
    INDEXED,
    INSERT,
    INTO,
    OBJECT,
    SELECT,
    TABLE,
    UPDATE,
)
from dbsight.statement.sql.vocabulary import DEFINING, words

if TYPE_CHECKING:
    from dbsight.statement.sql.grammar import Grammar
    from dbsight.statement.sql.scanner import Scanner

_NAMED: Final = frozenset({TABLE, INTO, DELETING, OBJECT, INDEXED, CTE})
_IN_DEFINITIONS: Final = frozenset(("constraint", "references", "collate"))
_PLAIN: Final = pattern(r"\w[\w $-]*")
_LISTED: Final = frozenset(("(", ",", "by", "returning"))
_BEFORE_COLUMN: Final = frozenset(("select", "distinct", "all", ","))
_BEFORE_OPERAND: Final = words("where and or not on having when (")
_VALUES_BEHIND: Final = words("like glob match regexp between then else limit offset default check")
_COLUMN_FOLLOWS: Final = pattern(r"\s*(?:,|(?:from|as)\b)", re.IGNORECASE)
_LABEL_FOLLOWS: Final = pattern(r"\s*(?:,|\)|from\b|\Z)", re.IGNORECASE)
_IS_SET: Final = pattern(r"\s*=")
# An operand that is compared with a constant or a bound value is a column: comparing two constants is pointless.
_IS_COMPARED: Final = pattern(
    r"\s*(?:[=<>!]{1,2}|(?:(?:not\s+)?(?:like|glob|in|between|match|regexp)|is(?:\s+not)?)\b)"
    r"\s*\(?\s*(?:[?:@$'\"\d.%+-]|(?i:null|x'))",
    re.IGNORECASE,
)


def is_name(scanner: Scanner, start: int, end: int) -> bool:
    """Whether the word in double quotes that stands here is certainly a name."""
    token = scanner.text[start:end]
    expect = scanner.grammar.expect
    if expect in _NAMED or token in scanner.names or '"' in token[1:-1].replace('""', ""):
        return True  # a table, a name that was seen, a chain of names: a quote in a string is doubled
    before = scanner.identity[-1] if scanner.identity else ""
    if before == "as" or (_PLAIN.fullmatch(token, 1, len(token) - 1) and _stands_for_a_name(scanner, end, before)):
        scanner.names.add(token)
        return True
    return False


def _stands_for_a_name(scanner: Scanner, end: int, before: str) -> bool:
    grammar = scanner.grammar
    text = scanner.text
    if grammar.expect == ALIAS:
        return True
    if scanner.frame is not None or grammar.endless:
        return False  # an element of a list or row; the body of a trigger
    if before in _LISTED and grammar.names:
        return True
    if grammar.kind == "ddl" and (before in _IN_DEFINITIONS or grammar.op in DEFINING):
        return before not in _VALUES_BEHIND and before[-1:] not in "=<>!|"
    if before in ("set", ",") and grammar.op in (UPDATE, INSERT) and _IS_SET.match(text, end):
        return True
    return (before in _BEFORE_OPERAND and _IS_COMPARED.match(text, end) is not None) or _is_selected(grammar, text, end)


def _is_selected(grammar: Grammar, text: str, end: int) -> bool:
    """A column of a SELECT from a table, or the label of one; what an INSERT selects is rather a value."""
    if grammar.op != SELECT or grammar.kind == "insert" or grammar.listed:
        return False
    before = grammar.identity[-1]
    if before in _BEFORE_COLUMN:
        if grammar.identity[-3:-2] == ["exists"]:
            return False  # EXISTS (SELECT "x" FROM t): any value does
        return _COLUMN_FOLLOWS.match(text, end) is not None
    is_operand = before in (")", "?") or (before[-1:].isalnum() and before not in KEYWORDS)
    return is_operand and _LABEL_FOLLOWS.match(text, end) is not None
