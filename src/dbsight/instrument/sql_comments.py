"""SQL comments in sqlcommenter's format, for those who read the server's log; only while the setting asks for them.

``traceparent`` makes every text unique. It is left out where the driver keeps prepared statements by their text; the
route alone leaves as many texts as there are routes. SQLAlchemy's cache of compiled statements does not see comments.
"""

from __future__ import annotations

import sys
from typing import Any, Final
from urllib.parse import quote

from opentelemetry import trace

from dbsight import scope, semconv
from dbsight.safety import failed

PREPARES: Final = frozenset(("psycopg", "psycopg_async", "asyncpg", "pg8000", "pysqlite", "aiosqlite", "oracledb"))
"""Drivers of SQLAlchemy that cache statements by their text."""

_FORMATTED: Final = frozenset(("format", "pyformat"))

PLAIN: Final = "_dbsight_plain"
"""Attribute of an execution context: the statement without the comment."""


def comment(connection: Any, _: Any, statement: str, parameters: Any, context: Any, __: Any) -> tuple[str, Any]:
    """``before_cursor_execute`` of SQLAlchemy: the statement with a comment. Never raises."""
    try:
        statement = _commented(connection, statement, parameters, context)
    except Exception:
        failed("instrument.sql_comments")
    return statement, parameters


def _commented(connection: Any, statement: str, parameters: Any, context: Any) -> str:
    if "/*" in statement or "--" in statement or scope.suppressed():
        return statement
    dialect = connection.dialect
    text = _comment(dialect.driver not in PREPARES)
    if not text:
        return statement
    plain = not parameters and connection.get_execution_options().get("no_parameters", False)
    if dialect.paramstyle in _FORMATTED and not plain:
        text = text.replace("%", "%%")
    if context is not None:
        context.__dict__[PLAIN] = statement
    return f"{statement} {text}"


def _comment(unique: bool) -> str:
    """``/*route='…',traceparent='…'*/``; empty outside of any request."""
    pairs: dict[str, str] = {}
    window = scope.window.get()
    live = getattr(window, "live", None)
    attributes = getattr(live, "attributes", None)
    route = attributes.get(semconv.HTTP_ROUTE) if attributes else None
    if route:
        pairs["route"] = str(route)
    for framework in ("django", "fastapi", "flask", "starlette", "aiohttp"):
        if framework in sys.modules and route:
            pairs["framework"] = framework
            break
    current = trace.get_current_span().get_span_context()
    if unique and current.is_valid:
        pairs["traceparent"] = f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}"
    if not pairs:
        return ""
    return f"/*{','.join(f'{key}={_quoted(pairs[key])}' for key in sorted(pairs))}*/"


def _quoted(value: str) -> str:
    # A quote and an asterisk are encoded: neither the value nor the comment can be ended by what it holds.
    return f"'{quote(value, safe='-_.~')}'"
