"""The receiver tells what the SDK's own exporters sent, over both protocols."""

import time

import pytest

from otlp.records import Event, Link, Scope

SENDER = """
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

_OTelSDKConfigurator().configure(auto_instrumentation_version="0")
tracer = trace.get_tracer("sender", "1.2", schema_url="https://example.org/schema")
meter = metrics.get_meter("sender")
asked = meter.create_counter("asked", "{question}", "Questions asked")
took = meter.create_histogram("took", "s", "Time taken", explicit_bucket_boundaries_advisory=[1, 5])
logger = _logs.get_logger("sender")
with tracer.start_as_current_span("parent", kind=trace.SpanKind.SERVER) as parent:
    parent.set_attributes({"tags": ["a", "b"], "n": 1})
    link = trace.Link(parent.get_span_context(), {"why": "test"})
    with tracer.start_as_current_span("child", links=[link]) as child:
        child.add_event("answered", {"right": True, "share": 0.5}, timestamp=1_700_000_000_000_000_000)
        child.set_status(trace.StatusCode.ERROR, "said no")
        asked.add(2, {"by": "me"})
        took.record(3.0)
        warning = _logs.SeverityNumber.WARN
        logger.emit(event_name="told", body="twice", attributes={"by": "me"}, severity_number=warning)
"""

SEND_ALL = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("compression", [{}, {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}], ids=["plain", "gzip"])
def test_what_is_sent_is_what_is_read(run_bare, receiver, protocol, compression):
    """Every field of a span, a metric and a log event survives the way."""
    env = {**SEND_ALL, **compression, "OTEL_SERVICE_NAME": "sender"}
    run_bare(SENDER, receiver=receiver, protocol=protocol, env=env).check()

    assert receiver.protocols() == {protocol}
    parent, child = receiver.span("parent"), receiver.span("child")
    assert parent.kind == "SERVER"
    assert parent.attributes == {"tags": ["a", "b"], "n": 1}
    assert parent.parent_span_id == ""
    assert (parent.status, parent.status_description) == ("UNSET", "")
    assert parent.scope == Scope("sender", "1.2", "https://example.org/schema")
    assert parent.resource["service.name"] == "sender"
    assert (child.kind, child.trace_id, child.parent_span_id) == ("INTERNAL", parent.trace_id, parent.span_id)
    assert (child.status, child.status_description) == ("ERROR", "said no")
    assert child.events == [Event("answered", {"right": True, "share": 0.5}, 1_700_000_000_000_000_000)]
    assert child.links == [Link(parent.trace_id, parent.span_id, {"why": "test"}, flags=child.links[0].flags)]
    assert parent.start_ns <= child.start_ns <= child.end_ns <= parent.end_ns
    assert child.flags == 256  # has a local parent; the SDK does not send the sampled bit

    (asked,) = receiver.metrics("asked")
    assert (asked.type, asked.unit, asked.monotonic, asked.temporality) == ("sum", "{question}", True, "CUMULATIVE")
    assert [(point.value, point.attributes) for point in asked.points] == [(2, {"by": "me"})]
    (took,) = receiver.points("took")
    assert (took.count, took.sum, took.min, took.max) == (1, 3.0, 3.0, 3.0)
    assert (took.bounds, took.bucket_counts) == ([1.0, 5.0], [0, 1, 0])
    assert [(one.value, one.span_id) for one in took.exemplars] == [(3.0, child.span_id)]

    (told,) = receiver.logs("told")
    assert (told.body, told.attributes, told.severity) == ("twice", {"by": "me"}, 13)
    assert (told.trace_id, told.span_id) == (child.trace_id, child.span_id)


def test_clear_forgets_what_came_before(run_bare, receiver):
    """Two tests in one session do not see each other's spans."""
    run_bare(SENDER, receiver=receiver, env=SEND_ALL).check()
    assert len(receiver.spans()) == 2
    receiver.clear()
    assert receiver.spans() == []
    assert receiver.metrics() == []
    assert receiver.logs() == []


def test_a_receiver_that_starts_late_gets_what_comes_then(run_bare, late_receiver):
    """Its address is known before it listens; what a program retried arrives."""
    env = {**SEND_ALL, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    run_bare("print('nothing to send')", receiver=late_receiver, env=env).check()
    late_receiver.start()
    run_bare(SENDER, receiver=late_receiver, env=env).check()
    assert [span.name for span in late_receiver.spans()] == ["child", "parent"]


def test_a_receiver_that_comes_back_keeps_what_it_was_told(run_bare, late_receiver):
    """Stopping loses nothing, and a second life is read from its beginning."""
    late_receiver.start()
    run_bare(SENDER, receiver=late_receiver, env=SEND_ALL).check()
    late_receiver.stop()
    late_receiver.start()
    run_bare(SENDER, receiver=late_receiver, env=SEND_ALL).check()
    assert [span.name for span in late_receiver.spans()] == ["child", "parent", "child", "parent"]


def test_waiting_for_what_never_comes_says_what_did(receiver):
    """The message of a failed wait is where one looks first."""
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"not within 0.1 s; what arrived: spans \[\]"):
        receiver.wait_for(lambda received: received.spans("GET /"), timeout=0.1)
    assert time.monotonic() - began < 5
