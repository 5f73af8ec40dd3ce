"""A server that takes telemetry, counts the spans and throws everything away.

Run as a process of its own so that receiving costs nothing in the process that is measured:

    python benchmarks/sink.py

It speaks OTLP over gRPC, and as much of the Datadog agent's HTTP interface as ddtrace needs to keep sending. Its one
line on standard output is JSON with both ports. ``GET /counts`` on the HTTP port returns what arrived since it was last
asked. It ends when its standard input is closed.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Counts:
    """What arrived since it was last taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, what: str, count: int) -> None:
        """Add ``count`` to ``what``."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + count

    def take(self) -> dict[str, int]:
        """Return the counts by name and start again from nothing."""
        with self._lock:
            taken, self._counts = self._counts, {}
        return taken


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts spans, those that stand for a call to a database, and events."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def Export(self, request, context):  # noqa: ANN001, ANN201, N802 - gRPC's name and signature
        """Take one export request."""
        spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        self._counts.add("spans", len(spans))
        self._counts.add("database_spans", sum(span.kind == span.SPAN_KIND_CLIENT for span in spans))
        self._counts.add("events", sum(len(span.events) for span in spans))
        self._counts.add("bytes", request.ByteSize())
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Takes metrics and forgets them."""

    def Export(self, request, context):  # noqa: ANN001, ANN201, N802 - as above
        """Take one export request."""
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Logs(logs_service_pb2_grpc.LogsServiceServicer):
    """Takes log records and forgets them."""

    def Export(self, request, context):  # noqa: ANN001, ANN201, N802 - as above
        """Take one export request."""
        return logs_service_pb2.ExportLogsServiceResponse()


class Agent(BaseHTTPRequestHandler):
    """Says yes to whatever ddtrace sends to the agent."""

    protocol_version = "HTTP/1.1"
    counts: Counts

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer ``/counts``, and ``/info`` with the agent's capabilities."""
        if self.path == "/counts":
            answer: object = self.counts.take()
        else:
            answer = {"version": "7.60.0", "endpoints": ["/v0.4/traces"]}
        self._answer(json.dumps(answer).encode())

    def _body(self) -> int:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return total

    def do_PUT(self) -> None:
        """Take a payload of traces."""
        size = self._body()
        if self.path.endswith("/traces"):
            self.counts.add("traces", int(self.headers.get("X-Datadog-Trace-Count", 0)))
            self.counts.add("bytes", size)
        self._answer(b'{"rate_by_service": {}}')

    do_POST = do_PUT  # noqa: N815 - the base class looks for this name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def main() -> None:
    """Serve until standard input is closed."""
    counts = Counts()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), options=[("grpc.max_receive_message_length", -1)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(counts), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    Agent.counts = counts
    agent = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    agent.daemon_threads = True
    threading.Thread(target=agent.serve_forever, daemon=True).start()
    print(json.dumps({"otlp": port, "agent": agent.server_address[1]}), flush=True)
    sys.stdin.read()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
