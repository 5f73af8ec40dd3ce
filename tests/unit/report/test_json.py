"""The report as a file: what goes in comes out, and nothing is left half done."""

import json
from pathlib import Path

import pytest

from builders import NOW_NS, make_operation
from dbsight import config
from dbsight.model import (
    Borrowing,
    CacheTotals,
    CallSite,
    Database,
    Finding,
    Holder,
    KindTotals,
    Leak,
    LockTotals,
    MemorySample,
    MergedFinding,
    ModelTotals,
    PoolSample,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    Snapshot,
    StatementTotals,
    Step,
    WindowExample,
)
from dbsight.report import json as report
from pages import full_snapshot, hostile_snapshot


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


def test_requests_pools_and_caches_are_read_back(tmp_path):
    """What the page draws is in the file: a window's queries, uses of connections, memory, caches, locks, models."""
    first, second = make_operation(at=0.1, duration=0.2, rows=3), make_operation("SELECT 1 FROM orders", at=0.4)
    site = CallSite("app.py", 10, "list_orders")
    steps = (
        Step(0.1, 0.2, 0.3, first.statement, wait=0.05, fetch=0.01, rows=3, call_site=site),
        Step(0.4, 0.001, 0.401, second.statement, error="ValueError"),
        Step(0.5, 0.001, 0.501, first.statement),
    )
    pool = PoolSnapshot(
        PoolState("shop.db", "sqlalchemy", "QueuePool", "sqlite", used=1, max=15, holders=[Holder(site, 3.0)]),
        PoolTotals(checkouts=2, timeouts=1, hog=(site, 0.7), leaked=[Leak(site, count=1)]),
        [PoolSample(NOW_NS, 1, 2, 0, 1)],
        [Borrowing(1_700_000_000.5, 0.0, 0.2, 0, site), Borrowing(1_700_000_001.5, 30.0, 0.0, 0, None)],
    )
    snapshot = Snapshot(
        calls=3,
        p50=0.001,
        p95=0.2,
        examples=[WindowExample("GET /orders", "4b" * 16, NOW_NS, 0.6, True, 3, 0.202, ("n1-1",), steps)],
        pools=[pool],
        memory=[MemorySample(NOW_NS, 100, 200)],
        caches=[CacheTotals("prices", hits=3, misses=1, call_site=site)],
        locks=[LockTotals("redis", "basket:{}", acquired=3, leak_site=site)],
        models=[ModelTotals("Order", loads=3)],
        kinds={"select": KindTotals(3, 0, 0.2, 0.2)},
    )
    again = report.read(report.write(snapshot, tmp_path / "run.json"))
    assert [(step.start, step.rows, step.error, step.statement.summary) for step in again.examples[0].steps] == [
        (0.1, 3, "", "SELECT customers"),
        (0.4, None, "ValueError", "SELECT orders"),
        (0.5, None, "", "SELECT customers"),
    ]
    assert str(again.pools[0].totals.hog[0]) == "app.py:10"
    assert (again.pools[0].uses[1].waited, again.pools[0].uses[1].site) == (30.0, None)
    assert (again.memory, again.models) == (snapshot.memory, snapshot.models)
    before, after = report.document(snapshot), report.document(again)
    assert {**before, "written": 0} == {**after, "written": 0}


@pytest.mark.parametrize("made", [full_snapshot, hostile_snapshot, Snapshot], ids=["full", "hostile", "empty"])
def test_the_file_is_as_its_schema_says(made, tmp_path):
    """The published schema describes every field, and knows each one that is written."""
    schema = json.loads((Path(__file__).parents[3] / "docs" / "saved_run.schema.json").read_text(encoding="utf-8"))
    saved = json.loads(report.write(made(), tmp_path / "run.json").read_text(encoding="utf-8"))
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.Draft202012Validator(schema).validate(saved)
    assert saved.keys() == schema["properties"].keys()
    kinds = {"findings": "finding", "statements": "statement_totals", "routes": "route", "examples": "example"}
    for name, kind in kinds.items():
        for each in saved[name]:
            assert each.keys() == schema["$defs"][kind]["properties"].keys()
