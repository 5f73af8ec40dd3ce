"""How an outlet comes between the SDK and its exporters.

The distribution does::

    outlet = Outlet(os.environ)
    super()._configure(**outlet.wire(kwargs))
    outlet.fit(get_meter_provider())
    atexit.register(outlet.closing)  # registered after the SDK's own handlers, so called before them

Everything here that is private in the SDK was seen in 1.42 and in 1.45, and is held by a test. With an SDK that looks
different nothing is wrapped: OpenTelemetry then does what it does without us, and one debug message says so.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from dbsight.export.endpoint import is_otlp
from dbsight.safety import failed, guard, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbsight.export.otlp import Outlet


class BoundedSpanProcessor(BatchSpanProcessor):
    """The SDK's batch processor, but brief at the end of the process."""

    def __init__(self, exporter: SpanExporter, outlet: Outlet) -> None:
        super().__init__(exporter)
        self._outlet = outlet

    def shutdown(self) -> None:
        """Export what is queued, within the outlet's patience, and shut down the exporter."""
        self._batch_processor.shutdown(timeout_millis=int(1000 * self._outlet.patience(self._outlet.SPANS)))


class BoundedLogProcessor(BatchLogRecordProcessor):
    """The SDK's batch processor, but brief at the end of the process."""

    def __init__(self, exporter: LogRecordExporter, outlet: Outlet) -> None:
        super().__init__(exporter)
        self._outlet = outlet

    def shutdown(self) -> None:
        """Export what is queued, within the outlet's patience, and shut down the exporter."""
        self._batch_processor.shutdown(timeout_millis=int(1000 * self._outlet.patience(self._outlet.OTHERS)))


def wire(outlet: Outlet, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the arguments of the SDK's configurator what wraps its exporters of spans and logs.

    A processor factory among the arguments is kept, and gets the wrapped exporter. Under ``OTEL_CONFIG_FILE`` the SDK
    takes no arguments, and exporters of spans and logs stay as they are. Metrics have no such argument: see ``fit``.
    """
    if outlet.environ.get("OTEL_CONFIG_FILE"):
        return dict(kwargs)
    reason = _strange()
    if reason:
        logger.debug("dbsight: OTLP exporters are left as they are: %s", reason)
        return dict(kwargs)
    span_processor = kwargs.get("export_span_processor") or _bounded(BoundedSpanProcessor, outlet)
    log_processor = kwargs.get("export_log_record_processor") or _bounded(BoundedLogProcessor, outlet)
    return {
        **kwargs,
        "export_span_processor": _after(outlet.spans, span_processor),
        "export_log_record_processor": _after(outlet.logs, log_processor),
    }


def _after(wrap: Callable[[Any], Any], factory: Callable[..., Any]) -> Callable[..., Any]:
    def make(exporter: Any, *more: Any, **named: Any) -> Any:
        try:
            exporter = wrap(exporter)
        except Exception:
            failed("export.wrap")
        return factory(exporter, *more, **named)

    return make


def _bounded(kind: Callable[[Any, Outlet], Any], outlet: Outlet) -> Callable[..., Any]:
    return lambda exporter, *_more, **_named: kind(exporter, outlet)


def _strange() -> str:
    """What of the SDK's private parts is not as we know it; empty when all is."""
    try:
        from opentelemetry.sdk import _configuration, _shared_internal

        known = inspect.signature(_configuration._initialize_components).parameters
        ends = inspect.signature(_shared_internal.BatchProcessor.shutdown).parameters
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    if not {"export_span_processor", "export_log_record_processor"} <= known.keys():
        return "the configurator takes no processor factories"
    if "timeout_millis" not in ends:
        return "the batch processor takes no timeout"
    return ""


@guard
def fit(outlet: Outlet, meter_provider: object) -> None:
    """Wrap the OTLP exporters of a meter provider's readers; twice is once.

    The SDK builds its readers from exporter classes and offers no hook in between, so they are replaced afterwards: the
    first periodic export comes after a minute.
    """
    if not isinstance(meter_provider, MeterProvider):
        return
    # 1.42 keeps its readers in _sdk_config, 1.45 beside it.
    config = getattr(meter_provider, "_sdk_config", None)
    readers = getattr(meter_provider, "_metric_readers", None) or getattr(config, "metric_readers", None)
    if readers is None:
        logger.debug("dbsight: OTLP metric exporters are left as they are: the meter provider shows no readers")
        return
    for reader in readers:
        exporter: Any = getattr(reader, "_exporter", None)
        if is_otlp(exporter):
            reader._exporter = outlet.metrics(exporter)
            reader.shutdown = _briefly(outlet, reader.shutdown)


def _briefly(outlet: Outlet, shutdown: Callable[..., None]) -> Callable[..., None]:
    def bounded(timeout_millis: float = 30_000, **kwargs: Any) -> None:
        shutdown(timeout_millis=min(timeout_millis, 1000 * outlet.patience(outlet.OTHERS)), **kwargs)

    return bounded
