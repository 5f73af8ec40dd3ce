"""The shop under ``opentelemetry-instrument``, through the collector to Jaeger and Prometheus."""

import json
from collections import Counter

import pytest

from collector import jaeger_page, services
from dbsight.demo.faults import FAULTS
from e2e.runner import ON_FASTAPI, run_instrumented

N_PLUS_ONES = [fault for fault in FAULTS if any(expected.rule == "n_plus_one" for expected in fault.expected)]


class Shop:
    """One run of the shop, and where its telemetry arrived."""

    def __init__(self, service, jaeger, prometheus, otelcol):
        self.service = service
        self.jaeger = jaeger
        self.prometheus = prometheus
        self.otelcol = otelcol

    def traces(self, operation):
        """What Jaeger's API returns for a request."""
        return services.eventually(lambda: self.jaeger.traces(self.service, operation=operation))


@pytest.fixture(scope="module")
def shop(jaeger, prometheus, otelcol, tmp_path_factory):
    """Requested once, as ``make demo`` does; under a name of its own, because Jaeger outlives the module."""
    directory = tmp_path_factory.mktemp("shop")
    env = {
        **ON_FASTAPI,
        "OTEL_SERVICE_NAME": directory.name,
        "OTEL_DBSIGHT_PRESET": "development",
        "OTEL_DBSIGHT_REPORT": "off",
        "OTEL_DBSIGHT_FINDINGS": "both",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }
    run_instrumented(["-m", "dbsight.demo"], cwd=directory, env=env, receiver=otelcol, timeout=180).check()
    return Shop(directory.name, jaeger, prometheus, otelcol)


def fields(tags):
    """Jaeger's list of tags as a dictionary."""
    return {tag["key"]: tag["value"] for tag in tags}


def root_of(trace):
    """The span without a parent."""
    (root,) = [span for span in trace["spans"] if not span["references"]]
    return root


def findings(span):
    """The attributes of each finding on a span."""
    events = [fields(log["fields"]) for log in span["logs"]]
    return [event for event in events if event.get("event") == "dbsight.finding"]


@pytest.mark.parametrize("fault", N_PLUS_ONES, ids=lambda fault: fault.name)
def test_jaeger_returns_each_n_plus_one_on_the_root_of_its_request(shop, fault):
    """With rule, relationship, count and line; the root says how many there are and how grave."""
    (trace,) = shop.traces(f"{fault.method} {fault.path}")
    root = root_of(trace)
    tags = fields(root["tags"])
    told = [
        (
            found["dbsight.finding.rule"],
            found.get("dbsight.orm.relationship"),
            found["dbsight.finding.count"],
            found["code.line.number"],
        )
        for found in findings(root)
    ]
    expected = [(one.rule, one.relationship, one.count, one.line) for one in fault.expected if one.rule == "n_plus_one"]
    assert Counter(one for one in told if one[0] == "n_plus_one") == Counter(expected)
    assert tags["span.kind"] == "server"
    assert tags["dbsight.findings.count"] >= len(expected)
    assert "n_plus_one" in json.loads(tags["dbsight.findings.rules"])
    assert tags["dbsight.findings.max_severity"] in {"warning", "error"}


def test_jaeger_returns_a_query_with_old_and_new_names(shop):
    """Each backend finds the names that it reads."""
    (trace,) = shop.traces("GET /orders")
    spans = {fields(span["tags"]).get("db.query.summary"): fields(span["tags"]) for span in trace["spans"]}
    tags = spans["SELECT customers"]
    assert tags["db.system.name"] == tags["db.system"] == "sqlite"
    assert tags["db.query.text"] == tags["db.statement"]
    assert tags["db.namespace"] == tags["db.name"]
    assert (tags["dbsight.orm.relationship"], tags["dbsight.orm.load"]) == ("Order.customer", "lazy")


def test_the_documentation_shows_what_jaeger_returns(shop):
    """The same spans with the same tags and events, but for what varies."""
    (trace,) = shop.traces(jaeger_page.REQUEST)
    assert jaeger_page.lasting(jaeger_page.trimmed(trace)) == jaeger_page.lasting(jaeger_page.on_page())


@pytest.mark.parametrize("key", ["dbsight.findings.rules", "dbsight.findings.max_severity"])
def test_a_search_finds_the_requests_with_such_findings(shop, key):
    """The searches that the documentation tells people to type; how grave an N+1 is depends on how long it took."""
    (trace,) = shop.traces("GET /orders")
    value = fields(root_of(trace)["tags"])[key]
    roots = [root_of(found) for found in shop.jaeger.traces(shop.service, tags=json.dumps({key: value}))]
    assert {fields(root["tags"])[key] for root in roots} == {value}
    assert "GET /orders" in {root["operationName"] for root in roots}


def test_a_search_finds_one_rule_among_others(shop):
    """By what stands on the events: every request with such a finding, and no other."""

    def requests():
        searched = shop.jaeger.traces(shop.service, tags=json.dumps({"dbsight.finding.rule": "n_plus_one"}))
        having = [
            trace
            for trace in shop.jaeger.traces(shop.service)
            if any(found["dbsight.finding.rule"] == "n_plus_one" for span in trace["spans"] for found in findings(span))
        ]
        return [{trace["traceID"] for trace in each} for each in (searched, having)]

    searched, having = services.eventually(requests, lambda seen: seen[0] == seen[1] and len(seen[1]) > 1)
    assert searched == having
    assert len(having) >= len(N_PLUS_ONES)


def test_prometheus_has_every_database_call_with_exemplars(shop):
    """Counted before sampling, by summary; the examples are traces that Jaeger has."""
    query = f'traces_db_client_calls_total{{service_name="{shop.service}", db_query_summary="SELECT customers"}}'
    (series,) = services.eventually(lambda: shop.prometheus.query(query))
    assert series["metric"]["db_system_name"] == "sqlite"
    known = {trace["traceID"] for trace in shop.jaeger.traces(shop.service)}

    def examples():
        found = shop.prometheus.exemplars("traces_db_client_duration_seconds_bucket")
        return {exemplar["labels"]["trace_id"] for exemplar in found} & known

    assert services.eventually(examples)


def test_prometheus_has_the_findings_of_the_spans(shop):
    """As many as Jaeger shows on them, once all of both have arrived."""

    def shown():
        return Counter(
            found["dbsight.finding.rule"]
            for trace in shop.jaeger.traces(shop.service)
            for span in trace["spans"]
            for found in findings(span)
        )

    def counted():
        query = f'sum by (dbsight_finding_rule) (traces_dbsight_findings_total{{service_name="{shop.service}"}})'
        series = shop.prometheus.query(query)
        return {one["metric"]["dbsight_finding_rule"]: int(one["value"][1]) for one in series}

    both = services.eventually(lambda: (shown(), counted()), lambda seen: seen[0] == seen[1] and seen[0]["n_plus_one"])
    assert both[0] == both[1]
    assert both[0]["n_plus_one"] >= len(N_PLUS_ONES)


def test_the_applications_own_metrics_arrive(shop):
    """Under the names of the semantic conventions, with the service as a label."""
    query = f'sum(db_client_operation_duration_seconds_count{{service_name="{shop.service}"}})'
    (series,) = services.eventually(lambda: shop.prometheus.query(query))
    assert float(series["value"][1]) > 201


def test_findings_that_were_logged_are_in_the_file(shop):
    """One JSON record an export; nothing but findings."""

    def rules():
        text = shop.otelcol.findings.read_text() if shop.otelcol.findings.exists() else ""
        records = [
            record
            for line in text[: text.rfind("\n") + 1].splitlines()  # the last one may be on its way
            for resource in json.loads(line)["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]
        assert {record["eventName"] for record in records} <= {"dbsight.finding"}
        told = [
            attribute["value"]["stringValue"]
            for record in records
            for attribute in record["attributes"]
            if attribute["key"] == "dbsight.finding.rule"
        ]
        return Counter(told)

    assert services.eventually(rules)["n_plus_one"] >= len(N_PLUS_ONES)


def test_prometheus_fetches_the_collectors_own_metrics(shop):
    """Its health can be watched like that of the applications."""
    query = 'otelcol_receiver_accepted_spans_total{job="otelcol"} > 201'
    assert len(services.eventually(lambda: shop.prometheus.query(query))) >= 1
