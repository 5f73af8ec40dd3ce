"""The report as a file: what goes in comes out, and nothing is left half done."""

import json

import pytest

from builders import make_operation
from dbsight import config
from dbsight.model import CallSite, Database, Finding, MergedFinding, Snapshot, StatementTotals
from dbsight.report import json as report


@pytest.fixture
def snapshot():
    """Totals with one finding and one statement."""
    operation = make_operation("SELECT name FROM customers WHERE id = 42 AND name = 'MARKER'")
    database = Database("sqlite", "shop.db")
    site = CallSite("shop.py", 88, "list_orders", CallSite("app.py", 3, "main"))
    found = Finding(
        rule="n_plus_one",
        id="n1-7c1e9a40",
        severity="error",
        category="query",
        title="Order.customer loaded 200 times",
        description="200 queries.",
        suggestion="select(Order).options(joinedload(Order.customer))",
        impact=0.6,
        count=200,
        statement=operation.statement,
        database=database,
        call_site=site,
        relationship="Order.customer",
        trace="4b" * 16,
        route="GET /orders",
    )
    return Snapshot(
        service="shop",
        preset="balanced",
        windows=3,
        requests=2,
        calls=201,
        db_time=0.7,
        window_time=1.5,
        findings=[MergedFinding(found, 1, 200, 0.6, 1)],
        statements=[StatementTotals(operation.statement, database, 201, 1, 0.7, 0.003, 0.005, 0.01, 200, site)],
        dropped={"windows": 2},
        unused=("ignore slow_query matched nothing: remove it if this persists",),
    )


def test_a_report_that_is_read_back_says_the_same(snapshot, tmp_path):
    """The document of what was read is the document of what was written."""
    path = report.write(snapshot, tmp_path / "run.json")
    again = report.document(report.read(path))
    before = report.document(snapshot)
    assert again.pop("written") <= before.pop("written")
    assert again == before


def test_no_literal_is_in_the_file(snapshot, tmp_path):
    """Statements are sanitised before they become records."""
    path = report.write(snapshot, tmp_path / "run.json")
    assert "MARKER" not in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == 1


def test_texts_are_left_out_of_the_file_too(snapshot, tmp_path):
    """With ``QUERY_TEXT=off`` a query is known by its summary and its fingerprint."""
    config.use(config.Settings(query_text="off"))
    saved = json.loads(report.write(snapshot, tmp_path / "run.json").read_text(encoding="utf-8"))
    statements = [saved["findings"][0]["statement"], saved["statements"][0]["statement"]]
    assert [(each["summary"], each["text"]) for each in statements] == [("SELECT customers", "")] * 2


def test_what_no_file_can_hold_is_written_all_the_same(snapshot, tmp_path):
    """A lone surrogate comes back as it was; a number that is none is null, which every reader of JSON takes."""
    snapshot.service = "caf\udce9"
    snapshot.findings[0].finding.details["share"] = float("nan")
    snapshot.statements[0].p95 = float("inf")
    path = report.write(snapshot, tmp_path / "run.json")
    saved = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert saved["service"] == "caf\udce9"
    assert saved["statements"][0]["p95"] is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(snapshot, tmp_path, monkeypatch):
    """Never half a file, never a temporary one."""
    path = tmp_path / "run.json"
    path.write_text("old", encoding="utf-8")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.json, "dump", full)
    with pytest.raises(OSError, match="No space"):
        report.write(snapshot, path)
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]
    assert path.read_text(encoding="utf-8") == "old"


def test_the_file_is_bounded(snapshot, tmp_path):
    """What is left out is counted."""
    snapshot.findings = list(snapshot.findings) * 3000
    snapshot.statements = list(snapshot.statements) * 3000
    path = report.write(snapshot, tmp_path / "run.json")
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert (len(saved["findings"]), len(saved["statements"])) == (report.MAX_FINDINGS, report.MAX_STATEMENTS)
    assert saved["left_out"] == {"findings": 2000, "statements": 2000}
    assert path.stat().st_size < 8_000_000


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 99, "findings": []}', "\x00"])
def test_what_is_no_report_is_refused_with_one_sentence(content, tmp_path):
    """Not with a traceback from inside."""
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"is not a dbsight report|upgrade dbsight"):
        report.read(path)
