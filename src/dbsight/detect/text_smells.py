"""What the text of a statement asks for that is expensive on a large table."""

from __future__ import annotations

import linecache
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.detect.repetition import PLACEHOLDER
from dbsight.model.deferred import pattern

if TYPE_CHECKING:
    from dbsight.model import Operation, Statement

_MAX_READ: Final = 5_000
_MAX_STATEMENTS: Final = 500


class Smell(NamedTuple):
    """One of them.

    Attributes:
        name: ``select_star``, ``leading_wildcard`` …
        what: What the statement does, after "it".
        fix: What to write instead.
    """

    name: str
    what: str
    fix: str


_COLUMN: Final = r'(?:[\w"`\[\]]+\.)?[\w"`\[\]]+'
_WHERE: Final = r"\s(?:WHERE|AND|OR|ON|HAVING)\s+(?:NOT\s+)?\(*"
_SMELLS: Final = (
    (
        pattern(r"^SELECT\s+(?:DISTINCT\s+)?(?:\w+\.)?\*", re.IGNORECASE),
        Smell("select_star", "reads every column", "name the columns that are used: load_only(…), .only(…)"),
    ),
    (
        pattern(rf"\sI?LIKE\s+(?:CONCAT\s*\(\s*|\(\s*)*(?:{PLACEHOLDER}|'%')\s*(?:\|\||,)", re.IGNORECASE),
        Smell(
            "leading_wildcard",
            "compares with a pattern that begins with a wildcard, which no ordinary index serves",
            "a pattern that begins with text, a full-text or trigram index, or a join by key",
        ),
    ),
    (
        pattern(
            rf"{_WHERE}(?:lower|upper|trim|date|date_trunc|year|month|cast|coalesce|substr|substring|to_char|strftime)"
            rf"\s*\([^()]*{_COLUMN}[^()]*\)\s*(?:=|<|>|IN\b|LIKE\b|BETWEEN\b)",
            re.IGNORECASE,
        ),
        Smell(
            "function_on_column",
            "applies a function to a column before it compares, so that an index on the column does not serve",
            "compare the column itself (created >= :day AND created < :next_day), or an index on the expression",
        ),
    ),
    (
        pattern(r"\sORDER\s+BY\s+(?:random|rand|newid)\s*\(", re.IGNORECASE),
        Smell(
            "order_by_random",
            "sorts all rows to pick some at random",
            "draw keys in the application: WHERE id IN (…), or TABLESAMPLE",
        ),
    ),
    (
        pattern(r"\sNOT\s+IN\s*\(\s*SELECT\b", re.IGNORECASE),
        Smell(
            "not_in_subquery",
            "excludes by NOT IN (SELECT …), which also finds nothing once the subquery gives a NULL",
            "NOT EXISTS (SELECT 1 …), or a LEFT JOIN … WHERE … IS NULL",
        ),
    ),
    (
        pattern(
            rf"\sWHERE\s+\(*({_COLUMN})\s*(?:=|LIKE)\s*{PLACEHOLDER}\s+OR\s+(?!\1\b){_COLUMN}\s*(?:=|LIKE)\s*{PLACEHOLDER}",
            re.IGNORECASE,
        ),
        Smell(
            "or_over_columns",
            "joins conditions on several columns by OR, for which one index is not enough",
            "a UNION of one SELECT per column, or an index on each",
        ),
    ),
)
_CARTESIAN: Final = pattern(
    r"\sFROM\s+[\w\".`]+(?:\s+(?:AS\s+)?\w+)?\s*,\s*(?!LATERAL\b)[\w\".`]+(?![\w\".`]|\s*\()|\sCROSS\s+JOIN\s+(?!LATERAL\b)",
    re.IGNORECASE,
)
_CONDITION: Final = pattern(r"\s(?:WHERE|ON)\s|\sUSING\s*\(", re.IGNORECASE)


def smells_of(statement: Statement, many: int) -> tuple[Smell, ...]:
    """The smells of an SQL statement; those that a plan proves are told by ``bad_plan``, too.

    Args:
        statement: SQL.
        many: Values of an IN list above which it is long.
    """
    found = _read(statement.text, statement.kind, offset=statement.offset)
    if statement.kind == "select" and statement.in_length > many:
        values = f"has a list of {statement.in_length} values"
        found = (*found, Smell("long_in_list", values, "= ANY(:array), a temporary table, or a join"))
    return found


@lru_cache(maxsize=_MAX_STATEMENTS)
def _read(text: str, kind: str, *, offset: bool) -> tuple[Smell, ...]:
    text = " ".join(text[:_MAX_READ].split())
    if kind in {"update", "delete"}:
        if re.search(r"\sWHERE\s", text, re.IGNORECASE) is None:
            return (Smell("write_without_where", "writes every row of its table", "WHERE …, or TRUNCATE"),)
        return ()
    if kind != "select":
        return ()
    found = [smell for pattern, smell in _SMELLS if pattern.search(text)]
    if offset:
        skip = "reads and discards the rows in front of its page"
        found.append(Smell("offset", skip, ".where(key > last_seen).order_by(key).limit(n), instead of .offset(…)"))
    if _CARTESIAN.search(text) and _CONDITION.search(text) is None:
        found.append(Smell("cartesian_join", "joins every row with every other", "JOIN … ON …"))
    return tuple(found)


_COUNT: Final = pattern(r"SELECT\s+count\s*\([^()]*\)(?!.*\bGROUP\s+BY\b)", re.IGNORECASE | re.DOTALL)
_ZERO: Final = pattern(r"(?:>|!=|==|<=)\s*0\b|(?:>=|<)\s*1\b")
_TRUTH: Final = pattern(r"^(?:if|elif|while|assert)\s+(?:not\s+)?(?:(?!==|!=|[<>]).)*$|\bbool\(")


def tests_existence(statement: Statement, operation: Operation) -> tuple[Smell, ...]:
    """A COUNT of which the line of code only asks whether it is zero; nothing where the line cannot be read.

    Args:
        statement: SQL.
        operation: One execution, for its line.
    """
    site = operation.call_site
    if site is None or _COUNT.match(statement.text) is None:
        return ()
    line = linecache.getline(site.file, site.line).split("#")[0].strip()
    if "count" not in line or not (_ZERO.search(line) or _TRUTH.search(line)):
        return ()
    fix = "select(exists().where(…)), queryset.exists(), or SELECT 1 … LIMIT 1"
    return (Smell("count_for_existence", "counts all rows, of which the line only asks whether there is one", fix),)
