"""Sampled, half sampled and not at all; one exporter and two: judged from what arrived."""

import json

import pytest

from e2e.observed import finding_of
from e2e.programs import REQUESTS, SHOP


def requests_of(seen):
    """Trace, span and whether it was sampled, of each request that the service printed."""
    return [tuple(line.split()) for line in seen.run.stdout.splitlines()]


@pytest.fixture(scope="module", params=["1", "0.5", "0"])
def sampled(request, observe, sqlite_url):
    """Forty requests, of which a share is sampled."""
    env = {
        **SHOP,
        "DATABASE_URL": sqlite_url,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": request.param,
    }
    seen = observe(["-c", REQUESTS, "40"], env=env)
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    return request.param, seen


def test_what_is_sampled_is_exported_and_nothing_else(sampled):
    """One root and six queries for each sampled request; not a span of the others."""
    share, seen = sampled
    chosen = {trace: span for trace, span, flag in requests_of(seen) if flag == "1"}
    assert len(requests_of(seen)) == 40
    assert {"1": len(chosen) == 40, "0.5": 5 < len(chosen) < 35, "0": chosen == {}}[share]
    assert len(seen.spans()) == 7 * len(chosen)
    assert {span.trace_id: span.span_id for span in seen.spans("GET /books")} == chosen
    assert {span.parent_span_id for span in seen.queries()} == set(chosen.values())


def test_findings_of_sampled_requests_are_on_their_roots_and_those_of_others_in_the_log(sampled):
    """Each request has its finding once; a log event carries the context of the trace that shows it."""
    _, seen = sampled
    on_spans = {(span.trace_id, span.span_id, "1") for span in seen.spans("GET /books") if len(span.events) == 1}
    in_logs = [(record.trace_id, record.span_id, str(record.flags & 1)) for record in seen.logs("dbsight.finding")]
    assert sorted([*on_spans, *in_logs]) == sorted(requests_of(seen))
    told = [event for span in seen.spans("GET /books") for event in span.events] + seen.logs("dbsight.finding")
    first, *others = [finding_of(one) for one in told]
    assert all(other == first for other in others)
    assert (first["dbsight.finding.rule"], first["dbsight.finding.count"]) == ("n_plus_one", 5)
    assert first["dbsight.finding.suggestion"] == "select(Book).options(joinedload(Book.author))"


def test_metrics_count_every_request_however_few_are_sampled(sampled):
    """Queries, findings, and queries of each request."""
    _, seen = sampled
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 240
    assert sum(point.value for point in seen.points("dbsight.findings")) == 40
    (point,) = seen.points("dbsight.request.queries")
    assert (point.attributes, point.count, point.sum) == ({"http.route": "GET /books"}, 40, 240)


# -- Several exporters ----------------------------------------------------------------------------------------------


def test_two_exporters_get_every_span_once_and_the_same(observe, sqlite_url):
    """OTLP and console: the same ids, names and attributes; nothing is counted twice."""
    env = {**SHOP, "DATABASE_URL": sqlite_url, "OTEL_TRACES_EXPORTER": "otlp,console"}
    seen = observe(["-c", REQUESTS, "2"], env=env)
    assert seen.run.stderr == ""
    decoder, text, printed = json.JSONDecoder(), seen.run.stdout, []
    position = text.find("{")
    while position >= 0:
        span, end = decoder.raw_decode(text, position)
        printed.append(span)
        position = text.find("{", end)
    sent = {span.span_id: (span.name, span.trace_id, span.attributes, len(span.events)) for span in seen.spans()}
    assert len(sent) == len(seen.spans()) == 14
    assert {
        span["context"]["span_id"][2:]: (
            span["name"],
            span["context"]["trace_id"][2:],
            span["attributes"],
            len(span["events"]),
        )
        for span in printed
    } == sent
    assert len(printed) == 14
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 12
    assert sum(point.value for point in seen.points("dbsight.findings")) == 2
