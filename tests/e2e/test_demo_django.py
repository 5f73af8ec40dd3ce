"""The bookshop on Django: ``python -m dbsight.demo --django``, as ``make demo ARGS=--django`` runs it."""

import json
import re
from pathlib import Path

import pytest

from e2e.observed import observe

EXPECTED = """
import json
from pathlib import Path

from dbsight.demo.bookshop.server import set_up

set_up(Path("books.db"))
from dbsight.demo.bookshop.faults import FAULTS

about = lambda each: [each.rule, str(each.file), each.line, each.count, each.relationship, each.fix]
print(json.dumps([
    {"path": f.path, "statements": [f.statements, f.fixed_statements], "expected": [about(e) for e in f.expected]}
    for f in FAULTS
]))
"""
LIMITS = {"OTEL_DBSIGHT_LONG_TRANSACTION_THRESHOLD": "0.5", "OTEL_DBSIGHT_PRESET": "development"}


@pytest.fixture(scope="module")
def faults(frameworks, tmp_path_factory):
    """What each of them must lead to."""
    options = {"cwd": tmp_path_factory.mktemp("faults"), "python": frameworks, "prefix": ()}
    return json.loads(observe(EXPECTED, None, **options).run.check().stdout)


@pytest.fixture(scope="module")
def seen(frameworks, receiver_process, tmp_path_factory):
    """The demo, whose settings only Django's own call says, and what arrived."""
    receiver_process.clear()
    options = {"cwd": tmp_path_factory.mktemp("demo"), "python": frameworks, "env": LIMITS}
    return observe(["-m", "dbsight.demo", "--django"], receiver_process, **options)


def findings(root):
    """Rule, file, line, count, relationship, fix; slow queries are the machine's."""
    events = [event.attributes for event in root.events if event.name == "dbsight.finding"]
    return [
        [
            event["dbsight.finding.rule"],
            str(Path(event["code.file.path"]).resolve()),
            event["code.line.number"],
            event["dbsight.finding.count"],
            event.get("dbsight.orm.relationship"),
            event["dbsight.finding.suggestion"],
        ]
        for event in events
        if event["dbsight.finding.rule"] != "slow_query"
    ]


def test_each_fault_is_found_with_its_fix_and_each_twin_is_silent(seen, faults):
    """Five faults, one of them in a template and one of transactions; every page answered."""
    seen.run.check()
    assert len(faults) == 5
    roots = {span.name.partition(" ")[2]: span for span in seen.spans() if span.kind == "SERVER"}
    for fault in faults:
        pair = [roots[fault["path"].lstrip("/")], roots[f"{fault['path']}/fixed".lstrip("/")]]
        assert [findings(root) for root in pair] == [fault["expected"], []]
        assert [root.attributes["dbsight.db.calls"] for root in pair] == fault["statements"]


def test_the_report_says_what_to_write(seen, faults):
    """On standard error: each fix, at its line."""
    report = " ".join(seen.run.stderr.split())
    assert re.search(r"10 requests · \d+ queries", report)
    for fault in faults:
        for _, file, line, _, _, fix in fault["expected"]:
            assert " ".join(["fix", *fix.split()]) in report
            assert f"{Path(file).name}:{line}" in report
    assert [line for line in seen.run.stdout.splitlines() if line.endswith("differs")] == []


def test_a_django_that_is_configured_already_is_an_error(frameworks, tmp_path):
    """It would serve another site."""
    (tmp_path / "elsewhere.py").write_text("SECRET_KEY = 'x'\n")
    env = {"DJANGO_SETTINGS_MODULE": "elsewhere", "PYTHONPATH": str(tmp_path), "OTEL_DBSIGHT_REPORT": "off"}
    run = observe(["-m", "dbsight.demo", "--django"], None, cwd=tmp_path, python=frameworks, env=env).run
    assert run.returncode == 2
    assert "the shop did not start: Settings already configured." in run.stderr
