"""The process's one view of where its OTLP exporters send, and of its own end.

With no endpoint configured, the OTLP exporters talk to the default ports of this machine. Stock OpenTelemetry retries
there for some seconds per batch when nobody listens, at exit too. An outlet looks at the port first. While nobody
listens, nothing is tried and nothing printed; it looks again every 30 s, and hands over what waited as soon as somebody
does. An endpoint that the user configured is never judged absent.

Either way the end of the process is bounded: from ``closing()`` on, what is unsent has ``SPANS`` seconds for spans and
``OTHERS`` each for metrics and logs.
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
    """The way out of the process for everything that is sent by OTLP. One per process; safe in threads and forks.

    Args:
        environ: Where the variables ``OTEL_EXPORTER_OTLP_…ENDPOINT`` and ``OTEL_BSP_MAX_EXPORT_BATCH_SIZE`` are looked
            up. The protocol, and with it the default port, is that of each exporter's class.
        probe: Tells whether anybody listens on a port of this machine; called at once for each default port in use.
        interval: Seconds between two looks while nobody listens.
        capacity: Spans that wait at most, per exporter. The default is that of the SDK's own queue.
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
        """The arguments of the SDK's configurator, and what wraps its exporters of spans and logs: see ``wiring``."""
        return wire(self, kwargs)

    def fit(self, meter_provider: object) -> None:
        """Wrap the exporters of a meter provider's readers: see ``wiring``."""
        fit(self, meter_provider)

    def spans(self, exporter: SpanExporter) -> SpanExporter:
        """Wrap a span exporter; one that is not OTLP comes back as it is."""
        if not is_otlp(exporter):
            return exporter
        install_encoder(exporter)
        size = self.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "")
        batch_size = (int(size) if size.isdecimal() else 0) or 512
        return self._remember(
            WaitingSpanExporter(exporter, self._way(exporter, "TRACES"), self, self._capacity, batch_size)
        )

    def metrics(self, exporter: MetricExporter) -> MetricExporter:
        """Wrap a metric exporter; one that is not OTLP comes back as it is."""
        if not is_otlp(exporter):
            return exporter
        encode_with(exporter, "encode_metrics", partial(CarefulMetrics, clean=clean_metrics))
        return self._remember(SkippingMetricExporter(exporter, self._way(exporter, "METRICS"), self))

    def logs(self, exporter: LogRecordExporter) -> LogRecordExporter:
        """Wrap a log exporter; one that is not OTLP comes back as it is."""
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
        """Take note that an exporter was shut down."""
        with self._lock:
            self._exporters = tuple(known for known in self._exporters if known is not exporter)

    @property
    def exporting(self) -> bool:
        """Whether telemetry leaves the process, as far as is known: the way is open, and the last export did not fail.

        Also true before the first export, where an endpoint is configured or somebody listens. Call ``look()`` before
        to have the newest answer.
        """
        return any(exporter.way.open and not exporter.failing for exporter in self._exporters)

    @guard
    def look(self) -> bool:
        """Look for a collector wherever none was seen, and hand over what waited for one.

        Returns:
            Whether all ways are open now.
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
        """See to it that somebody looks every 30 s from now on, until all ways are open."""
        with self._lock:
            if self._watcher is not None or self.closed:
                return
            watcher = threading.Thread(target=self._watch, name="dbsight-outlet", daemon=True)
            try:
                watcher.start()
            except RuntimeError:  # no more threads: the interpreter is ending, or the system has none left
                return
            self._watcher = watcher

    def _watch(self) -> None:
        while True:
            self._wake.wait(self._interval)
            ending = self.closed or not self._exporters
            everywhere = self.look()
            with self._lock:
                # A way may have been shut again, or opened by closing(), since look() handed over.
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
        """Take note that the process is ending: look once more on every way, and be brief from now on.

        To be called before the SDK shuts down its providers: from an atexit handler registered after theirs.
        """
        for way in tuple(self._ways.values()):
            way.look()
        self.closed = True
        self._wake.set()

    def patience(self, brief: float) -> float:
        """Seconds that a shutdown may wait: ``brief`` at the end of the process, else what the SDK waits."""
        return brief if self.closed else self.STOCK
