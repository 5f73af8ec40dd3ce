"""Columns that an index could search by, from the conditions of a plan or of a statement without literals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.plans.permission import check_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from dbsight.model import Plan, Statement

_NAME: Final = r"(?:[^\W\d]\w*|\"(?:[^\"]|\"\")+\"|`[^`]+`)"
_COMPARED: Final = re.compile(
    rf"(?<![\w.\"`:])(?:(?:{_NAME}\.)?(?P<owner>{_NAME})\.)?(?P<column>{_NAME})\)*(?:::[\w ]+?(?:\(\d+\))?)?\)?\s*"
    rf"(?P<operator><=>|=|<=|>=|<>|!=|<|>|in\b|between\b|is null\b)(?!\s*any)",
    re.IGNORECASE,
)
_RIGHT: Final = re.compile(
    rf"=\s*\(*(?:(?:{_NAME}\.)?(?P<owner>{_NAME})\.)(?P<column>{_NAME})"
    r"(?![\w(.])(?!\)*(?:::[\w ]+?)?\)*\s*[-+*/%|&#^])",
)
_CONDITIONS: Final = re.compile(
    r"\b(?:where|on|having)\b(.*?)"
    r"(?=\b(?:where|group by|order by|limit|having|(?:left|right|inner|cross|full)? ?join)\b|$)",
    re.IGNORECASE | re.DOTALL,
)
_CALL: Final = re.compile(r"[^\W\d]\w*\([^()]*\)(?:::\w+)?\)?\s*(?:=|<|>)")
_EQUAL: Final = frozenset(("=", "<=>", "in", "is null"))
_RANGE: Final = frozenset(("<", ">", "<=", ">=", "between"))
_OPERATORS: Final = frozenset(("+", "-", "*", "/", "%", "|", "&", "#", "^", "~", ">", "@"))
_WORD: Final = re.compile(r"[^\W\d]\w*$")
_QUALIFIER: Final = re.compile(rf"(?:{_NAME}\.)+$")
_BEFORE_BRACKET: Final = frozenset(
    ("and", "or", "not", "where", "on", "having", "in", "any", "all", "between", "exists", "row")
)
"""Words that may stand before a bracket and are no function."""
_NO_COLUMN: Final = frozenset(("and", "or", "not", "where", "on", "select", "null", "then", "when", "else", "case"))


class Columns(NamedTuple):
    """Columns that are compared, as they are written, without duplicates."""

    equal: tuple[str, ...] = ()
    ranged: tuple[str, ...] = ()

    @property
    def indexed(self) -> tuple[str, ...]:
        """Columns of one index: those tested for equality first, then one range."""
        return (*self.equal, *(column for column in self.ranged[:1] if column not in self.equal))


def columns(condition: str, owners: Collection[str], *, sole: bool) -> Columns:
    """Columns of one table that a condition compares.

    Args:
        condition: Without literals. With OR or a function in front of an operator, one index does not serve it.
        owners: Names that columns of the table are qualified with, in lower case.
        sole: Whether columns without a qualifier belong to the table.

    Returns:
        Those tested for equality and those tested for a range; none where it is not certain.
    """
    if re.search(r"\bor\b", condition, re.IGNORECASE):
        return Columns()
    equal: list[str] = []
    ranged: list[str] = []
    condition = _CALL.sub("", condition)
    for found in (*_COMPARED.finditer(condition), *_RIGHT.finditer(condition)):
        if _is_part(condition[: found.start("column")]):
            continue
        owner = (found["owner"] or "").strip('"`').lower()
        column = found["column"]
        operator = (found.groupdict().get("operator") or "=").lower()
        if column.lower() in _NO_COLUMN or (owner not in owners if owner else not sole):
            continue
        if operator in _EQUAL and column not in equal:
            equal.append(column)
        elif operator in _RANGE and column not in ranged:
            ranged.append(column)
    return Columns(tuple(equal), tuple(ranged))


def _is_part(before: str) -> bool:
    """Whether a column is an operand or an argument of an expression, which an index on the column does not serve.

    Args:
        before: What stands before it in the condition.
    """
    before = _QUALIFIER.sub("", before)
    if before.rstrip(" (")[-1:] in _OPERATORS:
        return True
    closed = 0
    for place in range(len(before) - 1, -1, -1):
        if before[place] == ")":
            closed += 1
        elif before[place] == "(" and closed:
            closed -= 1
        elif before[place] == "(":
            word = _WORD.search(before, 0, place)
            if word is not None and word[0].lower() not in _BEFORE_BRACKET:
                return True
    return False


def conditions(text: str) -> str:
    """What stands behind WHERE and ON in a statement, for databases whose plans do not say it.

    Returns:
        Conditions joined by AND; empty for a statement with a SELECT inside, where it is not clear whose they are.
    """
    if len(re.findall(r"\bselect\b", text, re.IGNORECASE)) > 1:
        return ""
    return " and ".join(found.strip() for found in _CONDITIONS.findall(text))


def aliases(text: str, statement: Statement) -> dict[str, str]:
    """Names of tables within a statement, aliases and their own, to the tables."""
    tables = {table.rpartition(".")[2].lower(): table.rpartition(".")[2] for table in statement.targets}
    names: dict[str, str] = {}
    tokens = [token.strip('"`[]') for token in check_text(text, statement.system)]
    for place, token in enumerate(tokens[:-1]):
        table = tables.get(token.rpartition(".")[2].lower())
        if table:
            follower = tokens[place + 1]
            if follower == "as" and place + 2 < len(tokens):
                follower = tokens[place + 2]
            names.setdefault(follower, table)
    return {**names, **{table: table for table in tables.values()}}


def resolve(plan: Plan, names: dict[str, str]) -> None:
    """Name the tables of a plan that names aliases."""
    for node in plan.nodes():
        table = names.get(node.table or "")
        if table and table != node.table:
            node.table, node.alias = table, node.table
