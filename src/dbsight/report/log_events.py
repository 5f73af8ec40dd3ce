"""Log events of OpenTelemetry: findings, plans, alerts, queries."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from dbsight import semconv
from dbsight.version import __version__

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

    from dbsight.model import Severity

NUMBERS: Final[dict[Severity, SeverityNumber]] = {
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}
"""Severities of findings and alerts as those of log records."""


class LogEvents:
    """Emits log events of our scope.

    Args:
        provider: None follows the global one.
    """

    def __init__(self, provider: LoggerProvider | None = None) -> None:
        self._provider = provider

    def emit(
        self,
        name: str,
        severity: SeverityNumber,
        body: str,
        attributes: dict[str, Any],
        context: SpanContext | None = None,
        *,
        severity_text: str = "",
        at_ns: int = 0,
    ) -> None:
        """Emit one event.

        Args:
            name: Of the event.
            severity: Its number.
            body: For people.
            attributes: For programs.
            context: Of the span that it belongs to; None, or one without a trace, for none.
            severity_text: By default the name of the number.
            at_ns: When it happened, ns since the epoch; 0: now.
        """
        provider = self._provider or get_logger_provider()
        at_ns = at_ns or time_ns()
        provider.get_logger(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL).emit(
            LogRecord(
                timestamp=at_ns,
                observed_timestamp=at_ns,
                context=set_span_in_context(NonRecordingSpan(context))
                if context is not None and context.trace_id
                else None,
                severity_number=severity,
                severity_text=severity_text or severity.name,
                body=body,
                attributes=attributes,
                event_name=name,
            )
        )
