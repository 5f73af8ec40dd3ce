"""``dbsight rules``: the catalogue with priorities, settings and where each rule runs."""

import json

import pytest
from click.testing import CliRunner

from dbsight import semconv
from dbsight.cli.main import main
from dbsight.detect.rules import RULES
from dbsight.model import Finding
from dbsight.span.attributes import finding_attributes


def said(*words, **environ):
    """What the command prints."""
    outcome = CliRunner().invoke(main, ["rules", *words], env=environ)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_every_rule_is_listed_with_its_priority_and_where_it_runs():
    """In the order of the list of rules."""
    listed = json.loads(said("--json"))
    assert [each["rule"] for each in listed] == [rule.name for rule in RULES]
    assert {each["priority"] for each in listed} <= {"low", "medium", "high"}
    assert all(each["checks"] and set(each["checks"]) <= {"query", "window", "process", "plan"} for each in listed)
    by_name = {each["rule"]: each for each in listed}
    assert (by_name["slow_query"]["priority"], by_name["slow_query"]["checks"]) == ("high", ["query"])
    assert by_name["missing_index"]["checks"] == ["plan"]
    assert by_name["n_plus_one"]["checks"] == ["window"]
    assert by_name["cache_miss"]["checks"] == ["process"]
    assert by_name["n_plus_one"]["runbook"].endswith("/docs/rules.md#n_plus_one")


def test_settings_have_their_value_default_and_source():
    """As in this environment."""
    (rule,) = json.loads(said("n_plus_one", "--json", OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD="7"))
    assert rule["settings"] == [
        {
            "name": "n_plus_one_threshold",
            "variable": "OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD",
            "default": "5",
            "value": "7",
            "source": "environment",
        }
    ]


def test_a_rule_that_is_disabled_says_so():
    """In the list and on its page."""
    assert "– slow_query " in said(OTEL_DBSIGHT_RULES="all,-slow_query")
    assert ", disabled;" in said("slow_query", OTEL_DBSIGHT_RULES="all,-slow_query").partition("\n")[0]


def test_one_rule_is_printed_with_its_documentation():
    """The drawing, both examples, the severities, the settings."""
    page = said("n_plus_one")
    for part in ("Anti-pattern:", "Best practice:", "Severity:", "OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD = 5 (default"):
        assert part in page


def test_an_unknown_rule_is_an_error_that_suggests_one():
    """As unknown settings are."""
    outcome = CliRunner().invoke(main, ["rules", "n_plus_on"])
    assert (outcome.exit_code, outcome.output) == (2, "Error: unknown rule n_plus_on (did you mean n_plus_one?)\n")


@pytest.mark.parametrize(("severity", "priority"), [("info", "low"), ("warning", "medium"), ("error", "high")])
def test_the_event_of_a_finding_has_its_priority_and_the_address_of_its_rule(severity, priority):
    """The address is that of the section about the rule."""
    attributes = finding_attributes(Finding("pool_wait", "pw-1", severity, "pool", "title", "what was seen"))
    assert attributes[semconv.FINDING_PRIORITY] == priority
    assert attributes[semconv.FINDING_RUNBOOK] == "https://github.com/dbsight/dbsight/blob/main/docs/rules.md#pool_wait"
