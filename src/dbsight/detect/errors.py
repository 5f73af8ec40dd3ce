"""Classes of database errors that pass by themselves: deadlocks, serialization failures, timeouts, lost connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dbsight.model import Operation

_BY_CODE: Final = {
    # SQLSTATE of PostgreSQL and others
    "40P01": "deadlock",
    "40001": "serialization failure",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "57P01": "lost connection",
    "57P02": "lost connection",
    "57P03": "lost connection",
    "53300": "lost connection",
    "08000": "lost connection",
    "08001": "lost connection",
    "08003": "lost connection",
    "08006": "lost connection",
    # MariaDB and MySQL
    "1213": "deadlock",
    "1020": "serialization failure",
    "1205": "lock timeout",
    "1969": "statement timeout",
    "3024": "statement timeout",
    "1040": "lost connection",
    "2006": "lost connection",
    "2013": "lost connection",
    # SQLite
    "SQLITE_BUSY": "lock timeout",
    "SQLITE_LOCKED": "lock timeout",
}
_BY_NAME: Final = (
    ("deadlock", "deadlock"),
    ("serialization", "serialization failure"),
    ("locknotavailable", "lock timeout"),
    ("querycanceled", "statement timeout"),
    ("timeout", "timeout"),
    ("connectiondoesnotexist", "lost connection"),
    ("connectionreset", "lost connection"),
    ("interfaceerror", "lost connection"),
    ("connectionerror", "lost connection"),
    ("admin", "lost connection"),
)
"""Parts of the names of exceptions, in lower case, where there is no code."""

ADVICE: Final = {
    "deadlock": "lock rows in one order (ORDER BY id FOR UPDATE); retry the whole transaction with backoff and jitter",
    "serialization failure": "retry the whole transaction with backoff and jitter, and keep it short",
    "lock timeout": "shorten the transaction that holds the lock; see the runbook for who does",
    "statement timeout": "the plan of the query: dbsight explain",
    "timeout": "the plan of the query, or the load of the server",
    "lost connection": "create_engine(url, pool_pre_ping=True, pool_recycle=1800), and the log of the server",
}
"""What to do about each class."""


def error_class(operation: Operation) -> str | None:
    """The class of the error of an operation, None where it did not fail, or with something that does not pass."""
    if operation.error_type is None:
        return None
    known = _BY_CODE.get(operation.error_code or "")
    if known is not None:
        return known
    name = operation.error_type.rpartition(".")[2].lower()
    return next((kind for part, kind in _BY_NAME if part in name), None)
