"""The SDK in memory shows what a collector would be sent, and leaves nothing behind."""

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from sqlalchemy import create_engine, text

import dbsight


def test_a_query_below_a_root_is_told(telemetry):
    """One root, one query below it, both as records."""
    engine = create_engine("sqlite://")
    with telemetry.root("GET /orders", http_route="/orders"), engine.connect() as connection:
        connection.execute(text("SELECT 1 + 41 AS answer")).scalar_one()

    root = telemetry.span("GET /orders")
    (query,) = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert (root.kind, root.attributes["http.route"], root.parent_span_id) == ("SERVER", "/orders", "")
    assert (query.trace_id, query.parent_span_id) == (root.trace_id, root.span_id)
    assert query.scope.name == "dbsight"
    assert query.attributes["db.query.text"] == "SELECT ? + ? AS answer"
    assert query.resource["service.name"] == "tests"
    assert [point.count for point in telemetry.points("db.client.operation.duration")] == [1]


def test_the_sampler_is_the_tests_own(make_telemetry):
    """What is not sampled is not exported."""
    telemetry = make_telemetry(sampler=ALWAYS_OFF)
    with telemetry.root():
        pass
    assert telemetry.spans() == []


def test_nothing_is_left_behind(make_telemetry):
    """The instrumentor is a singleton: the next test must be able to use it, and the global provider is untouched."""
    before = trace.get_tracer_provider()
    telemetry = make_telemetry()
    assert dbsight.SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry
    telemetry.close()
    assert not dbsight.SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry
    assert trace.get_tracer_provider() is before
    make_telemetry()
    assert dbsight.SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry


def test_two_tests_in_one_trace_are_told_in_order(telemetry):
    """Spans come in the order in which they ended."""
    with telemetry.root("outer"), telemetry.tracer.start_as_current_span("inner"):
        pass
    assert [span.name for span in telemetry.spans()] == ["inner", "outer"]
    telemetry.clear()
    assert telemetry.spans() == []
