"""Queries that the application reports itself, because no instrumentation exists for its client."""

from __future__ import annotations

from threading import get_ident
from time import perf_counter, time_ns
from typing import Any, Final

from dbsight import config, scope, semconv
from dbsight.instrument import callsite
from dbsight.instrument.outcomes import error_type
from dbsight.model import Database
from dbsight.safety import guard
from dbsight.span import PendingQuery, SpanFactory, template_of
from dbsight.statement import read

_factory = SpanFactory()
_databases: dict[tuple[str, str | None], Database] = {}
_MAX_DATABASES: Final = 1000


@guard
def record_query(
    query: str,
    duration: float,
    error: BaseException | None = None,
    rows_affected: int | None = None,
    connection_id: str | None = None,
    user_id: str | None = None,
    *,
    system: str = "other_sql",
    namespace: str | None = None,
) -> None:
    """Report a query that has just ended: it becomes a CLIENT span that ends now, is counted, and the rules see it.

    For clients that nothing instruments. A query of an instrumented client is reported already; reporting it here as
    well counts it twice.

    Args:
        query: Text as it was executed; literals do not leave the process unless ``query_text`` is ``raw``.
        duration: s; a negative one counts as 0.
        error: What the driver raised; its class is exported, its message is not.
        rows_affected: Rows returned or written.
        connection_id: Exported as ``dbsight.connection.id``.
        user_id: Exported as ``enduser.id``.
        system: ``db.system.name`` by the semantic conventions.
        namespace: ``db.namespace``.
    """
    duration = max(0.0, duration)
    record = PendingQuery()
    record.factory = _factory
    record.end_ns = now = time_ns()
    record.start_ns = now - int(duration * 1e9)
    if not _factory.locate(record):
        return
    record.began = perf_counter() - duration
    record.duration = duration
    record.database = database = _database(system, namespace)
    record.statement = statement = read(query, database.system)
    record.template = template_of(statement, database)
    record.thread = get_ident()
    record.allowed = scope.allowed()
    settings = config.current()
    if settings.code_location == "on":
        record.call_site = callsite.find_near(record.template)
    extra: dict[str, Any] = {}
    if connection_id is not None:
        extra[semconv.CONNECTION_ID] = str(connection_id)
    if user_id is not None:
        extra[semconv.ENDUSER_ID] = str(user_id)
    if settings.query_text == "raw":
        extra[semconv.DB_QUERY_TEXT] = query
    if extra:
        record.extra = extra
    if statement.kind in {"insert", "update", "delete"}:
        record.affected = rows_affected
    else:
        record.rows = rows_affected
    if error is not None:
        record.error_type = error_type(error)
    record.end()


def _database(system: str, namespace: str | None) -> Database:
    database = _databases.get((system, namespace))
    if database is None:
        if len(_databases) >= _MAX_DATABASES:
            _databases.clear()
        database = _databases[system, namespace] = Database(system, namespace)
    return database
