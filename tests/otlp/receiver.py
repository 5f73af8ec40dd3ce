"""A program that receives traces, metrics and logs over OTLP and keeps them for the tests to read.

    python tests/otlp/receiver.py --grpc-port 0 --http-port 0

Takes gRPC on one port and HTTP with protobuf bodies (plain or gzip) on the other. Its one line on standard output is
JSON with both ports. ``GET /received?since=N&wait=S`` on the HTTP port returns what came after the first N requests,
waiting up to S seconds for one; ``DELETE /received`` forgets them all. It ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import sys
import threading
from concurrent import futures
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import grpc
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

SIGNALS = {
    "/v1/traces": (
        "traces",
        trace_service_pb2.ExportTraceServiceRequest,
        trace_service_pb2.ExportTraceServiceResponse,
    ),
    "/v1/metrics": (
        "metrics",
        metrics_service_pb2.ExportMetricsServiceRequest,
        metrics_service_pb2.ExportMetricsServiceResponse,
    ),
    "/v1/logs": (
        "logs",
        logs_service_pb2.ExportLogsServiceRequest,
        logs_service_pb2.ExportLogsServiceResponse,
    ),
}


class Store:
    """Every request that arrived, in order."""

    def __init__(self) -> None:
        self._requests: list[dict[str, str]] = []
        self._arrived = threading.Condition()

    def add(self, signal: str, protocol: str, request: Message) -> None:
        """Keep one export request."""
        payload = base64.b64encode(request.SerializeToString()).decode()
        with self._arrived:
            self._requests.append({"signal": signal, "protocol": protocol, "payload": payload})
            self._arrived.notify_all()

    def since(self, known: int, wait: float) -> list[dict[str, str]]:
        """The requests after the first ``known``; waits up to ``wait`` seconds for one."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._requests) > known, wait)
            return self._requests[known:]

    def clear(self) -> None:
        """Forget everything."""
        with self._arrived:
            self._requests.clear()


def grpc_server(store: Store, port: int) -> tuple[grpc.Server, int]:
    """A gRPC server on loopback with the three services; the second value is its port."""

    def service(base: type, path: str) -> object:
        signal, _, reply = SIGNALS[path]

        def export(self: object, request: Message, context: grpc.ServicerContext) -> Message:
            store.add(signal, "grpc", request)
            return reply()

        return type(base.__name__, (base,), {"Export": export})()

    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        service(trace_service_pb2_grpc.TraceServiceServicer, "/v1/traces"), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        service(metrics_service_pb2_grpc.MetricsServiceServicer, "/v1/metrics"), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        service(logs_service_pb2_grpc.LogsServiceServicer, "/v1/logs"), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def http_server(store: Store, port: int) -> ThreadingHTTPServer:
    """An HTTP server on loopback that takes exports and shows what arrived."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # exporters keep their connection

        def answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "application/x-protobuf") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path not in SIGNALS:
                self.answer(HTTPStatus.NOT_FOUND)
                return
            if self.headers.get("Content-Type") != "application/x-protobuf":
                self.answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
                return
            signal, kind, reply = SIGNALS[self.path]
            try:
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = kind.FromString(body)
            except (DecodeError, OSError, EOFError):
                self.answer(HTTPStatus.BAD_REQUEST)
                return
            store.add(signal, "http/protobuf", request)
            self.answer(HTTPStatus.OK, reply().SerializeToString())

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            requests = store.since(int(query.get("since", ["0"])[0]), float(query.get("wait", ["0"])[0]))
            self.answer(HTTPStatus.OK, json.dumps(requests).encode(), "application/json")

        def do_DELETE(self) -> None:
            store.clear()
            self.answer(HTTPStatus.NO_CONTENT)

        def log_message(self, *_: object) -> None:
            """Standard error is for faults."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server(("127.0.0.1", port), Handler)


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(description="Receive OTLP and keep it.")
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=0)
    wanted = parser.parse_args()
    store = Store()
    over_http = http_server(store, wanted.http_port)
    over_grpc, grpc_port = grpc_server(store, wanted.grpc_port)
    threading.Thread(target=over_http.serve_forever, daemon=True).start()
    print(json.dumps({"grpc": grpc_port, "http": over_http.server_address[1]}), flush=True)
    sys.stdin.read()
    over_grpc.stop(None)


if __name__ == "__main__":
    main()
