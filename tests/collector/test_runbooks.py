"""The runbooks: their queries parse and name metrics that exist, and each alert and each rule leads to one of them."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from collector.test_dashboards import documented
from dbsight.detect.rules import RULES

ROOT = Path(__file__).parents[2]
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
THEIRS = {"process", "redis", "cpython", "dbsight", "db"}
"""First words of the names of our metrics."""


def expressions(page):
    """The PromQL of a page."""
    return re.findall(r"^```promql\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_prometheus_accepts_every_query(promtool_program, tmp_path):
    """As recording rules, which promtool checks."""
    found = [each for page in RUNBOOKS for each in expressions(page)]
    assert len(found) > 30
    rules = [{"record": f"runbook:query{number}", "expr": each} for number, each in enumerate(found)]
    file = tmp_path / "runbooks.yml"
    file.write_text(json.dumps({"groups": [{"name": "runbooks", "rules": rules}]}))  # JSON is YAML
    told = subprocess.run([promtool_program, "check", "rules", file], check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{len(found)} rules found" in told.stdout


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_queries_name_metrics_and_labels_that_exist(page):
    """A name that was mistyped would return nothing, which reads as good news."""
    metrics, labels = documented()
    known = metrics | labels
    words = {word for each in expressions(page) for word in re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", each)}
    used = {word for word in words if word.partition("_")[0] in THEIRS}
    missing = {word for word in used if word not in known and re.sub(r"_(bucket|sum|count)$", "", word) not in known}
    assert missing == set()


def test_each_alert_leads_to_a_runbook():
    """By the table of the first page."""
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "collector" / "alerts.yml").read_text())
    named = re.findall(r"`((?:Db|Event|Pool|Process|Cache|Lock)\w+)`", RUNBOOKS[0].read_text(encoding="utf-8"))
    assert RUNBOOKS[0].name == "README.md"
    assert sorted(named) == sorted(alerts)


def test_each_rule_leads_to_a_runbook():
    """By its category; the page that a finding's address leads to has the link."""
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert set(sections) == {rule.name for rule in RULES}
    for section in sections.values():
        ((target),) = re.findall(r"^Runbook: \[.+\]\((.+)\)$", section, re.MULTILINE)
        assert (ROOT / "docs" / target).exists()
