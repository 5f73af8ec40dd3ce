"""Where nobody listening means anything, and whether anybody does."""

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricsData,
)
from opentelemetry.sdk.trace.export import (
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)

from dbsight import safety
from dbsight.export import is_otlp, listening
from dbsight.export.endpoint import unconfigured_port
from exporting import GRPC, HTTP, SentLogs, SentMetrics, SentSpans, spans


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_a_configured_endpoint_is_never_looked_at(outlets, ports, variable):
    """Whoever configured it gets OpenTelemetry's own behaviour: it is tried, and failures are failures."""
    outlet = outlets({variable: "http://localhost:4318"})
    inner = SentSpans(lambda _: False)
    exporter = outlet.spans(inner)

    assert exporter.export(spans("a")) is SpanExportResult.FAILURE
    assert exporter.export(spans("b")) is SpanExportResult.FAILURE
    outlet.look()
    outlet.closing()
    assert (inner.names, ports.looks) == ([["a"], ["b"]], [])


def test_an_endpoint_for_one_signal_says_nothing_about_the_others(outlets, ports):
    """Metrics to a configured place, spans to the default port."""
    outlet = outlets({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://prometheus:9090/api/v1/otlp/v1/metrics"})
    inner_metrics, inner_spans = SentMetrics(), SentSpans()
    outlet.metrics(inner_metrics).export(MetricsData([]))
    outlet.spans(inner_spans).export(spans("a"))
    assert (len(inner_metrics.batches), inner_spans.batches) == (1, [])


def test_signals_of_one_protocol_share_one_look(outlet, ports):
    """Three exporters, one port: it is looked at once when the process starts."""
    outlet.spans(SentSpans())
    outlet.metrics(SentMetrics())
    outlet.logs(SentLogs())
    assert ports.looks == [HTTP]
    over_grpc = outlet.spans(GrpcSpanExporter())
    assert ports.looks == [HTTP, GRPC]
    over_grpc.shutdown()


class Vendors(OTLPSpanExporter):
    """As some vendors derive theirs."""


@pytest.mark.parametrize(
    ("exporter", "environ", "port"),
    [
        (GrpcSpanExporter, {}, GRPC),
        (OTLPSpanExporter, {}, HTTP),
        (Vendors, {}, HTTP),
        (OTLPSpanExporter, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, HTTP),
        (OTLPSpanExporter, {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:4318"}, HTTP),
        (OTLPSpanExporter, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, None),
        (lambda: Vendors(endpoint="https://api.vendor.example/v1/traces"), {}, None),
        (lambda: GrpcSpanExporter(endpoint="http://collector:4317"), {}, None),
        (lambda: OTLPSpanExporter(endpoint="http://localhost:14318/v1/traces"), {}, None),
        (lambda: OTLPSpanExporter(endpoint="http://localhost:what/v1/traces"), {}, None),
    ],
)
def test_a_default_port_is_only_where_nobody_said_otherwise(exporter, environ, port):
    """In the environment or in code, for all signals or this one; an empty variable says nothing."""
    exporter = exporter()
    assert unconfigured_port(exporter, "TRACES", environ) == port
    exporter.shutdown()


def test_only_otlp_exporters_are_wrapped(outlet):
    """Consoles and exporters of other protocols never wait for a collector."""
    for exporter in (ConsoleSpanExporter(), SpanExporter()):
        assert not is_otlp(exporter)
        assert outlet.spans(exporter) is exporter
    console_metrics, console_logs = ConsoleMetricExporter(), ConsoleLogRecordExporter()
    assert outlet.metrics(console_metrics) is console_metrics
    assert outlet.logs(console_logs) is console_logs
    wrapped = outlet.spans(SentSpans())
    assert outlet.spans(wrapped) is wrapped
    assert is_otlp(SentSpans())
    assert is_otlp(SentMetrics())
    assert is_otlp(SentLogs())


def test_listening_is_seen_on_ipv4_and_ipv6_loopback():
    """A real socket on either address family, and none."""
    import socket

    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            server = socket.create_server((address, 0), family=family)
        except OSError:
            assert family == socket.AF_INET6, "no IPv4 loopback"
            continue
        port = server.getsockname()[1]
        assert listening(port)
        server.close()
        assert not listening(port)


@pytest.mark.swallows_errors
def test_a_probe_that_fails_leaves_the_sdk_to_itself(outlets):
    """Where sockets are forbidden, say, telemetry goes the way it goes without us."""

    def probe(port):
        raise PermissionError(port)

    outlet = outlets(probe=probe)
    inner = SentSpans()
    outlet.spans(inner).export(spans("a"))
    assert inner.names == [["a"]]
    assert safety.errors() == {"export.probe": 1}
