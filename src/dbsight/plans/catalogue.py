"""Columns and indexes of tables, read from the catalogue of the database.

SQLAlchemy's inspector leaves out indexes on expressions of SQLite, and cannot read MariaDB's tables in ``ANSI`` mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from dbsight.plans.options import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dbsight.plans.options import Session

_NAME: Final = re.compile(r'"(?:[^"]|"")+"')
_AND: Final = re.compile(r"\s+AND\s+", re.IGNORECASE)
_ADDED: Final = re.compile(r"""::[a-z]+(?: [a-z]+)*(?:\(\d+\))?|\b[A-Za-z_]\w*["`]?\.(?=["`A-Za-z_])|[()"`\s]""")
_WHERE: Final = re.compile(r"\)\s*WHERE\s+(?P<condition>.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Index:
    """An index that exists.

    Attributes:
        table: Its table.
        name: Its name; empty where it has none (SQLite's ``INTEGER PRIMARY KEY``).
        columns: Columns or expressions in order, with ``DESC`` behind those that are sorted downwards.
        unique: It ensures that values are unique.
        constraint: It belongs to a primary key, a unique constraint or an exclusion constraint, or as a partition's to
            the index of the whole table: it cannot be dropped alone.
        where: Condition of a partial index, empty for a whole one.
        method: Its kind, in lower case.
        included: Columns that are stored in it, but not searched by.
        options: What else distinguishes it: classes of operators, collations, lengths of prefixes.
        partitioned: Its table is partitioned, so that it cannot be created or dropped concurrently.
        valid: Whether queries use it: on PostgreSQL, not where ``CREATE INDEX CONCURRENTLY`` failed.
    """

    table: str
    name: str
    columns: tuple[str, ...]
    unique: bool = False
    constraint: bool = False
    where: str = ""
    method: str = "btree"
    included: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    valid: bool = True
    partitioned: bool = False

    def begins_with(self, columns: tuple[str, ...]) -> bool:
        """Whether it is a b-tree of the whole table that begins with these columns, read forwards or backwards."""
        wanted = _directed(columns)
        begun = _directed(self.columns[: len(wanted)])
        turned = [(name, not down) for name, down in begun]
        return self.valid and not self.where and self.method == "btree" and wanted in (begun, turned)

    def begins_with_the_rest(self, columns: tuple[str, ...], conditions: Mapping[str, str]) -> bool:
        """Whether it is limited to conditions of a statement, and begins with the columns that these do not fix.

        Args:
            columns: As for ``begins_with``.
            conditions: What the statement compares with a value, by column.
        """
        known = {_plain(condition): name for name, condition in conditions.items() if condition}
        fixed = {known.get(_plain(condition)) for condition in _AND.split(self.where)}
        if None in fixed:
            return False
        return replace(self, where="").begins_with(
            tuple(each for each in columns if each.removesuffix(" DESC") not in fixed)
        )


def _plain(condition: str) -> str:
    """A condition without what databases add to it: types, parentheses, quotes of names, the table."""
    return _ADDED.sub("", condition)


def _directed(columns: Iterable[str]) -> list[tuple[str, bool]]:
    return [(each.removesuffix(" DESC").lower(), each.endswith(" DESC")) for each in columns]


def columns_of(session: Session) -> dict[str, dict[str, str]]:
    """Tables that a name without a schema finds, with the names and types of their columns."""
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in session.rows(_COLUMNS[session.system]):
        tables.setdefault(str(table), {})[str(column)] = str(kind)
    return tables


def indexes_of(session: Session, tables: Iterable[str]) -> dict[str, list[Index]]:
    """Indexes by table, for all of these tables."""
    found: dict[str, list[Index]] = {table: [] for table in tables}
    if found:
        for index in _READERS[session.system](session, list(found)):
            if index.table in found:
                found[index.table].append(index)
    return found


def partitions_of(session: Session, table: str) -> list[tuple[str, float]]:
    """The partitions that hold the rows of a table of PostgreSQL, and how many; empty for one without partitions."""
    rows = session.rows(
        "WITH RECURSIVE down(oid) AS ("  # noqa: S608 - quoted
        f"SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'p' AND relname = {quoted(table)}"
        " AND pg_catalog.pg_table_is_visible(oid)"
        " UNION ALL SELECT i.inhrelid FROM down JOIN pg_catalog.pg_inherits AS i ON i.inhparent = down.oid)"
        " SELECT relname, reltuples FROM down JOIN pg_catalog.pg_class USING (oid) WHERE relkind = 'r'"
    )
    return [(str(name), max(0.0, float(size))) for name, size in rows]


_OF_POSTGRESQL: Final = """
SELECT t.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid
WHERE t.relkind IN ('r', 'p', 'm') AND pg_catalog.pg_table_is_visible(t.oid) AND a.attnum > 0 AND NOT a.attisdropped
    AND t.relnamespace <> 'pg_catalog'::regnamespace
ORDER BY t.relname, a.attnum
"""
_OF_MYSQL: Final = """
SELECT c.table_name, c.column_name, c.column_type
FROM information_schema.columns AS c
JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE'
ORDER BY c.table_name, c.ordinal_position
"""
_OF_SQLITE: Final = """
SELECT t.name, c.name, c.type FROM sqlite_master AS t, pragma_table_xinfo(t.name) AS c
WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND c.hidden <> 1
ORDER BY t.name, c.cid
"""
_COLUMNS: Final = {
    "sqlite": _OF_SQLITE,
    "postgresql": _OF_POSTGRESQL,
    "mysql": _OF_MYSQL,
    "mariadb": _OF_MYSQL,
}


def _on_sqlite(session: Session, tables: list[str]) -> Iterator[Index]:
    for table in tables:
        key = session.rows(f"SELECT name FROM pragma_table_xinfo({quoted(table)}) WHERE pk > 0 ORDER BY pk")  # noqa: S608 - quoted
        if key:
            yield Index(table, "", tuple(str(name) for (name,) in key), unique=True, constraint=True)
        rows = session.rows(
            'SELECT l.name, l."unique", l.origin, m.sql, p.name, p."desc", p.coll'  # noqa: S608 - quoted
            f" FROM pragma_index_list({quoted(table)}) AS l"
            " JOIN pragma_index_xinfo(l.name) AS p ON p.key = 1"
            " LEFT JOIN sqlite_master AS m ON m.type = 'index' AND m.name = l.name"
            " ORDER BY l.seq, p.seqno"
        )
        for (name, unique, origin, definition), parts in groupby(rows, key=lambda row: row[:4]):
            if origin == "pk":
                continue
            yield _sqlite_index(table, str(name), str(definition or ""), list(parts), bool(unique), origin == "u")


def _sqlite_index(
    table: str,
    name: str,
    definition: str,
    parts: list[Any],
    unique: bool,
    constraint: bool,
) -> Index:
    written = _terms(definition)
    names = [
        (str(part[4]) if part[4] is not None else _bare(written[place]) if place < len(written) else "")
        + " DESC" * bool(part[5])
        for place, part in enumerate(parts)
    ]
    condition = _WHERE.search(definition)
    return Index(
        table,
        name,
        tuple(names),
        unique=unique,
        constraint=constraint,
        where=condition["condition"].strip() if condition else "",
        options=tuple(str(part[6]) for part in parts),
    )


def _terms(definition: str) -> list[str]:
    """What stands between the parentheses of ``CREATE INDEX … ON table (…)``, at its commas."""
    opened = definition.find("(")
    if opened < 0:
        return []
    terms, depth, quote, current = [], 0, "", ""
    for character in definition[opened + 1 :]:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == ")" and depth == 0:
            break
        else:
            depth += (character == "(") - (character == ")")
        if character == "," and depth == 0 and not quote:
            terms.append(current.strip())
            current = ""
        else:
            current += character
    return [*terms, current.strip()]


def _bare(term: str) -> str:
    return re.sub(r"\s+(?:ASC|DESC)$", "", term, flags=re.IGNORECASE)


def _on_postgresql(session: Session, tables: list[str]) -> Iterator[Index]:
    rows = session.rows(
        "SELECT t.relname, i.relname, x.indisunique, c.oid IS NOT NULL OR EXISTS"  # noqa: S608 - quoted
        " (SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = x.indexrelid), x.indisvalid AND x.indisready,"
        " coalesce(pg_catalog.pg_get_expr(x.indpred, x.indrelid), ''), m.amname, x.indnkeyatts, t.relkind = 'p',"
        " n.place, pg_catalog.pg_get_indexdef(x.indexrelid, n.place, true),"
        " CASE WHEN n.place <= x.indnkeyatts AND m.amname = 'btree' THEN x.indoption[n.place - 1] & 1 ELSE 0 END,"
        " CASE WHEN n.place <= x.indnkeyatts"
        " THEN concat(x.indclass[n.place - 1], '/', x.indcollation[n.place - 1]) ELSE '' END"
        " FROM pg_catalog.pg_index AS x"
        " JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid"
        " JOIN pg_catalog.pg_am AS m ON m.oid = i.relam"
        " CROSS JOIN LATERAL generate_series(1, x.indnatts::int) AS n(place)"
        " LEFT JOIN pg_catalog.pg_constraint AS c ON c.conindid = x.indexrelid AND c.contype IN ('p', 'u', 'x')"
        f" WHERE t.relname IN ({', '.join(map(quoted, tables))}) AND pg_catalog.pg_table_is_visible(t.oid)"
        " ORDER BY t.relname, i.relname, n.place"
    )
    for first, parts in groupby(rows, key=lambda row: row[:9]):
        table, name, unique, constraint, valid, where, method, keys, partitioned = first
        terms = [(_unquoted(str(part[10])) + " DESC" * bool(part[11]), str(part[12])) for part in parts]
        yield Index(
            str(table),
            str(name),
            tuple(term for term, _ in terms[:keys]),
            unique=bool(unique),
            constraint=bool(constraint),
            where=str(where),
            method=str(method),
            included=tuple(term for term, _ in terms[keys:]),
            options=tuple(option for _, option in terms[:keys]),
            valid=bool(valid),
            partitioned=bool(partitioned),
        )


def _unquoted(term: str) -> str:
    return term[1:-1].replace('""', '"') if _NAME.fullmatch(term) else term


def _on_mysql(session: Session, tables: list[str]) -> Iterator[Index]:
    listed = ", ".join(map(quoted, tables))
    # Expressions of MySQL 8 have no column; MariaDB has none, nor a column for them in this view.
    named = "coalesce(column_name, concat('(', expression, ')'))" if session.system == "mysql" else "column_name"
    rows = session.rows(
        f"SELECT table_name, index_name, non_unique, index_type, {named}, collation, sub_part"  # noqa: S608 - quoted
        f" FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name IN ({listed})"
        " ORDER BY table_name, index_name, seq_in_index"
    )
    for (table, name, non_unique, method), group in groupby(rows, key=lambda row: row[:4]):
        parts = list(group)
        primary = name == "PRIMARY"
        index = Index(
            str(table),
            "" if primary else str(name),
            tuple(str(part[4]) + " DESC" * (part[5] == "D") for part in parts),
            unique=not int(non_unique),
            constraint=primary,
            method=str(method).lower(),
            options=tuple("" if part[6] is None else str(part[6]) for part in parts),
        )
        # The beginning of a text is another index than the text.
        yield replace(index, method="prefix") if any(index.options) and index.method == "btree" else index


_READERS: Final = {
    "sqlite": _on_sqlite,
    "postgresql": _on_postgresql,
    "mysql": _on_mysql,
    "mariadb": _on_mysql,
}
