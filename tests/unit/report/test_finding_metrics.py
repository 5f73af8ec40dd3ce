"""Findings are counted here, and handed to the SDK once per collection."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from builders import NOW_NS
from dbsight.model import Finding, WindowSummary
from dbsight.report.metrics import Metrics


def counted(reader):
    """Number of findings by rule and severity, as a reader gets them."""
    data = reader.get_metrics_data()
    points = [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "dbsight.findings"
        for point in metric.data.data_points
    ]
    return {
        (point.attributes["dbsight.finding.rule"], point.attributes["dbsight.finding.severity"]): point.value
        for point in points
    }


def test_findings_are_counted_by_rule_and_severity_whichever_windows_they_belong_to():
    """Slow executions count one by one, other findings once per window; a reader gets all of them."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    metrics = Metrics(provider)
    loop = Finding("n_plus_one", "n1-1", "warning", "query", "title", "description", count=6)
    slow = Finding("slow_query", "sq-1", "info", "query", "title", "description", count=3)
    summary = WindowSummary("GET /", "GET /", 7, 1, True, NOW_NS, 0.5, 6, 0.3, findings=(loop, slow))
    for _ in range(3):
        metrics.close(summary)
    metrics.finding(loop)
    assert counted(reader) == {("n_plus_one", "warning"): 4, ("slow_query", "info"): 9}
    metrics.close(summary)
    assert counted(reader) == {("n_plus_one", "warning"): 5, ("slow_query", "info"): 12}
    provider.shutdown()


def test_a_forked_child_does_not_count_the_findings_of_its_parent():
    """What is pending at the fork is exported by the parent."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    metrics = Metrics(provider)
    found = Finding("n_plus_one", "n1-1", "warning", "query", "title", "description")
    metrics.finding(found)
    metrics.forget()
    metrics.finding(found)
    assert counted(reader) == {("n_plus_one", "warning"): 1}
    provider.shutdown()
