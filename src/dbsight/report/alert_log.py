"""Alerts as log events and as a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.metrics import get_meter_provider

from dbsight import semconv
from dbsight.version import __version__

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider

    from dbsight.model import Alert

_NUMBERS: Final = {"info": SeverityNumber.INFO, "warning": SeverityNumber.WARN, "error": SeverityNumber.ERROR}


class AlertLog:
    """Emits alerts as log events named ``dbsight.alert`` and counts them in ``dbsight.alerts``.

    Args:
        logger_provider: None follows the global one.
        meter_provider: The same.
    """

    def __init__(
        self, logger_provider: LoggerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._provider = logger_provider
        meter = (meter_provider or get_meter_provider()).get_meter(
            semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL
        )
        self._count = meter.create_counter(
            semconv.METRIC_ALERTS, unit="{alert}", description="Alerts that were raised, by metric and severity."
        )

    def emit(self, alert: Alert) -> None:
        """Emit one alert that was raised or cleared."""
        provider = self._provider or get_logger_provider()
        severity = alert.severity.value
        attributes: dict[str, Any] = {
            semconv.ALERT_METRIC: alert.metric_name,
            semconv.ALERT_SEVERITY: severity,
            semconv.ALERT_STATE: alert.state,
            semconv.ALERT_CURRENT_VALUE: alert.current_value,
            semconv.ALERT_THRESHOLD: alert.threshold_value,
        }
        if alert.subject:
            attributes[semconv.ALERT_SUBJECT] = alert.subject
        number = _NUMBERS[severity] if alert.state == "raised" else SeverityNumber.INFO
        provider.get_logger(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL).emit(
            LogRecord(
                timestamp=alert.at_ns,
                observed_timestamp=alert.at_ns,
                severity_number=number,
                severity_text=number.name,
                body=alert.message if alert.state == "raised" else f"Cleared: {alert.message}",
                attributes=attributes,
                event_name=semconv.ALERT_EVENT,
            )
        )
        if alert.state == "raised":
            self._count.add(1, {semconv.ALERT_METRIC: alert.metric_name, semconv.ALERT_SEVERITY: severity})
