"""What to change first: in the report, in its file, and as log events."""

import json

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from dbsight.model import Finding, MergedFinding, Recommendation, Snapshot
from dbsight.monitor.recommend import recommendations
from dbsight.report import json as saved
from dbsight.report.recommendation_log import RecommendationLog
from dbsight.report.terminal import render


def snapshot(count):
    """A process with as many findings, each of which saves more than the one before."""
    findings = [
        MergedFinding(
            Finding("n_plus_one", f"n1-{number}", "warning", "query", f"fault {number}", "x", impact=float(number)),
            1,
            1,
            float(number),
        )
        for number in range(1, count + 1)
    ]
    made = Snapshot(calls=10, db_time=20.0, findings=findings)
    made.recommendations = recommendations(made)
    return made


def test_the_report_begins_with_what_saves_most():
    """Three lines, where there are more findings than that."""
    page = render(snapshot(5)).splitlines()
    begin = next(number for number, line in enumerate(page) if "What to change first" in line)
    assert ["fault 5" in page[begin + 1], "fault 4" in page[begin + 2], "fault 3" in page[begin + 3]] == [True] * 3
    assert "fault 2" not in page[begin + 4]
    assert "What to change first" not in render(snapshot(3))


def test_a_saved_run_keeps_the_recommendations(tmp_path):
    """With their seven fields and ids, and reading them gives them back."""
    made = snapshot(2)
    saved.write(made, tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text())["recommendations"]
    assert [each["id"] for each in document] == ["n1-2", "n1-1"]
    assert set(document[0]) >= {"priority", "title", "category", "description", "impact", "effort", "details"}
    assert saved.read(tmp_path / "run.json").recommendations == list(made.recommendations)


def test_a_recommendation_is_one_log_event():
    """However often it is seen; none for what is of low priority."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log = RecommendationLog(provider)
    low = Recommendation("x", "low", "a trifle", "query", "", 0.0, "low")
    for _ in range(3):
        log.emit([*snapshot(2).recommendations, low])
    records = [record.log_record for record in exporter.get_finished_logs()]
    assert [(record.event_name, record.body) for record in records] == [
        ("dbsight.recommendation", "fault 2"),
        ("dbsight.recommendation", "fault 1"),
    ]
    assert records[0].attributes["dbsight.recommendation.impact"] == 2.0
    provider.shutdown()
