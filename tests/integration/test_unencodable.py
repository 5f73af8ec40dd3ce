"""Telemetry of an application that OTLP cannot carry, over both protocols, to a real receiver."""

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.status import Status, StatusCode

import dbsight
from dbsight.processor import attach

BAD, GOOD = "caf\udce9", "caf\ufffd"

PROGRAM = """
import logging
from opentelemetry import _logs, metrics, trace

BAD = "caf\\udce9"
with trace.get_tracer("app").start_as_current_span(f"request {BAD}") as span:
    span.set_attribute("user", BAD)
    span.add_event(BAD)
with trace.get_tracer("app").start_as_current_span("other"):
    _logs.get_logger("app").emit(event_name="event", body=BAD, attributes={"user": BAD})
    metrics.get_meter("app").create_counter("things").add(1, {"user": BAD})
"""


def exporters(receiver):
    """One of each protocol, as an application makes them."""
    return {
        "grpc": lambda: GrpcExporter(receiver.grpc_endpoint, insecure=True),
        "http": lambda: HttpExporter(f"{receiver.http_endpoint}/v1/traces"),
    }


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("way", ["by hand", "attached", "added later"])
def test_one_bad_string_costs_no_span(receiver, protocol, way):
    """Name, status, exception and attributes of the application's own spans; the batch arrives whole."""
    provider = TracerProvider(shutdown_on_exit=False)
    batches = BatchSpanProcessor(exporters(receiver)[protocol]())
    if way == "by hand":
        provider.add_span_processor(dbsight.DbsightSpanProcessor(batches))
    elif way == "attached":
        provider.add_span_processor(batches)
        attach(provider)
    else:
        attach(provider)
        provider.add_span_processor(batches)
    tracer = provider.get_tracer("app")
    tracer.start_span("before").end()
    bad = tracer.start_span(f"request {BAD}")
    bad.set_attribute("user", BAD)
    bad.add_event(BAD, {"a": ["x", BAD]})
    bad.record_exception(ValueError(BAD))
    bad.set_status(Status(StatusCode.ERROR, BAD))
    bad.end()
    tracer.start_span("behind").end()
    provider.force_flush()
    receiver.wait_for(lambda received: len(received.spans()) == 3)
    provider.shutdown()
    span = receiver.span(f"request {GOOD}")
    assert span.attributes["user"] == GOOD
    assert span.status_description == GOOD
    assert [event.name for event in span.events] == [GOOD, "exception"]
    assert span.events[0].attributes["a"] == ["x", GOOD]
    assert span.events[1].attributes["exception.message"] == GOOD
    assert "surrogates not allowed" not in repr(span.events[0])


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_one_bad_string_costs_nothing_of_a_process(observe, protocol):
    """Spans, log records and metrics of a program under ``opentelemetry-instrument``."""
    observed = observe(PROGRAM, protocol=protocol)
    assert {f"request {GOOD}", "other"} <= {span.name for span in observed.spans()}
    assert GOOD in repr(observed.logs())
    assert GOOD in repr(observed.points("things"))
