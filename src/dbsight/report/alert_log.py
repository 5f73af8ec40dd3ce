"""Alerts as log events and as a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import get_meter_provider

from dbsight import semconv
from dbsight.report.log_events import NUMBERS, LogEvents
from dbsight.version import __version__

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider

    from dbsight.model import Alert, Severity


class AlertLog:
    """Emits alerts as log events named ``dbsight.alert`` and counts them in ``dbsight.alerts``.

    Args:
        logger_provider: None follows the global one.
        meter_provider: The same.
    """

    def __init__(
        self, logger_provider: LoggerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._events = LogEvents(logger_provider)
        meter = (meter_provider or get_meter_provider()).get_meter(
            semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL
        )
        self._count = meter.create_counter(
            semconv.METRIC_ALERTS, unit="{alert}", description="Alerts that were raised, by metric and severity."
        )

    def emit(self, alert: Alert) -> None:
        """Emit one alert that was raised or cleared."""
        severity: Severity = alert.severity.value
        raised = alert.state == "raised"
        attributes: dict[str, Any] = {
            semconv.ALERT_METRIC: alert.metric_name,
            semconv.ALERT_SEVERITY: severity,
            semconv.ALERT_STATE: alert.state,
            semconv.ALERT_CURRENT_VALUE: alert.current_value,
            semconv.ALERT_THRESHOLD: alert.threshold_value,
        }
        if alert.subject:
            attributes[semconv.ALERT_SUBJECT] = alert.subject
        body = alert.message if raised else f"Cleared: {alert.message}"
        number = NUMBERS[severity if raised else "info"]
        self._events.emit(semconv.ALERT_EVENT, number, body, attributes, at_ns=alert.at_ns)
        if raised:
            self._count.add(1, {semconv.ALERT_METRIC: alert.metric_name, semconv.ALERT_SEVERITY: severity})
