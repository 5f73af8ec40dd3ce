"""Statements to paste for a search of parts of texts: what serves ``LIKE '%word%'`` on each database."""

# ruff: noqa: S608 - the statements are to be pasted; their names are quoted

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.plans.predicates import aliases
from dbsight.plans.proof import clone
from dbsight.plans.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.model import Plan
    from dbsight.plans.options import Session

_NAME: Final = r"(?:[^\W\d]\w*|\"(?:[^\"]|\"\")+\"|`[^`]+`)"
_LIKE: Final = re.compile(
    rf"(?:\b(?:LOWER|UPPER)\s*\(\s*)?(?:(?:{_NAME}\.)?(?P<owner>{_NAME})\.)?(?P<column>{_NAME})\s*\)?(?:::\w+\)?)?\s+"
    r"I?LIKE\s*(?:\(\s*)?(?:(?:CONCAT|LOWER|UPPER)\s*\(\s*)?'(?P<pattern>[%_](?:[^']|'')*)'",
    re.IGNORECASE,
)
WHOLE: Final = "or compare whole values"


class Search(NamedTuple):
    """What is searched by a pattern."""

    table: str
    column: str
    pattern: str


def advice(plan: Plan, text: str, session: Session) -> tuple[str, str]:
    """Statements that create what serves the patterns of a statement, and whether the planner was seen to use it.

    Args:
        plan: The statement's.
        text: The statement with its values.
        session: Where it runs; on SQLite, its schema is copied to memory to try there.

    Returns:
        SQL, with comments on how the query changes; and ``proved`` or ``likely``.
    """
    found = next(_searches(plan, text), None)
    if found is None:
        return f"Index parts of the text (trigrams or full text), {WHOLE}", "likely"
    if plan.system == "sqlite":
        return _on_sqlite(found, session)
    return _OTHERS[plan.system](found, plan.system), "likely"


def _searches(plan: Plan, text: str) -> Iterator[Search]:
    names = aliases(text, plan.statement)
    tables = set(names.values())
    for match in _LIKE.finditer(text):
        owner = (match["owner"] or "").strip('"`')
        table = (
            names.get(owner) or names.get(owner.lower()) if owner else tables.copy().pop() if len(tables) == 1 else ""
        )
        if table and match["column"].upper() != "NOT":
            yield Search(table, match["column"].strip('"`'), match["pattern"])


def _label(found: Search, prefix: str) -> str:
    return re.sub(r"\W+", "_", f"{prefix}_{found.table}_{found.column}").lower()[:50]


def _on_sqlite(found: Search, session: Session) -> tuple[str, str]:
    label = _label(found, "fts")
    table, column = quoted(found.table), quoted(found.column)
    added = f"INSERT INTO {label} (rowid, {column}) VALUES (new.rowid, new.{column});"
    removed = f"INSERT INTO {label} ({label}, rowid, {column}) VALUES ('delete', old.rowid, old.{column});"
    content = found.table.replace("'", "''")
    statements = (
        f"CREATE VIRTUAL TABLE {label} USING fts5({column}, content='{content}', tokenize='trigram');",
        f"INSERT INTO {label} ({label}) VALUES ('rebuild');",
        f"CREATE TRIGGER {label}_insert AFTER INSERT ON {table} BEGIN {added} END;",
        f"CREATE TRIGGER {label}_delete AFTER DELETE ON {table} BEGIN {removed} END;",
        f"CREATE TRIGGER {label}_update AFTER UPDATE OF {column} ON {table} BEGIN {removed} {added} END;",
    )
    how = (
        f"-- in the query: WHERE {table}.rowid IN (SELECT rowid FROM {label} WHERE {column} LIKE :pattern)",
        f"-- for a whole word or phrase: … WHERE {label} MATCH '\"word\"'; three characters or more",
    )
    used = _is_used(session, statements, f"SELECT rowid FROM {label} WHERE {column} LIKE '{found.pattern}'")
    return "\n".join((*statements, *how)), "proved" if used else "likely"


def _is_used(session: Session, statements: tuple[str, ...], query: str) -> bool:
    """Whether SQLite's planner searches the table by its index; not where there is no FTS5, or no trigrams (3.34)."""
    try:
        with clone(session) as connection:
            for statement in statements:
                connection.execute(statement)
            steps = connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
    except sqlite3.Error:
        return False
    return any(re.search(r"VIRTUAL TABLE INDEX \d+:L", str(step[-1])) for step in steps)


def _on_postgresql(found: Search, system: str) -> str:
    index = f"CREATE INDEX CONCURRENTLY {_label(found, 'ix')}_trgm ON {quoted(found.table, system)}"
    return f"CREATE EXTENSION IF NOT EXISTS pg_trgm;\n{index} USING gin ({quoted(found.column, system)} gin_trgm_ops);"


def _on_mysql(found: Search, system: str) -> str:
    table, column = quoted(found.table, system), quoted(found.column, system)
    parser = " WITH PARSER ngram" if system == "mysql" else ""
    return (
        f"CREATE FULLTEXT INDEX {_label(found, 'ft')} ON {table} ({column}){parser};\n"
        f"-- in the query: WHERE MATCH ({column}) AGAINST (:word IN BOOLEAN MODE)"
    )


_OTHERS: Final = {"postgresql": _on_postgresql, "mysql": _on_mysql, "mariadb": _on_mysql}
