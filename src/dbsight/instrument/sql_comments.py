"""SQL comments in sqlcommenter's format, for those who read the server's log; only while the setting asks for them.

``traceparent`` makes every text unique. By default it is left out where the driver or the server keeps prepared
statements or plans by their text; the other keys leave as many texts as there are routes. SQLAlchemy's cache of
compiled statements does not see comments. Batches are left alone: drivers of MySQL recognise by its ends an INSERT that
they can send as one statement with many rows.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from opentelemetry import trace

from dbsight import config, scope, semconv
from dbsight.instrument.dialects import database_of
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbsight.config import Settings

PREPARES: Final = frozenset(("psycopg", "psycopg_async", "asyncpg", "pg8000", "pysqlite", "aiosqlite"))
"""Drivers of SQLAlchemy that cache statements by their text."""

_CACHES_PLANS: Final = frozenset(("mssql", "oracle"))
"""Dialects whose servers keep plans by the text of a statement."""

_MONITORED: Final = frozenset(("postgresql", "mysql", "mariadb", "mssql", "oracle"))
"""Dialects of the databases that Datadog monitors."""

_FORMATTED: Final = frozenset(("format", "pyformat"))

PLAIN: Final = "_dbsight_plain"
"""Attribute of an execution context: the statement without the comment."""

MARKS: Final = "_dbsight_marks"
"""The same: attributes of the statement's span, where there are any."""

_INJECTED: Final = {semconv.DATADOG_TRACE_INJECTED: "true"}


def comment(connection: Any, _: Any, statement: str, parameters: Any, context: Any, many: bool) -> tuple[str, Any]:
    """``before_cursor_execute`` of SQLAlchemy: the statement with a comment. Never raises."""
    try:
        if not many:
            statement = _commented(connection, statement, parameters, context)
    except Exception:
        failed("instrument.sql_comments")
    return statement, parameters


def _commented(connection: Any, statement: str, parameters: Any, context: Any) -> str:
    if "/*" in statement or "--" in statement or scope.suppressed():
        return statement
    dialect = connection.dialect
    settings = config.current()
    datadog = settings.sqlcommenter_format == "datadog" and dialect.name in _MONITORED
    pairs = dict(_datadog(connection)) if datadog else {}
    _add_request(pairs)
    if settings.sqlcommenter_trace != "off":
        _add_trace(pairs, connection, settings)
    if not pairs:
        return statement
    text = f"/*{','.join(f'{key}={_quoted(pairs[key])}' for key in sorted(pairs))}*/"
    plain = not parameters and connection.get_execution_options().get("no_parameters", False)
    if dialect.paramstyle in _FORMATTED and not plain:
        text = text.replace("%", "%%")
    if context is not None:
        context.__dict__[PLAIN] = statement
        if datadog and "traceparent" in pairs:
            context.__dict__[MARKS] = _INJECTED
    # Datadog reads the statement as the server shows it, which is cut at its end.
    return f"{text} {statement}" if datadog else f"{statement} {text}"


def _add_request(pairs: dict[str, str]) -> None:
    """``route`` and ``framework``; nothing outside of any request."""
    live = getattr(scope.window.get(), "live", None)
    attributes = getattr(live, "attributes", None)
    route = attributes.get(semconv.HTTP_ROUTE) if attributes else None
    if route:
        pairs["route"] = str(route)
        for framework in ("django", "fastapi", "flask", "starlette", "aiohttp"):
            if framework in sys.modules:
                pairs["framework"] = framework
                break


def _add_trace(pairs: dict[str, str], connection: Any, settings: Settings) -> None:
    current = trace.get_current_span().get_span_context()
    if current.is_valid and (settings.sqlcommenter_trace == "always" or not _keeps_texts(connection)):
        pairs["traceparent"] = f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}"


def _keeps_texts(connection: Any) -> bool:
    """Whether the driver or the server keeps statements by their text."""
    dialect = connection.dialect
    if dialect.driver not in PREPARES:
        return dialect.name in _CACHES_PLANS
    if dialect.name == "postgresql" and dialect.driver.startswith("psycopg"):
        # None: it was told to prepare nothing, as behind a pooler.
        driver = getattr(connection.connection, "driver_connection", None)
        return getattr(driver, "prepare_threshold", 0) is not None
    return True


def _datadog(connection: Any) -> Mapping[str, str]:
    """Service, environment and version of this process, and its database, by the keys of Datadog's own tracers."""
    known: dict[str, str] | None = connection.dialect.__dict__.get("_dbsight_datadog")
    if known is None:
        resource = getattr(trace.get_current_span(), "resource", None)
        resource = resource or getattr(trace.get_tracer_provider(), "resource", None)
        about: Mapping[str, Any] = getattr(resource, "attributes", None) or {}
        database = database_of(connection.dialect, connection.engine.url)
        service = about.get("service.name")
        found = {
            "dddb": database.namespace,
            "dddbs": service,
            "dde": about.get("deployment.environment.name") or about.get("deployment.environment"),
            "ddh": database.address,
            "ddps": service,
            "ddpv": about.get("service.version"),
        }
        known = connection.dialect._dbsight_datadog = {name: str(value) for name, value in found.items() if value}
    return known


def _quoted(value: str) -> str:
    # A quote and an asterisk are encoded: neither the value nor the comment can be ended by what it holds.
    return f"'{quote(value, safe='-_.~')}'"
