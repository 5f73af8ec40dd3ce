"""What comes with dbsight for backends: rules, dashboards, examples. Other tests run them; these say what is there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dbsight import PerformanceThresholds

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "collector" / "grafana" / "dashboards"
EXAMPLES = ROOT / "examples"
RUN_BY = "".join(
    (ROOT / "tests" / "e2e" / name).read_text() for name in ("test_examples.py", "test_framework_examples.py")
)


def rules(path):
    """Expressions of alerting rules by name."""
    return {rule["alert"]: rule["expr"] for rule in yaml.safe_load(path.read_text())["groups"][0]["rules"]}


LIMITS = {
    "DbErrorRateHigh": ("error_rate_threshold", "error_rate_threshold", 0.1),
    "DbPoolUsageHigh": ("connection_pool_usage_threshold", "pool_usage_threshold", 0.5),
    "DbConnectionFailures": ("failed_connection_threshold", "failed_connection_threshold", 3),
    "DbAvgQueryTimeHigh": ("avg_query_time_threshold", "avg_query_time_threshold", 0.25),
    "DbQpsHigh": ("queries_per_second_threshold", "qps_threshold", 1000),
    "DbConnectionLeaks": ("connection_leak_threshold", "connection_leak_threshold", 2),
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The rules that the generator writes where other limits are set."""
    copy = tmp_path_factory.mktemp("collector")
    shutil.copy(ROOT / "collector" / "generate_alerts.py", copy)
    limits = {f"OTEL_DBSIGHT_{name.upper()}": str(value) for _, name, value in LIMITS.values()}
    command = [sys.executable, str(copy / "generate_alerts.py"), "--here"]
    subprocess.run(command, check=True, env={**os.environ, **limits}, cwd=copy)
    return rules(copy / "alerts.yml")


@pytest.mark.parametrize("name", LIMITS)
def test_rules_of_prometheus_have_the_limits_of_the_process(generated, name):
    """As shipped those of ``PerformanceThresholds()``; generated again, those that are set."""
    field, _, value = LIMITS[name]
    default = getattr(PerformanceThresholds(), field)
    assert re.search(rf">=? {default:g}(?!\d)", rules(ROOT / "collector" / "alerts.yml")[name])
    assert re.search(rf">=? {value:g}(?!\d)", generated[name])


def test_a_health_check_that_fails_is_an_alert():
    """From the metric that ``health_check()`` and the endpoints record."""
    assert rules(ROOT / "collector" / "alerts.yml")["DbHealthCheckFailed"].endswith(
        "(dbsight_health_status_ratio) == 0"
    )


def test_the_overview_has_the_key_metrics_and_their_trends():
    """Three of the database and three of the requests; totals, mean, failed share and use of pools over time."""
    panels = {panel["title"] for panel in json.loads((BOARDS / "overview.json").read_text())["panels"]}
    assert panels >= {
        *("Duration of a query, p95", "Part of the pool in use", "Hits"),
        *("Duration of a request, p95", "Requests", "Failed requests"),
        *("Queries", "Duration of a query, mean", "Failed queries"),
    }
    queries = {panel["title"] for panel in json.loads((BOARDS / "queries.json").read_text())["panels"]}
    assert queries >= {"Queries by type", "Models: objects by what the ORM did"}


@pytest.mark.parametrize("theme", ["basic", "thresholds", "pools", "queries", "recommendations", "alerts"])
def test_each_theme_has_an_example_that_is_run(theme):
    """One file for each."""
    name = f"monitor_{theme}.py"
    assert (EXAMPLES / name).exists()
    assert name in (EXAMPLES / "README.md").read_text()
    assert name in RUN_BY


def test_recommendations_become_tickets_by_an_example():
    """Which is run there: two days, one ticket."""
    assert "daily_review.py" in RUN_BY
    assert "test_recommendations_become_items_once" in RUN_BY
