"""Columns that a statement compares as another type than their own, so that an index on them does not serve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbsight.model import PlanIssue
from dbsight.plans.catalogue import columns_of
from dbsight.plans.issues import LARGE_TABLE
from dbsight.plans.options import quoted
from dbsight.plans.predicates import conditions
from dbsight.plans.wording import quoted as identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.model import Plan, PlanNode
    from dbsight.plans.options import Session

_NAME: Final = r"(?:[^\W\d]\w*|\"(?:[^\"]|\"\")+\"|`[^`]+`)"
_CAST: Final = re.compile(
    rf"\((?:{_NAME}\.)*(?P<column>{_NAME})\)::(?P<kind>[a-z][\w ]*?)(?:\(\d+(?:,\d+)?\))?\)?"
    rf"\s=\s(?:ANY\s\()?\(?(?:'|\d|-|\$\d|ARRAY\b)"
)
"""PostgreSQL writes each conversion into the condition of its plan: ``((sku)::integer = 42)``."""

_NUMBER: Final = r"-?\d[\d.]*(?:e[+-]?\d+)?"
_WITH_NUMBER: Final = re.compile(
    rf"(?:{_NAME}\.)*(?P<column>{_NAME})\s*(?:<=>|=|\bin\s*\()\s*{_NUMBER}(?![\w'])"
    rf"|(?<![\w'.]){_NUMBER}\s*(?:<=>|=)\s*(?:{_NAME}\.)*(?P<turned>{_NAME})(?![\w.(])",
    re.IGNORECASE,
)
"""MariaDB and MySQL leave the condition as it was written, and convert each text of the column to a number."""

_AS_DOUBLE: Final = re.compile(rf"\bcast\((?:{_NAME}\.)*(?P<column>{_NAME}) as double\)", re.IGNORECASE)
"""MySQL from 8.0.21 on writes the conversion into the condition: ``(cast(`shop`.`parts`.`sku` as double) = 42)``."""

_JOINED: Final = re.compile(
    rf"(?P<one>{_NAME})\.(?P<column>{_NAME})\s*(?:<=>|=)\s*(?P<other>{_NAME})\.(?P<with>{_NAME})(?![\w.(])",
    re.IGNORECASE,
)
"""Columns of two tables that are compared; MariaDB's plan has no condition for a join that no index serves."""

_LITERAL: Final = re.compile(r"'(?:[^']|'')*'")
_ESCAPED: Final = re.compile(r"'(?:[^'\\]|''|\\.)*'")
_TEXTS: Final = ("text", "character varying")
_NUMBERS: Final = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year")
_STRINGS: Final = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")


class _Cast(NamedTuple):
    column: str
    own: str
    other: str
    compared: str


def casts(plan: Plan, session: Session) -> Iterator[PlanIssue]:
    """An issue per column of a large table that is compared as another type, from the plan and the column's type.

    Args:
        plan: Of a statement on PostgreSQL, MariaDB or MySQL; SQLite has no conversion that an index would not survive.
        session: Where it runs; asked for types only when a condition may convert a column.
    """
    read = _READERS.get(plan.system)
    if read is None:
        return
    large = [
        node for node in plan.nodes() if node.relation and (node.table_rows is None or node.table_rows >= LARGE_TABLE)
    ]
    patterns = (_CAST,) if plan.system == "postgresql" else (_WITH_NUMBER, _AS_DOUBLE)
    nodes = [node for node in large if any(pattern.search(node.filter or "") for pattern in patterns)]
    joined = [] if plan.system == "postgresql" else [*_JOINED.finditer(conditions(plan.statement.text))]
    scanned = [node for node in large if node.kind == "seq_scan"] if joined else []
    if not nodes and not scanned:
        return
    tables = columns_of(session)
    for node in nodes:
        for cast in read(node, tables.get(_bare(node.relation or ""), {}), session):
            yield _issue(node, cast)
    for node in scanned:
        for cast in _joined(node, joined, plan, tables):
            yield _issue(node, cast)


def _issue(node: PlanNode, cast: _Cast) -> PlanIssue:
    return PlanIssue(
        "implicit_cast",
        "warning",
        f"compares {cast.column} of {node.table}, which is {cast.own}, as {cast.other}: each value of the"
        " column is converted, and no index on it serves",
        cast.compared,
        node,
    )


def _on_postgresql(node: PlanNode, types: dict[str, str], session: Session) -> Iterator[_Cast]:
    for match in _CAST.finditer(_LITERAL.sub("''", node.filter or "")):
        column, kind = _bare(match["column"]), match["kind"].strip()
        own = types.get(column)
        if own is None:
            continue
        base = _base(own, session)
        if _alike(base, kind):
            continue
        name = identifier(column)
        if kind == "date" and base.startswith("timestamp"):
            fix = f"{name} >= :day AND {name} < :next_day  # the range instead of the date of each row"
        else:
            fix = f"{name} = CAST(:value AS {own})  # a value of the column's type, instead of the column as {kind}"
        yield _Cast(column, own, kind, fix)


def _on_mysql(node: PlanNode, types: dict[str, str], _: Session) -> Iterator[_Cast]:
    kinds = {name.lower(): kind for name, kind in types.items()}
    condition = _ESCAPED.sub("''", node.filter or "")
    compared = [match["column"] or match["turned"] for match in _WITH_NUMBER.finditer(condition)]
    compared += [match["column"] for match in _AS_DOUBLE.finditer(condition)]
    for column in map(_bare, dict.fromkeys(compared)):
        own = kinds.get(column.lower(), "")
        if _plain(own) in _STRINGS:
            name = identifier(column, "mysql")
            fix = f"{name} = CAST(:value AS CHAR)  # or a str as the value: a text, instead of the column as a number"
            yield _Cast(column, own, "a number", fix)


def _joined(
    node: PlanNode, joined: Sequence[re.Match[str]], plan: Plan, tables: dict[str, dict[str, str]]
) -> Iterator[_Cast]:
    """The texts of a table that is read as a whole, each of which is converted to compare it with another's numbers."""
    owners = {name.lower(): each for each in plan.nodes() for name in (each.table, each.alias) if name}
    for match in joined:
        sides = [(match["one"], match["column"]), (match["other"], match["with"])]
        for (owner, column), (other, number) in (sides, sides[::-1]):
            if owners.get(_bare(owner).lower()) is not node:
                continue
            own = _type(tables, node, column)
            of_other = _type(tables, owners.get(_bare(other).lower()), number)
            if _plain(own) in _STRINGS and _plain(of_other) in _NUMBERS:
                fix = f"{owner}.{column} = CAST({other}.{number} AS CHAR)  # the number as a text"
                yield _Cast(_bare(column), own, "a number", fix)


def _type(tables: dict[str, dict[str, str]], node: PlanNode | None, column: str) -> str:
    kinds = tables.get(_bare(node.relation), {}) if node is not None and node.relation else {}
    return next((kind for name, kind in kinds.items() if name.lower() == _bare(column).lower()), "")


def _plain(kind: str) -> str:
    """A type of MySQL without its length and its signs."""
    return kind.partition("(")[0].partition(" ")[0].lower()


_READERS: Final[dict[str, Any]] = {"postgresql": _on_postgresql, "mariadb": _on_mysql, "mysql": _on_mysql}


def _alike(own: str, other: str) -> bool:
    """Whether an index on a column serves its values as the other type: what PostgreSQL only calls otherwise."""
    plain = own.partition("(")[0].strip()
    return plain == other or {plain, other} <= set(_TEXTS) or (plain, other) == ("cidr", "inet")


def _base(own: str, session: Session) -> str:
    """The type below a domain."""
    rows = session.rows(
        "SELECT pg_catalog.format_type(typbasetype, typtypmod) FROM pg_catalog.pg_type"  # noqa: S608 - quoted
        f" WHERE typtype = 'd' AND oid = pg_catalog.to_regtype({quoted(own)})"
    )
    return str(rows[0][0]) if rows else own


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name[:1] in ('"', "`") else name
