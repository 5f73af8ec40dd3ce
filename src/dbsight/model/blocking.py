"""Which session of a database another one waits for."""

from __future__ import annotations

from dbsight.model.deferred import record


@record(frozen=True)
class Blocker:
    """A session that holds a lock which a query waited for, as the server described it; nothing in it is a literal.

    Attributes:
        session: Its number: the process id of PostgreSQL, the connection id of MariaDB and MySQL.
        application: ``application_name`` or program, empty when unknown.
        state: ``active``, ``idle in transaction`` …; empty when unknown.
        open_for: s since its transaction began, None when unknown.
        summary: ``db.query.summary`` of its latest statement, empty when it may not be seen.
        fingerprint: That statement's, empty as well.
        trace: 32 hexadecimal digits of the trace that the statement's comment names, empty without one.
        waited: s that the query had waited for the lock when the server was asked last.
    """

    session: int
    application: str = ""
    state: str = ""
    open_for: float | None = None
    summary: str = ""
    fingerprint: str = ""
    trace: str = ""
    waited: float = 0.0
