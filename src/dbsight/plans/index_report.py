"""``index_report``: indexes that could be dropped, because another one does the same or nobody uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from opentelemetry.instrumentation.utils import suppress_instrumentation

from dbsight.model import IndexReport, SuperfluousIndex
from dbsight.plans.activity import permitted
from dbsight.plans.catalogue import columns_of, indexes_of
from dbsight.plans.errors import described
from dbsight.plans.issues import LARGE_TABLE
from dbsight.plans.sessions import SQLAlchemySession, check_pool, opened, system_of
from dbsight.plans.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.plans.catalogue import Index
    from dbsight.plans.options import Session

_PERFORMANCE_SCHEMA: Final = """
SELECT u.object_name, u.index_name, u.count_star, NULL, t.table_rows
FROM performance_schema.table_io_waits_summary_by_index_usage AS u
JOIN information_schema.tables AS t ON t.table_schema = u.object_schema AND t.table_name = u.object_name
WHERE u.object_schema = DATABASE() AND u.index_name IS NOT NULL
"""
_USERSTAT: Final = """
SELECT i.table_name, i.index_name, coalesce(max(u.rows_read), 0), NULL, max(t.table_rows)
FROM information_schema.statistics AS i
JOIN information_schema.tables AS t ON t.table_schema = i.table_schema AND t.table_name = i.table_name
LEFT JOIN information_schema.index_statistics AS u
    ON u.table_schema = i.table_schema AND u.table_name = i.table_name AND u.index_name = i.index_name
WHERE i.table_schema = DATABASE()
GROUP BY i.table_name, i.index_name
"""
_POSTGRESQL: Final = """
SELECT s.relname, s.indexrelname, s.idx_scan, pg_catalog.pg_relation_size(s.indexrelid), t.reltuples
FROM pg_catalog.pg_stat_user_indexes AS s JOIN pg_catalog.pg_class AS t ON t.oid = s.relid
WHERE pg_catalog.pg_table_is_visible(s.relid)
"""
_FOREIGN_KEYS: Final = """
SELECT table_name, column_name FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL AND ordinal_position = 1
"""


class _Use(NamedTuple):
    scans: int
    size: int | None
    table_rows: float


def index_report(engine: Any, *, timeout: float = 10.0, lock_timeout: float = 1.0) -> Any:
    """Find indexes that could be dropped: SQLite, PostgreSQL, MariaDB, MySQL.

    Nothing is changed. Indexes of primary keys and constraints are never named, unique ones only where another unique
    one has the same columns. What nobody used is told by the statistics of the server that is asked: a replica's
    queries are not among them.

    Args:
        engine: SQLAlchemy ``Engine``, ``Connection``, ``AsyncEngine`` or ``AsyncConnection``. Tables of its default
            schema (PostgreSQL: of its search path) are examined.
        timeout: s that each query of the catalogue may run on PostgreSQL.
        lock_timeout: s that it may wait for a lock there.

    Returns:
        An ``IndexReport``. For an asynchronous engine or connection, an awaitable of it.

    Raises:
        ExplainError: The catalogue cannot be read, or the database is none of these.
    """
    if hasattr(engine, "sync_engine"):
        return _report_async(engine, timeout=timeout, lock_timeout=lock_timeout)
    system_of(engine.dialect)
    with suppress_instrumentation(), described(), opened(engine) as connection:
        session = SQLAlchemySession(connection)
        if session.system != "postgresql":
            return _report(session)
        with session.transaction():
            limits = f"set_config('statement_timeout', '{max(1, round(timeout * 1e3))}', true)"
            session.rows(f"SELECT {limits}, set_config('lock_timeout', '{max(1, round(lock_timeout * 1e3))}', true)")
            return _report(session)


async def _report_async(engine: Any, **options: float) -> IndexReport:
    def report(connection: Any) -> IndexReport:
        found: IndexReport = index_report(connection, **options)
        return found

    if hasattr(engine, "run_sync"):  # a connection
        result: IndexReport = await engine.run_sync(report)
        return result
    check_pool(engine.sync_engine.pool)
    with suppress_instrumentation(), described():
        async with engine.connect() as connection:
            found: IndexReport = await connection.run_sync(report)
    return found


def _report(session: Session) -> IndexReport:
    indexes = indexes_of(session, columns_of(session))
    uses, since = _uses(session)
    needed = set(session.rows(_FOREIGN_KEYS)) if session.system in ("mysql", "mariadb") else set()
    found = []
    for table, all_of_it in sorted(indexes.items()):
        dropped: set[str] = set()
        for index in sorted(all_of_it, key=lambda each: (len(each.columns), each.unique, each.name)):
            if not index.name or index.constraint:
                continue
            use = (uses or {}).get((table, index.name))
            others = [each for each in all_of_it if each is not index and each.name not in dropped]
            for reason, instead in _reasons(index, others, use, required=(table, index.columns[0]) in needed):
                dropped.add(index.name)
                found.append(_described(session.system, index, reason, instead, use))
                break
    return IndexReport(tuple(found), usage_known=uses is not None, usage_since=since)


_Reason = Literal["invalid", "duplicate", "prefix", "unused"]


def _reasons(index: Index, others: list[Index], use: _Use | None, *, required: bool) -> Iterator[tuple[_Reason, str]]:
    if not index.valid:
        yield "invalid", ""
        return
    for other in others:
        if _serves(other, index):
            reason: _Reason = "duplicate" if len(other.columns) == len(index.columns) else "prefix"
            yield reason, other.name or "the primary key"
    unused = use is not None and use.scans == 0 and use.table_rows >= LARGE_TABLE
    if unused and not (index.unique or required):
        yield "unused", ""


def _serves(other: Index, index: Index) -> bool:
    """Whether another index does all that this one does."""
    length = len(index.columns)
    if not other.valid or (other.where, other.method) != (index.where, index.method):
        return False
    if index.unique and not (other.unique and len(other.columns) == length):
        return False
    if len(other.columns) > length and index.method not in ("btree", "prefix"):
        return False
    known = bool(other.options and index.options)
    same = other.columns[:length] == index.columns and (not known or other.options[:length] == index.options)
    return same and set(index.included) <= {*other.included, *other.columns}


def _described(system: str, index: Index, reason: _Reason, instead: str, use: _Use | None) -> SuperfluousIndex:
    how = " CONCURRENTLY" if system == "postgresql" and not index.partitioned else ""
    where = f" ON {quoted(index.table, system)}" if system in ("mysql", "mariadb") else ""
    return SuperfluousIndex(
        table=index.table,
        name=index.name,
        columns=index.columns,
        reason=reason,
        instead=instead,
        size=use.size if use else None,
        scans=use.scans if use else None,
        ddl=f"DROP INDEX{how} {quoted(index.name, system)}{where}",
    )


def _uses(session: Session) -> tuple[dict[tuple[str, str], _Use] | None, str]:
    """How often indexes were used, and since when that is counted; None where the database does not count it."""
    since = ""
    if session.system == "postgresql":
        rows = session.rows(_POSTGRESQL)
        ((reset,),) = session.rows(
            "SELECT stats_reset FROM pg_catalog.pg_stat_database WHERE datname = current_database()"
        )
        since = str(reset or "")
    elif session.system == "sqlite":
        return None, ""
    elif session.system == "mariadb" and session.rows("SELECT @@GLOBAL.userstat")[0][0]:
        rows = session.rows(_USERSTAT)
    elif session.rows("SELECT @@GLOBAL.performance_schema")[0][0]:
        rows = permitted(session, _PERFORMANCE_SCHEMA)
    else:
        return None, ""
    if not rows:
        return None, ""
    return {
        (str(table), str(name)): _Use(int(scans), None if size is None else int(size), float(table_rows or 0))
        for table, name, scans, size, table_rows in rows
    }, since
