"""The encoder gives a collector the same messages as the stock one."""

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from builders import NOW_NS, make_span_context
from dbsight.export import encoding
from dbsight.export.encodable import clean_span
from dbsight.export.encoding import Encoder, install_encoder
from dbsight.model import SharedAttributes, TextAttributes

RESOURCE = Resource({"service.name": "shop", "numbers": (1, 2)})
SCOPE = InstrumentationScope("dbsight", "1", "https://example.test/schema")


def make_span(attributes, **fields):
    """A query span."""
    return ReadableSpan(
        **{
            "name": "SELECT orders",
            "context": make_span_context(),
            "parent": make_span_context(),
            "resource": RESOURCE,
            "attributes": attributes,
            "kind": SpanKind.CLIENT,
            "instrumentation_scope": SCOPE,
            "start_time": NOW_NS,
            "end_time": NOW_NS + 1_234_567,
            **fields,
        }
    )


def spans_of(message):
    """Every span with its resource and scope, in an order that does not depend on the grouping."""
    request = ExportTraceServiceRequest.FromString(message.SerializeToString())
    return sorted(
        (
            resource.resource.SerializeToString(deterministic=True),
            scope.scope.SerializeToString(deterministic=True) + scope.schema_url.encode(),
            span.SerializeToString(deterministic=True),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )


SHARED = SharedAttributes(
    {"db.system.name": "sqlite", "rows": 3, "share": 0.5, "list": ("a", "b"), "flag": True, "long": "x" * 500}
)
OTHER_SHARED = SharedAttributes({"db.system.name": "postgresql", "unicode": "ü"})
TEXTLESS = SharedAttributes({"db.system.name": "redis"}, ("db.query.text",))
TEXTLESS_TWICE = SharedAttributes({"db.system.name": "redis"}, ("db.query.text", "db.statement"))
REMOTE = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
STATEFUL = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")]))
FINDING = Event("dbsight.finding", {"n": 1, "none": 0, "share": 0.25, "zero": 0.0, "ü": "ü", "": "", "b": True}, NOW_NS)
FOUND = {"dbsight.findings.rules": ("a", "b"), "n": 1, "share": 0.5, "flag": True, "ü": "ü", "large": -(2**40)}

KINDS = {
    "shared": lambda: make_span(SHARED),
    "shared by others": lambda: make_span(OTHER_SHARED, name="INSERT"),
    "own text": lambda: make_span(TextAttributes(TEXTLESS, "GET user:1")),
    "own text twice": lambda: make_span(TextAttributes(TEXTLESS_TWICE, "GET user:ü")),
    "own text, event": lambda: make_span(TextAttributes(TEXTLESS, "GET a"), events=(Event("e", {"n": 1}, NOW_NS),)),
    "root": lambda: make_span(SHARED, parent=None),
    "remote parent": lambda: make_span(SHARED, parent=REMOTE),
    "trace state": lambda: make_span(SHARED, context=STATEFUL),
    "own attributes": lambda: make_span({"a": 1}),
    "root without findings": lambda: make_span(FOUND, parent=None, kind=SpanKind.SERVER),
    "root without findings below another service": lambda: make_span(FOUND, parent=REMOTE, kind=SpanKind.SERVER),
    "root without findings that failed": lambda: make_span(FOUND, parent=None, status=Status(StatusCode.ERROR, "why")),
    "own attributes that are not plain": lambda: make_span({"a": 1, "b": ("c", "d"), "e": b"x"}),
    "event of a finding": lambda: make_span({"a": (1, 2)}, events=(FINDING, FINDING)),
    "root with findings": lambda: make_span(FOUND, parent=None, events=(FINDING,), kind=SpanKind.SERVER),
    "root with findings below another service": lambda: make_span(FOUND, parent=REMOTE, events=(FINDING, FINDING)),
    "root with findings and a status": lambda: make_span(
        FOUND, events=(FINDING,), status=Status(StatusCode.ERROR, "why: ü")
    ),
    "root with findings and a trace state": lambda: make_span(FOUND, context=STATEFUL, events=(FINDING,)),
    "root with findings and a link": lambda: make_span(FOUND, events=(FINDING,), links=(Link(STATEFUL, {"n": 1}),)),
    "root with findings in another scope": lambda: make_span(
        FOUND, events=(FINDING,), instrumentation_scope=InstrumentationScope("other")
    ),
    "root with findings and bounded attributes": lambda: make_span(
        BoundedAttributes(1, {"a": 1, "b": 2}), events=(FINDING,)
    ),
    "root with findings and dropped links": lambda: make_span(
        FOUND, events=(FINDING,), links=BoundedList.from_seq(0, [Link(STATEFUL)])
    ),
    "event of a finding with a description": lambda: make_span(
        {"a": 1}, events=(Event("dbsight.finding", {"dbsight.finding.description": "ü" * 200, "n": True}, NOW_NS),)
    ),
    "event of a finding and another": lambda: make_span({"a": 1}, events=(FINDING, Event("e", {"n": 1}, NOW_NS))),
    "event of a finding with a list": lambda: make_span(
        {"a": 1}, events=(Event("dbsight.finding", {"issues": ("a", "b")}, NOW_NS),)
    ),
    "event": lambda: make_span(SHARED, events=(Event("dbsight.finding", {"n": 1}, NOW_NS),)),
    "link": lambda: make_span(SHARED, links=(Link(make_span_context(), {"n": 1}),)),
    "error": lambda: make_span({"a": 1}, status=Status(StatusCode.ERROR, "why")),
    "another scope": lambda: make_span(SHARED, instrumentation_scope=InstrumentationScope("other")),
    "another resource": lambda: make_span(SHARED, resource=Resource({"service.name": "other"})),
    "small ids": lambda: make_span(SHARED, context=SpanContext(1, 1, is_remote=False)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_is_encoded_as_the_stock_encoder_does(kind):
    """Twice: the second time from what was kept."""
    encoder = Encoder(encode_spans)
    for _ in range(2):
        spans = [KINDS[kind]()]
        assert spans_of(encoder(spans)) == spans_of(encode_spans(spans))


def test_what_a_processor_changed_on_one_span_is_sent_of_that_span_alone():
    """Hiding more of a text in ``on_end`` is a habit, and reaches for the private name."""
    encoder = Encoder(encode_spans)
    hidden, cut, other = (make_span(TextAttributes(TEXTLESS, "GET user:1")) for _ in range(3))
    encoder([other])
    hidden._attributes["db.query.text"] = "?"
    del cut._attributes["db.query.text"]
    spans = [hidden, cut, other]
    assert [dict(each.attributes) for each in spans] == [
        {"db.system.name": "redis", "db.query.text": "?"},
        {"db.system.name": "redis"},
        {"db.system.name": "redis", "db.query.text": "GET user:1"},
    ]
    assert [len(each.attributes) for each in spans] == [2, 1, 2]
    assert spans_of(encoder(spans)) == spans_of(encode_spans(spans))


@pytest.mark.parametrize("character", ["x", "ü", "漢"])
def test_an_own_text_of_any_length_is_encoded_as_the_stock_encoder_does(character):
    """One byte says how long a short one is."""
    encoder = Encoder(encode_spans)
    for length in (0, 1, *range(80, 135), 16_500):
        spans = [make_span(TextAttributes(TEXTLESS, character * length))]
        assert spans_of(encoder(spans)) == spans_of(encode_spans(spans))


def test_an_own_text_is_encoded_under_the_names_that_it_has_now():
    """What was kept of it may have had others."""
    encoder = Encoder(encode_spans)
    for shared in (TEXTLESS, TEXTLESS_TWICE, TEXTLESS):
        spans = [make_span(TextAttributes(shared, text)) for text in ("GET user:1", "GET user:ü", "GET user:1")]
        assert spans_of(encoder(spans)) == spans_of(encode_spans(spans))


def test_texts_that_are_kept_are_few_and_short():
    """Keys may be as many and as long as the application likes."""
    encoder = Encoder(encode_spans)
    for text in (*map(str, range(encoding._MAX_TEXTS + 10)), "x" * 10_000):
        encoder([make_span(TextAttributes(TEXTLESS, text))])
    assert 0 < len(encoder._texts) <= encoding._MAX_TEXTS
    assert max(map(len, encoder._texts)) <= encoding._LONGEST_TEXT


def test_a_mixed_batch_is_encoded_as_the_stock_encoder_does():
    """No span is lost, doubled or put under another's resource or scope."""
    spans = [make() for make in KINDS.values() for _ in range(3)]
    assert spans_of(Encoder(encode_spans)(spans)) == spans_of(encode_spans(spans))


def test_resources_and_scopes_are_encoded_once():
    """The stock encoder is asked for what it has not seen; many of them take no memory for ever."""
    asked = []

    def stock(spans):
        asked.extend(spans)
        return encode_spans(spans)

    encoder = Encoder(stock)
    for _ in range(2):
        spans = [make() for make in KINDS.values()]
        assert spans_of(encoder(spans)) == spans_of(encode_spans(spans))
    asked.clear()
    encoder([make_span(SHARED), make_span(SHARED), make_span(FOUND, parent=None, kind=SpanKind.SERVER)])
    assert asked == []
    for number in range(encoding._MAX_SCOPES + 50):
        spans = [make_span(SHARED, resource=Resource({"service.name": f"shop-{number}"}))]
        assert spans_of(encoder(spans)) == spans_of(encode_spans(spans))
    assert len(encoder._scopes) <= encoding._MAX_SCOPES


@pytest.mark.parametrize("value", ["\ud800", 2**64, "x" * 2_000_000])
@pytest.mark.parametrize("name", ["dbsight.finding.description", "dbsight.finding.title"])
def test_a_finding_that_cannot_be_encoded_as_it_is_arrives_in_encodable_form(name, value):
    """As an event of the application does; the spans beside it arrive, too."""
    spans = [
        make_span({"a": 1}, events=(Event("dbsight.finding", {name: value, "n": 1}, NOW_NS),)),
        make_span({"a": 2}, events=(FINDING,)),
    ]
    arrived = Encoder(encode_spans)(spans)
    assert spans_of(arrived) == spans_of(encode_spans([clean_span(span) for span in spans]))


def test_a_root_whose_name_cannot_be_encoded_arrives_with_its_findings(caplog):
    """In encodable form, like any other; the stock encoder, which logs what it cannot encode, never sees it before."""
    spans = [
        make_span(FOUND, name="GET /\ud800", events=(FINDING,)),
        make_span({"\ud800": "\ud800"}, events=(FINDING,)),
    ]
    assert spans_of(Encoder(encode_spans)(spans)) == spans_of(encode_spans([clean_span(span) for span in spans]))
    assert caplog.records == []


def test_nothing_is_encoded_as_nothing():
    """An empty batch is an empty request."""
    assert Encoder(encode_spans)([]) == encode_spans([])


@pytest.mark.swallows_errors
def test_what_cannot_be_encoded_here_is_left_to_the_stock_encoder():
    """A span without times, say."""
    spans = [make_span(SHARED, start_time=None)]
    assert spans_of(Encoder(encode_spans)(spans)) == spans_of(encode_spans(spans))


@pytest.mark.parametrize("kind", [GrpcExporter, HttpExporter])
def test_both_stock_exporters_use_the_encoder(kind, monkeypatch):
    """Done once for all exporters of the class."""
    import importlib

    module = importlib.import_module(kind.__module__)
    monkeypatch.setattr(module, "encode_spans", encode_spans)
    exporter = kind()
    assert install_encoder(exporter)
    assert install_encoder(exporter)
    assert isinstance(module.encode_spans, Encoder)
    assert module.encode_spans.stock is encode_spans
    exporter.shutdown()


def test_another_exporter_is_left_alone():
    """Nothing of it is touched."""
    assert not install_encoder(object())
