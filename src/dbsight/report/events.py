"""Findings as attributes and events of the local root, and as log events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, TraceFlags

from dbsight import semconv
from dbsight.model import SEVERITIES
from dbsight.report.log_events import NUMBERS, LogEvents
from dbsight.span import finding_attributes, finding_event, plan_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.sdk.trace import Event

    from dbsight.model import ExplainedQuery, Finding, Severity, WindowSummary


def root_attributes(summary: WindowSummary) -> dict[str, Any]:
    """Return the attributes of a local root about its database work; empty without any."""
    if not summary.calls:
        return {}
    attributes: dict[str, Any] = {
        semconv.DB_CALLS: summary.calls,
        semconv.DB_TIME: round(summary.db_time, 9),
    }
    if summary.duration > 0:
        attributes[semconv.DB_TIME_RATIO] = round(summary.db_time / summary.duration, 4)
    if summary.concurrency > 1:
        attributes[semconv.DB_CONCURRENCY] = summary.concurrency
    if summary.findings:
        attributes[semconv.FINDINGS_COUNT] = len(summary.findings)
        attributes[semconv.FINDINGS_RULES] = tuple(sorted({found.rule for found in summary.findings}))
        attributes[semconv.FINDINGS_MAX_SEVERITY] = max(
            (found.severity for found in summary.findings), key=SEVERITIES.index
        )
    return attributes


def root_events(findings: Iterable[Finding], end_ns: int) -> tuple[Event, ...]:
    """One event per finding, at the end of the root."""
    return tuple(finding_event(found, end_ns) for found in findings)


class FindingLog:
    """Emits findings as log events named ``dbsight.finding``, with the context of their trace.

    Args:
        provider: None follows the global one.
    """

    def __init__(self, provider: LoggerProvider | None = None) -> None:
        self._events = LogEvents(provider)

    def emit(self, finding: Finding, trace_id: int, span_id: int, *, sampled: bool) -> None:
        """Emit one finding."""
        context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1 if sampled else 0))
        body = f"{finding.title}: {finding.description}"
        self._emit(semconv.FINDING_EVENT, finding.severity, body, finding_attributes(finding), context)

    def emit_plan(self, explained: ExplainedQuery) -> None:
        """Emit the plan of a query as a log event ``dbsight.plan`` in the query's trace; its body is the tree."""
        operation = explained.operation
        attributes = {
            **plan_attributes(explained.summary),
            semconv.DB_SYSTEM_NAME: operation.database.system,
            semconv.DB_QUERY_SUMMARY: operation.statement.summary,
            semconv.QUERY_FINGERPRINT: operation.statement.fingerprint,
        }
        self._emit(semconv.PLAN_EVENT, "info", explained.summary.tree, attributes, operation.context)

    def _emit(
        self, name: str, severity: Severity, body: str, attributes: dict[str, Any], context: SpanContext | None
    ) -> None:
        self._events.emit(name, NUMBERS[severity], body, attributes, context, severity_text=severity.upper())
