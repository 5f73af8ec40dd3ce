"""Whether anybody listens where an OTLP exporter sends."""

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
    """Whether anything accepts TCP connections on this port of the loopback interface, IPv4 or IPv6.

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
    """Whether an exporter is one of OpenTelemetry's OTLP exporters, for any signal, or of a subclass."""
    return default_port(exporter) is not None


def default_port(exporter: object) -> int | None:
    """The port of an OTLP exporter's protocol; None when it is no OTLP exporter."""
    for kind in type(exporter).__mro__:
        if kind.__module__.startswith("opentelemetry.exporter.otlp."):
            return GRPC_PORT if ".grpc" in kind.__module__ else HTTP_PORT
    return None


def unconfigured_port(exporter: object, signal: str, environ: Mapping[str, str]) -> int | None:
    """The default port on this machine that an exporter sends to because nobody told it where to send.

    Args:
        exporter: An OTLP exporter.
        signal: ``TRACES``, ``METRICS`` or ``LOGS``, as in the names of the environment variables.
        environ: Where ``OTEL_EXPORTER_OTLP_ENDPOINT`` and ``OTEL_EXPORTER_OTLP_<signal>_ENDPOINT`` are looked up.

    Returns:
        The port of its protocol, or None: the user configured an endpoint, in the environment or in code.
    """
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"):
        if environ.get(name, "").strip():
            return None
    port = default_port(exporter)
    # _endpoint (SDK 1.42 to 1.45) knows about endpoints given in code; where it is gone, the environment decides.
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
    """The way to one destination: open, or shut because nobody listens there.

    Args:
        port: The default port, or None for an endpoint that the user configured: that way is always open.
        probe: Tells whether anybody listens on a port of this machine.
    """

    def __init__(self, port: int | None, probe: Probe) -> None:
        self._port = port
        self._probe = probe
        self.open = True
        self.look()

    def look(self) -> bool:
        """Look whether anybody listens, and tell."""
        if self._port is not None:
            try:
                self.open = self._probe(self._port)
            except Exception:
                failed("export.probe")
                self.open = True  # who cannot look leaves the SDK to do what it does without us
        return self.open
