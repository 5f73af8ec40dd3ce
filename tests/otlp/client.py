"""The receiver process as the tests hold it."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from embedded import free_port
from otlp.records import Received

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DIRECT = build_opener(ProxyHandler({}))  # loopback is no matter for a proxy

PROGRAM = Path(__file__).parent / "receiver.py"

MESSAGES = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}


class Receiver(Received):
    """An OTLP receiver in a process of its own, on loopback.

    Its ports are fixed when it is made, so that programs can be told of it before ``start()``.

    Args:
        grpc_port: 0 for a free one.
        http_port: 0 for a free one.
    """

    def __init__(self, grpc_port: int = 0, http_port: int = 0) -> None:
        self.grpc_port = grpc_port or free_port()
        self.http_port = http_port or free_port()
        self._process: subprocess.Popen[str] | None = None
        self._requests: list[tuple[str, str, Any]] = []
        self._known = 0  # how many of the requests of this process were read

    @property
    def grpc_endpoint(self) -> str:
        """What ``OTEL_EXPORTER_OTLP_ENDPOINT`` must be for gRPC."""
        return f"http://127.0.0.1:{self.grpc_port}"

    @property
    def http_endpoint(self) -> str:
        """What ``OTEL_EXPORTER_OTLP_ENDPOINT`` must be for HTTP with protobuf bodies."""
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> Receiver:
        """Begin to listen; returns when exports are taken."""
        assert self._process is None, "the receiver runs already"
        self._known = 0
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), f"--grpc-port={self.grpc_port}", f"--http-port={self.http_port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ports = self._process.stdout.readline()
        assert ports, f"the receiver could not listen on {self.grpc_port} and {self.http_port}"
        assert json.loads(ports) == {"grpc": self.grpc_port, "http": self.http_port}
        return self

    def stop(self) -> None:
        """Listen no more; what was read stays readable."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._read(0)
        process, self._process = self._process, None
        # Not by the end of its input alone: a forked child of the tests may hold the pipe as well.
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=60)

    def clear(self) -> None:
        """Forget everything that arrived so far."""
        self._requests.clear()
        if self._process is not None:
            DIRECT.open(Request(f"{self.http_endpoint}/received", method="DELETE"), timeout=10).close()
        self._known = 0

    def protocols(self) -> set[str]:
        """The protocols that were used: ``grpc``, ``http/protobuf``."""
        self._read(0)
        return {protocol for _, protocol, _ in self._requests}

    def wait_for(self, predicate: Callable[[Receiver], T], timeout: float = 10.0) -> T:
        """Wait until ``predicate`` of this receiver is true.

        Args:
            predicate: Called again after each export that arrives.
            timeout: s.

        Returns:
            What it returned.

        Raises:
            AssertionError: It was never true; the message names what did arrive.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = predicate(self)
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or self._process is None:
                spans = [span.name for span in self.spans()]
                metrics = sorted({metric.name for metric in self.metrics()})
                logs = [record.event_name or record.body for record in self.logs()]
                raise AssertionError(
                    f"not within {timeout} s; what arrived: spans {spans}, metrics {metrics}, logs {logs}"
                )
            self._read(min(left, 1.0))

    def _read(self, wait: float) -> None:
        if self._process is None:
            return
        url = f"{self.http_endpoint}/received?since={self._known}&wait={wait}"
        with DIRECT.open(url, timeout=wait + 10) as answer:
            for request in json.load(answer):
                message = MESSAGES[request["signal"]].FromString(base64.b64decode(request["payload"]))
                self._requests.append((request["signal"], request["protocol"], message))
                self._known += 1

    def _of(self, signal: str) -> list[Any]:
        self._read(0)
        return [message for kind, _, message in self._requests if kind == signal]

    def trace_requests(self) -> list[ExportTraceServiceRequest]:
        """Export requests with spans, in the order in which they came."""
        return self._of("traces")

    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """Export requests with metrics, in the order in which they came."""
        return self._of("metrics")

    def log_requests(self) -> list[ExportLogsServiceRequest]:
        """Export requests with log records, in the order in which they came."""
        return self._of("logs")
