"""One value that OTLP cannot carry costs neither its own record nor another."""

import enum
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.status import Status, StatusCode

from builders import NOW_NS, make_span_context
from dbsight import safety
from dbsight.export.encodable import LONGEST, Careful, CarefulMetrics, clean_log, clean_metrics, encodable, is_encodable
from dbsight.export.encoding import Encoder
from dbsight.model import SharedAttributes, TextAttributes
from unit.examples import examples

BAD = "caf\udce9"
GOOD = "caf\ufffd"


class Level(enum.IntEnum):
    """A number with a name."""

    HIGH = 3


class Strange:
    """Its text cannot be had."""

    def __str__(self):
        raise RuntimeError


def make_span(name="SELECT orders", **fields):
    """An ended span."""
    return ReadableSpan(
        **{
            "name": name,
            "context": make_span_context(),
            "resource": Resource({"service.name": "shop"}),
            "attributes": {"db.system.name": "sqlite"},
            "kind": SpanKind.CLIENT,
            "instrumentation_scope": InstrumentationScope("dbsight", "1"),
            "start_time": NOW_NS,
            "end_time": NOW_NS + 1,
            **fields,
        }
    )


def sent(message):
    """The spans of a message, as they arrive."""
    request = ExportTraceServiceRequest.FromString(message.SerializeToString())
    return [
        (resource, scope, span)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BAD, GOOD),
        ("\ud83d\ude00", "😀"),
        ("x" * (LONGEST + 1), "x" * LONGEST + " …"),
        (2**63, str(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (10**5000, "an integer of 16610 bits"),
        (Level.HIGH, 3),
        (("a", None, 1, BAD), ["a", None, 1, GOOD]),
        ([[BAD], (2**64,)], [[GOOD], [str(2**64)]]),
        ({1: BAD, BAD: None, None: 2}, {"1": GOOD, GOOD: None, "None": 2}),
        ({BAD}, [GOOD]),
        (memoryview(b"x"), b"x"),
        (b"x" * (LONGEST + 1), b"x" * LONGEST),
        (Strange(), "Strange"),
        (SpanKind.CLIENT, "SpanKind.CLIENT"),
    ],
    ids=range(15),
)
def test_a_value_is_replaced_by_what_can_be_carried(value, expected):
    """The rest of a sequence or mapping stays as it is."""
    assert not is_encodable(value)
    assert encodable(value) == expected
    assert is_encodable(encodable(value)) or len(encodable(value)) > LONGEST


@pytest.mark.parametrize(
    "value", ["café", "", 0, 2**63 - 1, -(2**63), 1.5, math.nan, True, None, b"\xff", ("a", 1), []]
)
def test_a_value_that_can_be_carried_stays_the_same_object(value):
    """Nothing is copied for it."""
    assert is_encodable(value)
    assert encodable(value) is value


def test_a_list_that_holds_itself_ends():
    """And is cut deep inside."""
    endless = []
    endless.append(endless)
    assert "…" in repr(encodable(endless))


PLACES = {
    "name": (make_span, lambda span: span.name),
    "status": (
        lambda value: make_span(status=Status(StatusCode.ERROR, value)),
        lambda span: span.status.message,
    ),
    "event name": (lambda value: make_span(events=(Event(value, {}, NOW_NS),)), lambda span: span.events[0].name),
    "exception message": (
        lambda value: make_span(events=(Event("exception", {"exception.message": value}, NOW_NS),)),
        lambda span: span.events[0].attributes[0].value.string_value,
    ),
    "event key": (
        lambda value: make_span(events=(Event("e", {value: 1}, NOW_NS),)),
        lambda span: span.events[0].attributes[0].key,
    ),
    "attribute": (
        lambda value: make_span(attributes={"a": value}),
        lambda span: span.attributes[0].value.string_value,
    ),
    "key": (lambda value: make_span(attributes={value: 1}), lambda span: span.attributes[0].key),
    "nested list": (
        lambda value: make_span(attributes={"a": ("x", value)}),
        lambda span: span.attributes[0].value.array_value.values[1].string_value,
    ),
    "link": (
        lambda value: make_span(links=(Link(make_span_context(), {"a": value}),)),
        lambda span: span.links[0].attributes[0].value.string_value,
    ),
    "shared attribute": (
        lambda value: make_span(attributes=SharedAttributes({"a": value})),
        lambda span: span.attributes[0].value.string_value,
    ),
    "name beside shared attributes": (
        lambda value: make_span(value, attributes=SharedAttributes({"a": 1})),
        lambda span: span.name,
    ),
    "own text": (
        lambda value: make_span(attributes=TextAttributes(SharedAttributes({}, ("db.query.text",)), value)),
        lambda span: span.attributes[0].value.string_value,
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_text_that_cannot_be_encoded_is_replaced_where_it_stands(place, caplog):
    """Its span, and the spans before and behind it, arrive; nothing is logged, lost or counted as an error of ours."""
    make, where = PLACES[place]
    bad = make(BAD)
    (_, _, before), (_, _, found), (_, _, behind) = sorted(
        sent(Encoder(encode_spans)([make_span("1"), bad, make_span("3", attributes=SharedAttributes({"n": 3}))])),
        key=lambda each: (each[2].name == "3", each[2].name != "1"),
    )
    assert where(found) == GOOD
    assert (before.name, behind.name) == ("1", "3")
    assert where(sent(encode_spans([make(GOOD)]))[0][2]) == GOOD
    assert caplog.records == []
    assert safety.drops() == {}
    assert make(BAD)._name == bad._name  # the span itself is not changed: others export it too


def test_resource_and_scope_are_cleaned():
    """They go with every span of a batch."""
    resource = Resource({"process.command_args": ("app", BAD), "big": "x"})
    scope = InstrumentationScope(f"mine{BAD}", "1", attributes={"a": BAD})
    spans = [
        make_span("1", resource=resource, instrumentation_scope=scope),
        make_span("2", resource=resource, instrumentation_scope=scope, attributes=SharedAttributes({"n": 3})),
    ]
    arrived = sent(Encoder(encode_spans)(spans))
    assert {span.name for _, _, span in arrived} == {"1", "2"}
    for about, scoped, _ in arrived:
        attributes = {each.key: each.value for each in about.resource.attributes}
        assert [each.string_value for each in attributes["process.command_args"].array_value.values] == ["app", GOOD]
        assert (scoped.scope.name, scoped.scope.attributes[0].value.string_value) == (f"mine{GOOD}", GOOD)


def test_a_span_that_nobody_can_encode_is_lost_alone_and_counted():
    """A time before 1970, say, that no field can hold."""
    spans = [make_span("1"), make_span("2", start_time=-1), make_span("3", attributes=SharedAttributes({"n": 3}))]
    assert {span.name for _, _, span in sent(Encoder(encode_spans)(spans))} == {"1", "3"}
    assert safety.drops() == {"telemetry that cannot be encoded": 1}


def test_dropped_counts_of_a_cleaned_span_are_kept():
    """What the limits of the SDK dropped is still told of."""
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    ended = []
    provider = TracerProvider(span_limits=SpanLimits(max_attributes=2, max_events=2, max_event_attributes=1))
    span = provider.get_tracer("t").start_span("s")
    for number in range(5):
        span.set_attribute(f"a{number}", BAD)
        span.add_event(BAD, {"x": 1, "y": BAD})
    span.end()
    ended.append(span._readable_span())
    ((_, _, made),) = sent(Encoder(encode_spans)(ended))
    assert (made.dropped_attributes_count, made.dropped_events_count) == (3, 3)
    assert [event.dropped_attributes_count for event in made.events] == [1, 1]
    assert {attribute.value.string_value for attribute in made.attributes} == {GOOD}


def test_log_records_are_cleaned(caplog):
    """Body, event name, severity text and attributes, also of nested values."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("t")
    for body in ("fine", BAD, {"a": [BAD, 2**70], "b": None}):
        logger.emit(
            LogRecord(
                timestamp=NOW_NS,
                severity_number=SeverityNumber.INFO,
                severity_text=BAD,
                event_name=BAD,
                body=body,
                attributes={"a": BAD},
            )
        )
    records = exporter.get_finished_logs()
    request = Careful(encode_logs, clean_log)(records)
    made = request.resource_logs[0].scope_logs[0].log_records
    assert [each.severity_text for each in made] == [GOOD] * 3
    assert [each.event_name for each in made] == [GOOD] * 3
    assert [each.attributes[0].value.string_value for each in made] == [GOOD] * 3
    assert made[1].body.string_value == GOOD
    listed = made[2].body.kvlist_value.values[0].value.array_value.values
    assert [each.string_value for each in listed] == [GOOD, str(2**70)]
    assert caplog.records == []


def test_metrics_are_cleaned(caplog):
    """Attributes of data points, names and descriptions; what is not finite newer SDKs leave out by themselves."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], resource=Resource({"a": BAD}), shutdown_on_exit=False).get_meter("t")
    meter.create_counter("fine", description=BAD).add(2**70, {"k": BAD})
    histogram = meter.create_histogram("times")
    for value in (1.0, math.nan, math.inf, 1e308):
        histogram.record(value, {"k": ("x", BAD)})
    collected = reader.get_metrics_data()
    request = CarefulMetrics(encode_metrics, clean_metrics)(collected)
    (group,) = request.resource_metrics
    (point,) = collected.resource_metrics[0].scope_metrics[0].metrics[1].data.data_points
    counter, times = sorted(group.scope_metrics[0].metrics, key=lambda metric: metric.name)
    assert counter.description == GOOD
    assert counter.sum.data_points[0].as_double == float(2**70)
    assert counter.sum.data_points[0].attributes[0].value.string_value == GOOD
    assert times.histogram.data_points[0].count == point.count >= 2
    assert times.histogram.data_points[0].attributes[0].value.array_value.values[1].string_value == GOOD
    assert not [record for record in caplog.records if "encode" in record.getMessage()]


def test_metrics_without_anything_to_clean_stay_the_same_tree():
    """Nothing is copied."""
    reader = InMemoryMetricReader()
    MeterProvider([reader], shutdown_on_exit=False).get_meter("t").create_counter("fine").add(1, {"k": "v"})
    data = reader.get_metrics_data()
    assert clean_metrics(data) is data


def test_a_metric_that_nobody_can_encode_is_lost_alone_and_counted():
    """The others of the same collection arrive."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("t")
    meter.create_counter("fine").add(1)
    meter.create_counter("odd").add(1)
    data = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    odd = next(metric for metric in metrics if metric.name == "odd")
    object.__setattr__(odd.data.data_points[0], "time_unix_nano", -1)
    request = CarefulMetrics(encode_metrics, clean_metrics)(data)
    assert [
        metric.name for group in request.resource_metrics for scope in group.scope_metrics for metric in scope.metrics
    ] == ["fine"]
    assert safety.drops() == {"telemetry that cannot be encoded": 1}


_PLAIN = encode_spans([make_span(attributes={"a": None})]).resource_spans[0].scope_spans[0].spans[0]
NONE = [None] if _PLAIN.attributes else []
"""Older encoders leave out attributes that are None; nothing else may be left out."""

VALUES = st.recursive(
    st.one_of(
        st.text(st.characters(), max_size=5),
        st.sampled_from([BAD, "\ud800\udc00", "\udc00\ud800", *NONE]),
        st.integers(),
        st.floats(),
        st.binary(max_size=3),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@examples(200)
@given(st.dictionaries(st.text(max_size=3) | st.sampled_from([BAD]), VALUES, max_size=3), st.text(max_size=4))
def test_any_span_arrives(attributes, name):
    """With all of its attributes but those whose keys have become the same."""
    ((_, _, span),) = sent(Encoder(encode_spans)([make_span(name + BAD, attributes=attributes)]))
    assert len(span.attributes) == len({encodable(key) for key in attributes})
