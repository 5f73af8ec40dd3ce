"""Builders of the records that cross rooms: name what the test is about, the rest is sensible and always the same."""

from __future__ import annotations

import itertools
from typing import Any

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from dbsight.model import CallSite, Database, Operation, Statement

NOW_NS = 1_700_000_000_000_000_000
"""2023-11-14 22:13:20 UTC, when every test begins."""

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736

_SPAN_IDS = itertools.count(1)


def make_statement(
    text: str = "SELECT name FROM customers WHERE id = ?", system: str = "sqlite", **fields: Any
) -> Statement:
    """The statement that the reader makes of a text; ``fields`` replace what it found, in a copy."""
    from dbsight import statement

    read = statement.read(text, system)
    if not fields:
        return read
    made = Statement(system, read.text, read.summary, read.fingerprint)
    for name in Statement.__slots__:
        if name != "prebuilt":
            setattr(made, name, getattr(read, name))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def make_span_context(
    span_id: int | None = None, trace_id: int = TRACE_ID, *, sampled: bool = True, remote: bool = False
) -> SpanContext:
    """A span's context; each one without an id gets the next."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id or next(_SPAN_IDS), remote, flags, TraceState())


def make_operation(
    text: str | Statement = "SELECT name FROM customers WHERE id = ?",
    *,
    at: float = 0.0,
    duration: float = 0.001,
    line: int | None = 10,
    database: Database | None = None,
    **fields: Any,
) -> Operation:
    """One execution of a statement.

    Args:
        text: Of the statement, or the statement.
        at: When it began, s after ``NOW_NS``.
        duration: s.
        line: Of ``app.py``, in ``list_orders``; None for no call site. A whole one is given as ``call_site``.
        database: SQLite's ``shop.db`` by default.
        fields: Every other field of ``Operation`` by its name.
    """
    database = database or Database("sqlite", "shop.db")
    statement = text if isinstance(text, Statement) else make_statement(text, database.system)
    if "call_site" not in fields and line is not None:
        fields["call_site"] = CallSite("app.py", line, "list_orders")
    fields.setdefault("context", make_span_context())
    fields.setdefault("thread", 1)
    return Operation(statement, database, NOW_NS + int(at * 1e9), duration, **fields)


def missing_fields(record):
    """Fields of an operation that a completed record lacks, but for those that only a running query has."""
    in_place = {"statement", "database", "start_ns", "context", "origin"}
    return [name for name in Operation.__slots__ if name not in in_place and not hasattr(record, name)]
