"""Where findings go: events on spans, log events, or both; each once for a window, with the same attributes."""

import json

import pytest

from e2e.observed import finding_of, line_of
from e2e.programs import REQUESTS, SHOP

SLOW = f"""
import time

from sqlalchemy import event, text
{REQUESTS}

@event.listens_for(engine, "connect")
def add(connection, record):
    connection.create_function("compute", 1, lambda seconds: time.sleep(seconds) or seconds)


engine.dispose()
with tracer.start_as_current_span("GET /slow", kind=trace.SpanKind.SERVER), engine.connect() as connection:
    for _ in range(2):
        connection.execute(text("SELECT compute(0.3) AS computed"))  # slow
"""


@pytest.mark.parametrize(("way", "events", "logs"), [("span", 1, 0), ("log", 0, 1), ("both", 1, 1), (None, 1, 0)])
def test_a_finding_is_told_once_in_each_way_that_is_asked_for(way, events, logs, observe, sqlite_url, tmp_path):
    """Two requests with an N+1, and one with a slow query, twice; log events hang at the roots."""
    (tmp_path / "app.py").write_text(SLOW.lstrip("\n"))
    env = {**SHOP, "DATABASE_URL": sqlite_url, "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": "0.2"}
    env |= {"OTEL_DBSIGHT_REPORT": "json", "OTEL_DBSIGHT_REPORT_FILE": "run.json"}
    env |= {"OTEL_DBSIGHT_FINDINGS": way} if way else {}
    seen = observe(["app.py", "2"], cwd=tmp_path, env=env)
    assert (seen.run.check().stderr, len(seen.run.stdout.splitlines())) == ("", 2)
    slow = seen.span("GET /slow")
    roots = [*seen.spans("GET /books"), slow]
    own = [span for span in seen.queries() if span.parent_span_id == slow.span_id]
    # The roots say how many whatever the way, the report says all.
    assert [root.attributes["dbsight.findings.rules"] for root in roots] == [*[["n_plus_one"]] * 2, ["slow_query"]]
    saved = json.loads((tmp_path / "run.json").read_text())
    assert {(found["rule"], found["windows"], found["count"]) for found in saved["findings"]} == {
        ("n_plus_one", 2, 10),
        ("slow_query", 1, 2),
    }
    told = [event for span in (*roots, *own) for event in span.events_named("dbsight.finding")]
    assert sorted(event.attributes["dbsight.finding.rule"] for event in told) == [
        *["n_plus_one"] * 2 * events,
        *["slow_query"] * 2 * events,
    ]
    logged = seen.logs("dbsight.finding")
    assert sorted((record.attributes["dbsight.finding.rule"], record.span_id) for record in logged) == sorted(
        [("n_plus_one", root.span_id) for root in roots[:2] * logs] + [("slow_query", slow.span_id)] * logs
    )
    for record in logged:
        marker = "loop" if record.attributes["dbsight.finding.rule"] == "n_plus_one" else "slow"
        assert record.attributes["code.line.number"] == line_of(SLOW, marker)
    if way == "both":
        by_span = {span.span_id: span for span in roots}
        for record in logged:
            if record.attributes["dbsight.finding.rule"] == "n_plus_one":
                (event,) = by_span[record.span_id].events_named("dbsight.finding")
                assert finding_of(record) == finding_of(event)
