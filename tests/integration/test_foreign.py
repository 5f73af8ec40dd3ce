"""Database spans of other instrumentations: what they show and what can be known of them."""

import contextlib

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import SpanKind

from dbsight import recording
from dbsight.config import Settings
from dbsight.model import Operation
from hearing import hearing

ROWS = b"INSERT INTO users (id, mail) VALUES (1,'SECRET''s'),(2,E'\\\\SECRET')"


def observed(telemetry, attributes, *, times=1, tracer=None, fail=None):
    """Make client spans below one root, and return what was read of them."""
    name = attributes.get("db.statement", "connect").partition(" ")[0]
    start = (tracer or telemetry.tracer).start_as_current_span
    with hearing() as heard, telemetry.root():
        for _ in range(times):
            with (
                contextlib.suppress(Exception if fail else ()),
                start(name, kind=SpanKind.CLIENT, attributes=attributes),
            ):
                if fail is not None:
                    raise fail
    return heard


@pytest.mark.parametrize(
    "text", [str(ROWS), str(ROWS)[:-1], str(ROWS)[:60], str(ROWS)[:60] + "..."], ids=["whole", "open", "cut", "marked"]
)
def test_the_repr_of_bytes_is_read_as_the_text_that_it_is(make_telemetry, text):
    """psycopg2 sends the statements of ``execute_values`` as bytes; its instrumentation exports ``str(b"…")``."""
    telemetry = make_telemetry(instrument=False)
    (operation,) = observed(
        telemetry, {"db.system": "postgresql", "db.statement": text, "db.operation": text.partition(" ")[0]}
    )
    assert operation.statement.kind == "insert"
    assert operation.statement.written == ("users",)
    assert operation.statement.truncated is (text != str(ROWS))
    (span,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert span.attributes["db.statement"].startswith("INSERT INTO users (id, mail) VALUES (?")
    assert span.name == "INSERT users"
    assert "SECRET" not in repr(telemetry.spans())
    assert "b'" not in repr(span.attributes)


@pytest.mark.parametrize("quote", ["'", '"', "''\""])
def test_every_byte_of_a_repr_is_read(make_telemetry, quote):
    """Whichever quotes Python chose, and whatever it escaped."""
    query = f"SELECT a FROM źródła WHERE b = {quote}SECRET\\\n\t\x00é{quote} AND c = 5"
    telemetry = make_telemetry(instrument=False)
    (read,) = observed(telemetry, {"db.system": "mysql", "db.statement": str(query.encode())})
    (plain,) = observed(telemetry, {"db.system": "mysql", "db.statement": query})
    assert read.statement.fingerprint == plain.statement.fingerprint
    assert read.statement.targets == ("źródła",)


def test_a_span_without_a_text_keeps_no_message(make_telemetry):
    """A failed ``connect``: class and place of the error stay; message, status text and parameters go."""
    telemetry = make_telemetry(instrument=False)
    attributes = {"db.system": "postgresql", "db.name": "shop", "db.query.parameter.0": "SECRET"}
    error = ConnectionError('role "SECRET" does not exist')
    assert observed(telemetry, attributes, fail=error) == []
    (span,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert (span.status, span.status_description) == ("ERROR", "ConnectionError")
    assert [event.attributes.get("exception.type") for event in span.events] == ["ConnectionError"]
    assert span.attributes["db.name"] == "shop"
    assert "SECRET" not in repr(span)


def test_a_span_without_a_text_and_without_values_is_handed_on_as_it_is(make_telemetry):
    """A ``connect`` that succeeded: nothing is rebuilt."""
    telemetry = make_telemetry(instrument=False)
    ended = []
    telemetry.exporter.export = ended.extend
    with telemetry.root():
        span = telemetry.tracer.start_span("connect", kind=SpanKind.CLIENT, attributes={"db.system": "postgresql"})
        span.end()
    telemetry.processor.force_flush()
    assert [each.name for each in ended if each.kind is SpanKind.CLIENT] == ["connect"]


def test_an_error_is_known_by_the_class_that_was_raised(make_telemetry):
    """Where the span has no ``error.type``, the exception event names it."""
    telemetry = make_telemetry(instrument=False)
    (operation,) = observed(telemetry, {"db.system": "sqlite", "db.statement": "SELECT 1"}, fail=KeyError("SECRET"))
    assert operation.error_type == "KeyError"


CUT = "SELECT name, bio FROM authors WHERE country IS NOT NULL AND name IS NOT NULL"


@pytest.mark.parametrize("mark", ["...", "…", " ..."])
def test_a_text_that_was_cut_is_never_redundant(make_telemetry, mark):
    """What came behind is unknown, and with it the parameters: the loop is an N+1, and nothing is asked again."""
    telemetry = make_telemetry(instrument=False)
    operations = observed(telemetry, {"db.system": "sqlite", "db.statement": CUT + mark}, times=8)
    assert all(operation.statement.truncated for operation in operations)
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    (text,) = {span.attributes["db.statement"] for span in telemetry.spans() if span.kind == "CLIENT"}
    assert text == f"{CUT} …"


def test_a_text_that_is_whole_may_be_redundant(make_telemetry):
    """The twin without a mark."""
    telemetry = make_telemetry(instrument=False)
    observed(telemetry, {"db.system": "sqlite", "db.statement": CUT}, times=8)
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert root.attributes["dbsight.findings.rules"] == ["redundant_query"]


def test_a_text_as_long_as_attributes_may_be_was_cut(make_telemetry):
    """The SDK cuts attributes at its limit and leaves no mark; other pipelines cut at round lengths."""
    telemetry = make_telemetry(instrument=False)
    provider = TracerProvider(span_limits=SpanLimits(max_span_attribute_length=50))
    provider.add_span_processor(telemetry.processor)
    limited = provider.get_tracer("limited")
    query = "SELECT name FROM authors WHERE name = 'SECRET" + "x" * 2000
    assert observed(telemetry, {"db.system": "sqlite", "db.statement": query}, tracer=limited)[0].statement.truncated
    for length in (1000, 1024, 2000):
        (operation,) = observed(telemetry, {"db.system": "sqlite", "db.statement": f"{query[: length - 1]}'"})
        assert operation.statement.truncated
    (operation,) = observed(telemetry, {"db.system": "sqlite", "db.statement": f"{query[:998]}'"})
    assert not operation.statement.truncated


def test_without_texts_no_name_is_one(make_telemetry):
    """``OTEL_DBSIGHT_QUERY_TEXT=off``: some instrumentations name a span by its whole statement."""
    telemetry = make_telemetry(instrument=False, settings=Settings(query_text="off"))
    query = "SELECT bio FROM authors WHERE country IS NOT NULL"
    with telemetry.root(), telemetry.tracer.start_as_current_span(query, kind=SpanKind.CLIENT) as span:
        span.set_attributes({"db.system": "sqlite", "db.statement": query, "db.operation": query})
    (span,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert span.name == "SELECT authors"
    assert "country" not in repr(telemetry.spans())


def test_spans_of_others_wait_for_the_drain_where_all_processors_export_in_batches(make_telemetry):
    """As our own do: by the fifty, or when the window is judged; they are judged and handed on in their order."""
    telemetry = make_telemetry(instrument=False, batched=True)
    batches = []

    class Heard(recording.Consumer):
        def observe_all(self, operations):
            batches.append([operation.statement.summary for operation in operations])
            return ()

    heard = Heard()
    recording.subscribe(heard)
    try:
        with telemetry.root():
            for name in ("a", "b", "a"):
                attributes = {"db.system": "sqlite", "db.statement": f"SELECT {name} FROM {name} WHERE id = 7"}
                telemetry.tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes).end()
            assert batches in ([], [["SELECT a", "SELECT b", "SELECT a"]])  # unless the timer was faster
        telemetry.processor.analyzer.judge_ended()
    finally:
        recording.unsubscribe(heard)
    assert [summary for batch in batches for summary in batch] == ["SELECT a", "SELECT b", "SELECT a"]
    spans = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert [span.attributes["db.statement"] for span in spans] == [
        f"SELECT {name} FROM {name} WHERE id = ?" for name in ("a", "b", "a")
    ]


def test_a_processor_that_does_not_export_in_batches_gets_spans_of_others_at_once(make_telemetry):
    """Nobody waits for the end of the root."""
    telemetry = make_telemetry(instrument=False)
    ended = []
    telemetry.exporter.export = ended.extend
    with telemetry.root():
        attributes = {"db.system": "sqlite", "db.statement": "SELECT a FROM b"}
        telemetry.tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes).end()
        assert [span.name for span in ended] == ["SELECT"]


def test_connecting_is_waiting_of_the_next_statement(make_telemetry):
    """A ``connect`` of another instrumentation has no statement; its time is on the next one of its system."""
    telemetry = make_telemetry(instrument=False)
    tracer = telemetry.tracer_provider.get_tracer("opentelemetry.instrumentation.asyncpg")

    def span(name, system, **attributes):
        made = tracer.start_span(
            name, kind=SpanKind.CLIENT, attributes={"db.system": system, **attributes}, start_time=1
        )
        made.end(end_time=50_000_001)

    text = {"db.statement": "SELECT 1"}
    with hearing(lambda each: each.connect_time if isinstance(each, Operation) else None) as heard, telemetry.root():
        span("connect", "postgresql")
        span("GET", "redis", **{"db.statement": "GET ?"})
        span("SELECT", "postgresql", **text)
        span("SELECT", "postgresql", **text)
    assert heard == [0.0, 0.05, 0.0]
