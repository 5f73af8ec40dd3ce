"""The state of the process's OTLP exporters: endpoints, queues, and shutdown.

Without a configured endpoint, OTLP exporters use the default ports of this machine. Stock OpenTelemetry retries for
some seconds per batch if no collector listens, also at exit. dbsight probes the port first. Without a collector,
nothing is exported or logged; the port is probed every 30 s, and queued spans are exported as soon as a collector
listens. A configured endpoint is never considered absent.

The time at exit is limited in both cases: after ``closing()``, pending spans have ``SPANS`` seconds, and metrics and
logs ``OTHERS`` seconds each.
"""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from dbsight.export.encodable import Careful, CarefulMetrics, clean_log, clean_metrics, encode_with
from dbsight.export.encoding import install_encoder
from dbsight.export.endpoint import Way, is_otlp, listening, unconfigured_port
from dbsight.export.exporters import SkippingLogExporter, SkippingMetricExporter, WaitingSpanExporter, Wrapped
from dbsight.export.sdk_hooks import fit, wire
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbsight.export.endpoint import Probe

_W = TypeVar("_W", bound=Wrapped)


class Outlet:
    """Controls all OTLP exporters of the process. One per process; thread-safe and fork-safe.

    Args:
        environ: Where the variables ``OTEL_EXPORTER_OTLP_…ENDPOINT`` and ``OTEL_BSP_MAX_EXPORT_BATCH_SIZE`` are looked
            up. The protocol, and with it the default port, is that of each exporter's class.
        probe: Function that returns whether a port of this machine accepts connections; called immediately for each
            default port in use.
        interval: Seconds between two probes while no collector listens.
        capacity: Maximum number of queued spans per exporter. The default is that of the SDK's own queue.
    """

    SPANS: ClassVar[float] = 1.5
    """Seconds for spans at the end of the process. The SDK shuts them down last."""
    OTHERS: ClassVar[float] = 0.75
    """Seconds each for logs and for metrics at the end of the process."""
    STOCK: ClassVar[float] = 30.0
    """Seconds that the SDK's own processors and readers wait in ``shutdown()``."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        probe: Probe = listening,
        interval: float = 30.0,
        capacity: int = 2048,
    ) -> None:
        self.environ = environ
        self.closed = False
        """Whether the process is ending."""
        self._probe = probe
        self._interval = interval
        self._capacity = capacity
        self._ways: dict[int | None, Way] = {}
        self._exporters: tuple[Wrapped, ...] = ()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._watcher: threading.Thread | None = None
        if hasattr(os, "register_at_fork"):
            forked = weakref.WeakMethod(self._forked)
            os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def wire(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments for the SDK's configurator that wrap its span and log exporters: see ``sdk_hooks``."""
        return wire(self, kwargs)

    def fit(self, meter_provider: object) -> None:
        """Wrap the exporters of a meter provider's readers: see ``sdk_hooks``."""
        fit(self, meter_provider)

    def spans(self, exporter: SpanExporter) -> SpanExporter:
        """Wrap a span exporter; others are returned unchanged."""
        if not is_otlp(exporter):
            return exporter
        install_encoder(exporter)
        size = self.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "")
        batch_size = (int(size) if size.isdecimal() else 0) or 512
        return self._remember(
            WaitingSpanExporter(exporter, self._way(exporter, "TRACES"), self, self._capacity, batch_size)
        )

    def metrics(self, exporter: MetricExporter) -> MetricExporter:
        """Wrap a metric exporter; others are returned unchanged."""
        if not is_otlp(exporter):
            return exporter
        encode_with(exporter, "encode_metrics", partial(CarefulMetrics, clean=clean_metrics))
        return self._remember(SkippingMetricExporter(exporter, self._way(exporter, "METRICS"), self))

    def logs(self, exporter: LogRecordExporter) -> LogRecordExporter:
        """Wrap a log exporter; others are returned unchanged."""
        if not is_otlp(exporter):
            return exporter
        encode_with(exporter, "encode_logs", partial(Careful, clean=clean_log))
        return self._remember(SkippingLogExporter(exporter, self._way(exporter, "LOGS"), self))

    def _way(self, exporter: object, signal: str) -> Way:
        port = unconfigured_port(exporter, signal, self.environ)
        way = self._ways.get(port)
        if way is None:
            way = self._ways[port] = Way(port, self._probe)
        return way

    def _remember(self, exporter: _W) -> _W:
        with self._lock:
            self._exporters = (*self._exporters, exporter)
        return exporter

    def forget(self, exporter: Wrapped) -> None:
        """Record that an exporter was shut down."""
        with self._lock:
            self._exporters = tuple(known for known in self._exporters if known is not exporter)

    @property
    def exporting(self) -> bool:
        """Return whether telemetry is exported, as far as known: the endpoint is open, the last export succeeded.

        Also true before the first export, if an endpoint is configured or a collector listens. Call ``look()`` first
        for a current answer.
        """
        return any(exporter.way.open and not exporter.failing for exporter in self._exporters)

    @guard
    def look(self) -> bool:
        """Probe all shut endpoints, and export what is queued for those that are now open.

        Returns:
            Whether all endpoints are open now.
        """
        for way in tuple(self._ways.values()):
            if not way.open:
                way.look()
        everywhere = all(way.open for way in tuple(self._ways.values()))
        for exporter in self._exporters:
            exporter.deliver()
        return everywhere

    @guard
    def watch(self) -> None:
        """Start probing every 30 s until all endpoints are open."""
        with self._lock:
            if self._watcher is not None or self.closed:
                return
            watcher = threading.Thread(target=self._watch, name="dbsight-outlet", daemon=True)
            try:
                watcher.start()
            except RuntimeError:  # no thread can be started: the interpreter is ending, or a system limit is reached
                return
            self._watcher = watcher

    def _watch(self) -> None:
        while True:
            self._wake.wait(self._interval)
            ending = self.closed or not self._exporters
            everywhere = self.look()
            with self._lock:
                # An endpoint may have been shut, or opened by closing(), since look() exported.
                if ending or (everywhere and all(way.open for way in self._ways.values())):
                    self._watcher = None
                    return

    def _forked(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._watcher = None
        self.closed = False
        for exporter in self._exporters:
            exporter.forked()

    @guard
    def closing(self) -> None:
        """Record that the process is exiting: probe all endpoints once more, and use short timeouts from now on.

        Call this before the SDK shuts down its providers: from an atexit handler registered after theirs.
        """
        for way in tuple(self._ways.values()):
            way.look()
        self.closed = True
        self._wake.set()

    def patience(self, brief: float) -> float:
        """Return the seconds that a shutdown may wait: ``brief`` at exit, else the SDK's timeout."""
        return brief if self.closed else self.STOCK
