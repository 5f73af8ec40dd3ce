"""The endpoint ``/metrics`` that Prometheus scrapes, beside whatever else exports.

Metrics are translated by OpenTelemetry's own exporter (the extra ``prometheus``); the server is ours: a port that is in
use is one warning, and a forked process tries to serve its own metrics. A process that forks before its first query,
as the master of gunicorn does, leaves the port to its children.

Private names: ``MeterProvider._measurement_consumer`` and its ``_reader_storages``, ``_sdk_config`` and ``_lock``, for
readers that are added to a provider before SDK 1.45 has ``add_metric_reader``; ``_lock`` of the
registry of prometheus_client.
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace
from socketserver import TCPServer, ThreadingMixIn
from time import sleep
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Gauge, MetricsData, ScopeMetrics
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from dbsight.safety import failed, guard, logger

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE: Final = 5.0
"""s for which a forked process waits for the port that its parent leaves to it."""
_INTERVAL: Final = 0.1


class _Reader(PrometheusMetricReader):
    """The upstream exporter, with Prometheus's own names of metrics that come over OTLP: shares end in ``_ratio``."""

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        if metrics_data is not None:  # there are none yet
            named = [
                replace(resource, scope_metrics=[_named(scope) for scope in resource.scope_metrics])
                for resource in metrics_data.resource_metrics
            ]
            super()._receive_metrics(replace(metrics_data, resource_metrics=named), timeout_millis, **kwargs)


def _named(scope: ScopeMetrics) -> ScopeMetrics:
    metrics = [
        replace(each, unit="ratio") if each.unit == "1" and isinstance(each.data, Gauge) else each
        for each in scope.metrics
    ]
    return replace(scope, metrics=metrics)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As the base class, without asking a name server for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may disconnect: no traceback on the application's stderr."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged."""


class Endpoint:
    """Serves the metrics of one meter provider; one per process and port.

    Args:
        provider: An SDK's meter provider.
        host: Name or address to listen at.
        port: 1 to 65535.
        idle: Whether this process did nothing so far that there would be metrics of.
        shared: Serve what else is registered with prometheus_client, too, as OpenTelemetry's own endpoint does.

    Attributes:
        stopped: ``stop`` was called.
    """

    def __init__(
        self, provider: Any, host: str, port: int, idle: Callable[[], bool] = lambda: False, *, shared: bool = False
    ) -> None:
        self.host, self.port = host, port
        self._idle = idle
        self._registry = REGISTRY if shared else CollectorRegistry()
        self._server: _Server | None = None
        self.stopped = False
        _add_reader(provider, _Reader(registry=self._registry))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_parent=self._leave_to_child, after_in_child=self._forked)

    @property
    def serving(self) -> bool:
        """Whether the port is this process's."""
        return self._server is not None

    def start(self) -> bool:
        """Serve from now on.

        Returns:
            Whether it does; if not, one warning says why.
        """
        self.stopped = False
        reason = self._listen()
        if reason:
            self._complain(reason)
        return not reason

    def _listen(self) -> str:
        """Listen and serve; why that cannot be, empty when it does."""
        if self._server is not None or self.stopped:
            return ""
        try:
            family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            kind = type("_Server", (_Server,), {"address_family": family})
            server: _Server = kind(address[:2], _Quiet)
        except OSError as error:
            return error.strerror or type(error).__name__
        server.set_app(make_wsgi_app(self._registry))
        try:
            threading.Thread(target=server.serve_forever, name="dbsight-prometheus", daemon=True).start()
        except RuntimeError:  # no thread can be started
            server.server_close()
            return "no thread can be started"
        self._server = server
        return ""

    def _complain(self, reason: str) -> None:
        logger.warning(
            "dbsight: metrics of this process are not served to Prometheus at %s:%d: %s", self.host, self.port, reason
        )

    def stop(self) -> None:
        """Serve no more."""
        self.stopped = True
        self._release()

    def _release(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    # -- Forks --------------------------------------------------------------------------------------------------

    @guard
    def _leave_to_child(self) -> None:
        if self._server is not None and self._idle():
            server, self._server = self._server, None
            server.socket.close()  # now: the child waits for the port
            # Its thread needs half a second to end, and a process that forks must not wait for it.
            threading.Thread(target=server.shutdown, name="dbsight-prometheus-end", daemon=True).start()

    @guard
    def _forked(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.socket.close()  # the parent listens at it
        if self.stopped:
            return
        self._registry._lock = threading.RLock()  # type: ignore[assignment,attr-defined,unused-ignore]
        threading.Thread(target=self._start_patiently, name="dbsight-prometheus-start", daemon=True).start()

    def _start_patiently(self) -> None:
        try:
            reason = self._listen()
            for _ in range(round(_PATIENCE / _INTERVAL)):
                if not reason:
                    return
                sleep(_INTERVAL)
                reason = self._listen()
            if reason:
                self._complain(reason)
        except Exception:
            failed("prometheus.start")


def _add_reader(provider: Any, reader: Any) -> None:
    """Have a provider that is already in use feed one more reader."""
    if hasattr(provider, "add_metric_reader"):
        provider.add_metric_reader(reader)
        return
    from opentelemetry.sdk.metrics._internal.metric_reader_storage import MetricReaderStorage

    consumer = provider._measurement_consumer
    storage = MetricReaderStorage(
        consumer._sdk_config, reader._instrument_class_temporality, reader._instrument_class_aggregation
    )
    with consumer._lock:
        consumer._reader_storages = {**consumer._reader_storages, reader: storage}
    reader._set_collect_callback(consumer.collect)
