"""The table of public applications that dbsight is run with, and the list of what was found in them."""

import pytest

from otlp.records import Event
from peers.applications import reviewed
from peers.applications.reviewed import Place, differences, place_of, reviews
from peers.applications.table import APPLICATIONS
from peers.applications.test_applications import verb

EVERY = [application.name for application in APPLICATIONS]


def test_applications_of_every_kind_are_run():
    """Enough of them, with and without an event loop, on SQL and on Redis."""
    assert len(APPLICATIONS) >= 12
    assert sum(application.asynchronous for application in APPLICATIONS) >= 4
    assert sum(application.redis for application in APPLICATIONS) >= 4
    assert sum(not application.redis for application in APPLICATIONS) >= 4
    assert len([application for application in APPLICATIONS if application.ci]) >= 4


@pytest.mark.parametrize("name", EVERY)
def test_a_review_has_a_severity_a_verdict_and_a_reason(name):
    """Somebody looked at each finding and wrote down why it is right or wrong."""
    for review in reviews(name).values():
        assert review.severity <= {"info", "warning", "error"}
        assert review.verdict in reviewed.VERDICTS
        assert review.reason.endswith(".")


def test_findings_of_unknown_applications_are_not_reviewed():
    """A workload that is removed takes its findings with it."""
    assert reviewed.applications() <= set(EVERY)


def finding(rule="n_plus_one", severity="warning", **changes):
    """The event of a finding in one of the workloads."""
    attributes = {
        "dbsight.finding.rule": rule,
        "dbsight.finding.severity": severity,
        "dbsight.finding.description": "7 queries.",
        "code.file.path": "/tests/workloads/shop.py",
        "code.function.name": "listed",
        "db.query.summary": "SELECT orders",
    }
    return Event("dbsight.finding", attributes | changes, 0, 0)


def test_a_place_is_the_same_on_every_machine():
    """From the workload or the installed package on; rules that name a place or query by chance have none."""
    assert place_of(finding()) == Place("n_plus_one", "shop.py:listed", "SELECT orders")
    installed = finding(**{"code.file.path": "/env/lib/python3.11/site-packages/rq/job.py"})
    assert place_of(installed) == Place("n_plus_one", "rq/job.py:listed", "SELECT orders")
    assert place_of(finding("duplicate_pools")).place == ""
    assert place_of(finding("blocking_call")).query == ""


def test_what_is_new_what_is_graver_and_what_is_gone_is_told(tmp_path, monkeypatch):
    """A finding that is in no list, one of another severity, and one that vanished; a false one may vanish."""
    entries = [
        ("n_plus_one", "listed", "", "true"),
        ("n_plus_one", "gone", "", "true"),
        ("n_plus_one", "wrong", "", "false"),
        ("session_leak", "listed", 'severity = "error"\n', "true"),
    ]
    file = tmp_path / "findings.toml"
    file.write_text(
        "".join(
            f'[[finding]]\napplication = "shop"\nrule = "{rule}"\nplace = "shop.py:{function}"\n'
            f'query = "SELECT orders"\n{severity}verdict = "{verdict}"\nreason = "So."\n'
            for rule, function, severity, verdict in entries
        )
    )
    monkeypatch.setattr(reviewed, "FILE", file)
    gone = "not found any more: Place(rule='n_plus_one', place='shop.py:gone', query='SELECT orders')"
    leak = finding("session_leak", "error")
    assert differences("shop", [finding(), leak]) == [gone]
    assert differences("shop", [finding(severity="info"), leak]) == [gone], "the clock decides over its severity"
    assert differences("shop", [finding(), finding("session_leak", "info")])[0].startswith("info instead of error")
    new = differences("shop", [finding(), leak, finding("redundant_query")])[0]
    assert new.startswith('not reviewed; 7 queries.\n[[finding]]\napplication = "shop"\nrule = "redundant_query"')


def test_the_first_word_of_a_statement_is_its_kind():
    """Parentheses and lines in front of it are none of it."""
    assert [verb("SELECT 1"), verb("\n  (select 1)"), verb("insert into t values (1)")] == [
        "SELECT",
        "SELECT",
        "INSERT",
    ]
