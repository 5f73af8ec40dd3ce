"""What Datadog makes of the spans, by the conversion of its own agent."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import servers
from collector import conversion
from dbsight import semconv
from e2e import observed
from e2e.runner import ON_FASTAPI
from embedded import Unavailable

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = Path(__file__).parents[2] / "docs" / "backends" / "datadog.md"


@pytest.fixture(scope="module")
def convert():
    """``conversion.converted``, once its program is there."""
    try:
        conversion.ensure()
    except Unavailable as reason:
        pytest.skip(str(reason))
    return conversion.converted


@pytest.fixture(scope="module")
def shop(convert, receiver_process, postgresql_server, redis_process, tmp_path_factory):
    """The demo on PostgreSQL and Redis, requested once."""
    with servers.fresh(postgresql_server) as postgresql, servers.fresh(redis_process) as redis:
        arguments = ["--database-url", postgresql.url("postgresql+psycopg"), "--redis-url", redis.url()]
        seen = observed.observe(
            ["-m", "dbsight.demo", *arguments],
            receiver_process,
            cwd=tmp_path_factory.mktemp("shop"),
            env={
                **ON_FASTAPI,
                "OTEL_SERVICE_NAME": "shop",
                "OTEL_DBSIGHT_REPORT": "off",
                "OTEL_DBSIGHT_FINDINGS": "both",
            },
            timeout=180,
        )
        seen.run.check()
        return convert(seen.trace_requests()), postgresql.name


@pytest.fixture(scope="module")
def script(convert, receiver_process, tmp_path_factory):
    """``examples/orders.py`` on SQLite."""
    directory = tmp_path_factory.mktemp("script")
    env = {"OTEL_SERVICE_NAME": "orders", "OTEL_DBSIGHT_REPORT": "off"}
    seen = observed.observe([str(EXAMPLES / "orders.py")], receiver_process, cwd=directory, env=env)
    seen.run.check()
    return convert(seen.trace_requests())


def told(span):
    """What decides where Datadog shows a span."""
    names = ("type", "name", "resource", "service")
    return {**{name: span[name] for name in names}, "db.name": span["meta"].get("db.name")}


def findings(span):
    """The events of a span that are findings: Datadog keeps events as one tag."""
    events = json.loads(span["meta"].get("events", "[]"))
    return [event["attributes"] for event in events if event["name"] == "dbsight.finding"]


def queries(spans, summary):
    """The spans of one kind of query."""
    return [span for span in spans if span["meta"].get("db.query.summary") == summary]


def root(spans, resource):
    """The span of one request."""
    (found,) = [span for span in spans if span["resource"] == resource and span["parent_id"] == 0]
    return found


def test_a_query_on_postgresql_is_a_span_of_type_sql(shop):
    """Named after the system; its resource is the text without literals."""
    spans, database = shop
    loop = [span for span in queries(spans, "SELECT customers") if span["meta"].get("dbsight.orm.load") == "lazy"]
    text = "SELECT customers.id, customers.name FROM customers WHERE customers.id = %(pk_1)s"
    kinds = Counter(json.dumps({**told(span), "resource": span["resource"].partition(" FROM ")[2]}) for span in loop)
    assert len(loop) >= 200
    assert [json.loads(kind) for kind in kinds] == [
        {
            "type": "sql",
            "name": "postgresql.query",
            "resource": text.partition(" FROM ")[2].replace("%(pk_1)s", "%(pk_1)s::INTEGER"),
            "service": "shop",
            "db.name": database,
        }
    ]


def test_a_redis_command_is_a_span_of_type_redis(shop):
    """With its key, and without any value."""
    spans, _ = shop
    kinds = {
        json.dumps({**told(span), "resource": span["resource"].rstrip("0123456789")})
        for span in queries(spans, "GET shop:price:{}")
    }
    assert [json.loads(kind) for kind in kinds] == [
        {"type": "redis", "name": "redis.query", "resource": "GET shop:price:", "service": "shop", "db.name": "0"}
    ]


def test_the_findings_of_a_request_are_on_its_root(shop):
    """As tags that can be searched for, and one by one in ``events``."""
    spans, _ = shop
    request = root(spans, "GET /orders")
    assert (request["type"], request["name"], request["service"]) == ("web", "http.server.request", "shop")
    assert "n_plus_one" in json.loads(request["meta"]["dbsight.findings.rules"])
    assert request["metrics"]["dbsight.findings.count"] >= 1
    (found,) = [each for each in findings(request) if each["dbsight.finding.rule"] == "n_plus_one"]
    assert found["dbsight.finding.count"] == 200
    assert found["dbsight.finding.suggestion"] == "select(Order).options(joinedload(Order.customer))"


def test_every_query_of_the_demo_is_one_for_datadog(shop):
    """By the attributes that the page about Datadog names, on whatever system."""
    spans, _ = shop
    systems = {span["meta"]["db.system"]: span["type"] for span in spans if "db.query.text" in span["meta"]}
    assert systems == {"postgresql": "sql", "redis": "redis"}
    assert {span["type"] for span in spans if "db.query.text" not in span["meta"]} == {"custom", "web"}


def test_a_script_on_sqlite_has_its_queries_and_their_root(script):
    """The window that carries the findings of what ran outside any span."""
    queried = {json.dumps(told(span)) for span in queries(script, "SELECT customers")}
    text = "SELECT customers.id, customers.name FROM customers WHERE customers.id = ?"
    assert [json.loads(kind) for kind in queried] == [
        {"type": "sql", "name": "sqlite.query", "resource": text, "service": "orders", "db.name": ":memory:"}
    ]
    window = root(script, "dbsight.window")
    assert (window["type"], window["name"], window["service"]) == ("custom", "Internal", "orders")
    assert [found["dbsight.finding.rule"] for found in findings(window)] == ["n_plus_one"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (("db.system.name", "db.query.text"), ("http", "client.request", "SELECT books")),
        (("db.system.name", "db.query.text", "db.system"), ("sql", "sqlite.query", "SELECT id FROM books")),
    ],
    ids=["new names alone", "and db.system"],
)
def test_it_is_the_old_name_of_the_system_that_makes_a_span_a_query(convert, attributes, expected):
    """Which is why it is always sent."""
    values = {
        semconv.DB_SYSTEM_NAME: "sqlite",
        semconv.DB_SYSTEM: "sqlite",
        semconv.DB_QUERY_TEXT: "SELECT id FROM books",
    }
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.name, span.kind, span.trace_id, span.span_id = (
        "SELECT books",
        span.SPAN_KIND_CLIENT,
        bytes([1] * 16),
        bytes([1] * 8),
    )
    for name in attributes:
        span.attributes.add(key=name).value.string_value = values[name]

    (converted,) = convert([request])
    assert (converted["type"], converted["name"], converted["resource"]) == expected


def test_numbers_can_be_compared_and_lists_are_text(convert):
    """And the resource says environment and version."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for name, value in (("deployment.environment.name", "production"), ("service.version", "1.4.0")):
        resource.resource.attributes.add(key=name).value.string_value = value
    span = resource.scope_spans.add().spans.add()
    span.name, span.kind, span.trace_id, span.span_id = "GET", span.SPAN_KIND_SERVER, bytes([1] * 16), bytes([1] * 8)
    span.attributes.add(key=semconv.POOL_WAIT).value.double_value = 0.25
    rules = span.attributes.add(key=semconv.FINDINGS_RULES).value.array_value.values
    rules.add().string_value = "n_plus_one"
    rules.add().string_value = "pool_wait"
    (converted,) = convert([request])
    assert converted["metrics"] == {semconv.POOL_WAIT: 0.25}
    kept = {name: converted["meta"][name] for name in (semconv.FINDINGS_RULES, "env", "version")}
    assert kept == {semconv.FINDINGS_RULES: '["n_plus_one","pool_wait"]', "env": "production", "version": "1.4.0"}


def test_the_page_says_what_the_conversion_makes(shop, script):
    """Row by row, of a query on each system."""
    spans, _ = shop
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| (.+) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    said = {row[0]: row[1:] for row in rows}
    made = (
        queries(spans, "SELECT customers")[0],
        queries(spans, "GET shop:price:{}")[0],
        queries(script, "SELECT customers")[0],
    )
    for row, name in (("type", "type"), ("operation name", "name"), ("service", "service")):
        assert said[row] == tuple(f"`{span[name]}`" for span in made)
    assert [{"db.system", "db.name"} - span["meta"].keys() for span in made] == [set()] * 3
    assert said["`db.name`"][1:] == tuple(f"`{span['meta']['db.name']}`" for span in made[1:])
