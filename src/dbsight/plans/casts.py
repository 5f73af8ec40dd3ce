"""Columns that a statement compares as another type than their own, so that an index on them does not serve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbsight.model import PlanIssue
from dbsight.plans.catalogue import columns_of
from dbsight.plans.issues import LARGE_TABLE
from dbsight.plans.options import quoted
from dbsight.plans.wording import quoted as identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

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

_LITERAL: Final = re.compile(r"'(?:[^']|'')*'")
_ESCAPED: Final = re.compile(r"'(?:[^'\\]|''|\\.)*'")
_TEXTS: Final = ("text", "character varying")
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
    nodes = [
        node
        for node in plan.nodes()
        if node.relation and node.filter and (node.table_rows is None or node.table_rows >= LARGE_TABLE)
    ]
    pattern = _CAST if plan.system == "postgresql" else _WITH_NUMBER
    nodes = [node for node in nodes if pattern.search(node.filter or "")]
    if not nodes:
        return
    tables = columns_of(session)
    for node in nodes:
        for cast in read(node, tables.get(_bare(node.relation or ""), {}), session):
            yield PlanIssue(
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
    for match in _WITH_NUMBER.finditer(_ESCAPED.sub("''", node.filter or "")):
        column = _bare(match["column"] or match["turned"])
        own = kinds.get(column.lower(), "")
        if own.partition("(")[0].lower() in _STRINGS:
            name = identifier(column, "mysql")
            fix = f"{name} = CAST(:value AS CHAR)  # or a str as the value: a text, instead of the column as a number"
            yield _Cast(column, own, "a number", fix)


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
