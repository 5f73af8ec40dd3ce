"""Set-up from code, and the settings that each environment gets."""

import json

import pytest
from click.testing import CliRunner

from dbsight.cli.main import main

SCRIPT = """
import dbsight

{call}
from sqlalchemy import create_engine, text

with create_engine("sqlite://").connect() as connection:
    connection.execute(text("SELECT 1 + 1")).all()
"""


@pytest.mark.parametrize("call", ["dbsight.setup(service_name='shop')", "dbsight.APMIntegration.setup('shop')"])
def test_a_service_appears_under_its_name_and_with_its_distribution(observe, call):
    """At a real receiver, in spans and metrics alike; nothing is in front of the command."""
    seen = observe(["-c", SCRIPT.format(call=call)], prefix=())
    seen.run.check()
    assert "SELECT" in [span.name for span in seen.spans()]
    for one in (*seen.spans(), *seen.metrics()):
        assert one.resource["service.name"] == "shop"
        assert one.resource["telemetry.distro.name"] == "dbsight"


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("development", {"slow_query_threshold": "2", "explain": "slow", "report": "terminal"}),
        ("production", {"slow_query_threshold": "0.5", "explain": "off"}),
        ("high_traffic", {"slow_query_threshold": "0.5", "code_location": "slow", "explain": "off"}),
    ],
)
def test_each_environment_has_a_preset_and_config_says_so(monkeypatch, preset, expected):
    """Values with their source; a variable beats the preset."""
    monkeypatch.setenv("OTEL_DBSIGHT_PRESET", preset)
    monkeypatch.setenv("OTEL_DBSIGHT_MAX_ALERTS", "7")
    printed = CliRunner().invoke(main, ["config", "--json"]).output
    rows = {row["name"]: row for row in json.loads(printed)}
    assert {name: rows[name]["value"].removesuffix(" s") for name in expected} == expected
    assert rows["slow_query_threshold"]["source"] == f"preset {preset}"
    assert (rows["max_alerts"]["value"], rows["max_alerts"]["source"]) == ("7", "environment")
    monkeypatch.setenv("OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD", "3")
    assert "3 s   ← environment" in CliRunner().invoke(main, ["config"]).output
