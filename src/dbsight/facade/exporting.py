"""The guides' names for starting: they call ``configure``."""

from __future__ import annotations

from typing import Any

from dbsight.distro import configure, serve_prometheus


def setup(service_name: str | None = None, **settings: Any) -> None:
    """As ``dbsight.configure``.

    Args:
        service_name: ``service.name``; None leaves it to ``OTEL_SERVICE_NAME``.
        settings: As the arguments of ``dbsight.configure``.

    Raises:
        TypeError: A setting that does not exist.
        ValueError: A value that does not parse.
    """
    configure(service_name, **settings)


class APMIntegration:
    """Starts dbsight; the APM is the one that ``OTEL_EXPORTER_OTLP_ENDPOINT`` names."""

    setup = staticmethod(setup)


class PrometheusExporter:
    """The endpoint that Prometheus scrapes; the setting ``prometheus_port`` from code."""

    def start(self, port: int = 8000) -> bool:
        """Serve metrics at ``/metrics`` of this port; starts dbsight if nothing did, and ends an endpoint elsewhere.

        Listens at ``OTEL_EXPORTER_PROMETHEUS_HOST``, by default ``localhost``.

        Returns:
            Whether this process serves them; if not, one warning says why: a port in use, the extra ``prometheus``
            missing.

        Raises:
            ValueError: No port.
        """
        return serve_prometheus(port)
