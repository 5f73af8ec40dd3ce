"""Whether a collector listens at the endpoint of an OTLP exporter."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Probe = Callable[[int], bool]

GRPC_PORT = 4317
HTTP_PORT = 4318


def listening(port: int) -> bool:
    """Return whether this port of the loopback interface accepts TCP connections, IPv4 or IPv6.

    A refused connection takes some 100 µs; a port that does not answer at all, 50 ms per address family.
    """
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=0.05).close()
        except OSError:
            continue
        return True
    return False


def is_otlp(exporter: object) -> bool:
    """Return whether an exporter is an OTLP exporter of OpenTelemetry, for any signal, or of a subclass."""
    return default_port(exporter) is not None


def default_port(exporter: object) -> int | None:
    """Return the port of an OTLP exporter's protocol; None for other exporters."""
    for kind in type(exporter).__mro__:
        if kind.__module__.startswith("opentelemetry.exporter.otlp."):
            return GRPC_PORT if ".grpc" in kind.__module__ else HTTP_PORT
    return None


def unconfigured_port(exporter: object, signal: str, environ: Mapping[str, str]) -> int | None:
    """Return the default port on this machine that an exporter uses if no endpoint is configured.

    Args:
        exporter: An OTLP exporter.
        signal: ``TRACES``, ``METRICS`` or ``LOGS``, as in the names of the environment variables.
        environ: Where ``OTEL_EXPORTER_OTLP_ENDPOINT`` and ``OTEL_EXPORTER_OTLP_<signal>_ENDPOINT`` are read.

    Returns:
        The port of its protocol, or None if an endpoint is configured in the environment or in code.
    """
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"):
        if environ.get(name, "").strip():
            return None
    port = default_port(exporter)
    # _endpoint (SDK 1.42 to 1.45) shows endpoints set in code; without it, only the environment is checked.
    endpoint = getattr(exporter, "_endpoint", None)
    if isinstance(endpoint, str):
        try:
            parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
            if (parts.hostname, parts.port) != ("localhost", port):
                return None
        except ValueError:
            return None
    return port


class Way:
    """The state of one endpoint: open, or shut because no collector listens there.

    Args:
        port: The default port, or None for a configured endpoint, which is always open.
        probe: Function that returns whether a port of this machine accepts connections.
    """

    def __init__(self, port: int | None, probe: Probe) -> None:
        self._port = port
        self._probe = probe
        self.open = True
        self.look()

    def look(self) -> bool:
        """Probe the endpoint and return whether it is open."""
        if self._port is not None:
            try:
                self.open = self._probe(self._port)
            except Exception:
                failed("export.probe")
                self.open = True  # if the probe fails, the SDK exports as without dbsight
        return self.open
