"""How tables and indexes were used, as the statistics of the database have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbsight.formatting import counted
from dbsight.plans.errors import describe
from dbsight.plans.options import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.plans.options import Row, Session

OFTEN: Final = 10
"""Rows that are written per statement or row that is read, from which on a table is written often."""

_WRITES: Final = {
    "postgresql": (
        "SELECT n_tup_ins + n_tup_upd + n_tup_del, seq_scan + coalesce(idx_scan, 0)"
        " FROM pg_catalog.pg_stat_user_tables WHERE relname = {table} AND pg_catalog.pg_table_is_visible(relid)"
    ),
    "mysql": (
        "SELECT count_write, count_read FROM performance_schema.table_io_waits_summary_by_table"
        " WHERE object_schema = DATABASE() AND object_name = {table}"
    ),
}
_WRITES_BY_USERSTAT: Final = (
    "SELECT rows_changed, rows_read FROM information_schema.table_statistics"
    " WHERE table_schema = DATABASE() AND table_name = {table}"
)
_READS: Final = {"postgresql": "scan", "mysql": "row read", "mariadb": "row read"}


def write_cost(session: Session, table: str) -> str:
    """What one more index costs a table that is written often; empty for others, and where nothing is known.

    SQLite has no statistics of that kind; MariaDB's are off until ``userstat`` or ``performance_schema`` is on.
    """
    found = _activity(session, table)
    if found is None or found[0] < OFTEN * max(found[1], 1):
        return ""
    written, read = found
    return (
        f"{table} is written often ({counted(written, 'row')} written, {counted(read, _READS[session.system])}):"
        " each INSERT and DELETE, and each UPDATE of an indexed column, also writes this index"
    )


def _activity(session: Session, table: str) -> tuple[int, int] | None:
    """Rows that were written to a table, and how often it was read."""
    if session.system == "sqlite":
        return None
    if session.system == "postgresql":
        rows = session.rows(_WRITES["postgresql"].format(table=quoted(table)))
    else:
        counted_here = session.system == "mariadb" and session.rows("SELECT @@GLOBAL.userstat")[0][0]
        text = _WRITES_BY_USERSTAT if counted_here else _WRITES["mysql"]
        rows = permitted(session, text.format(table=quoted(table)))
    return (int(rows[0][0]), int(rows[0][1])) if rows else None


def permitted(session: Session, text: str) -> Sequence[Row]:
    """What a query of statistics returns; nothing where this user may not see them, as on MySQL without a grant."""
    try:
        return session.rows(text)
    except Exception as error:
        if "42000" in describe(error) or "(1142)" in describe(error):
            return ()
        raise
