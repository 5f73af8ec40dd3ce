"""Whether the endpoint is reachable."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Exporter(Check):
    """Is the endpoint reachable that spans are exported to?

    Good:
        The endpoint accepts connections.

    What to do:
        Start a collector or an APM that accepts OTLP, and set its address: ``OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4317``
        (gRPC; 4318 with ``OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf``).
    """

    name: ClassVar[str] = "exporter"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        if evidence.exporters and "otlp" not in " ".join(evidence.exporters):
            yield Line(
                "?",
                f"spans are exported to {', '.join(evidence.exporters)}",
                "OTEL_TRACES_EXPORTER=otlp exports them to a collector",
            )
            return
        host, _, port = evidence.endpoint.rpartition(":")
        if not host or not port.isdecimal():
            yield Line("✘", "the OTLP endpoint is not an address", "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317")
            return
        try:
            socket.create_connection((host, int(port)), timeout=2.0).close()
        except OSError as error:
            why = error.strerror or type(error).__name__
            advice = "start a collector there, or set OTEL_EXPORTER_OTLP_ENDPOINT"
            yield Line("✘", f"{evidence.endpoint} does not accept connections: {why}", advice)
        else:
            yield Line("✔", f"{evidence.endpoint} accepts connections")
