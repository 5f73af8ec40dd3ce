"""The dashboards: every query of every panel returns data from a Prometheus that heard the demo and a script."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from collector import services
from e2e.runner import ON_FASTAPI
from embedded import free_port
from matrix.serving import running

COLLECTOR = Path(__file__).parents[2] / "collector"
DASHBOARDS = sorted((COLLECTOR / "grafana" / "dashboards").glob("*.json"))
METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"

SHOP = {
    **ON_FASTAPI,
    "OTEL_SERVICE_NAME": "served shop",
    "OTEL_DBSIGHT_PRESET": "development",
    "OTEL_DBSIGHT_REPORT": "off",
    "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLDS": "redis=1us/10s",
    "OTEL_DBSIGHT_VERY_SLOW_QUERY_THRESHOLD": "60",
}
"""However busy the machine is, no query of theirs is very slow."""

HOST = "OTEL_EXPORTER_PROMETHEUS_HOST"

SCRIPT = """
import time
from contextlib import suppress
from functools import lru_cache

import dbsight
import redis
from sqlalchemy import create_engine, exc, text

double = dbsight.watch_cache("double", lru_cache(2)(lambda number: 2 * number))
nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
while True:
    for number in (1, 2, 3, 4):
        double(number)
    engine = create_engine("sqlite:///script.db")
    with suppress(exc.OperationalError), engine.connect() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    engine.dispose()
    with suppress(exc.OperationalError):
        nowhere.connect()
    with suppress(redis.ConnectionError):
        redis.Redis(port=1, retry=None).get("user:1")
    time.sleep(0.5)
"""
"""What the shop never does: evictions, failing queries, connections that are closed, and that cannot be made."""

ADDED = ("otel_scope_", "instance", "service_", "deployment_", "collector_")
"""Labels that come with one of the ways."""

NEVER = re.compile(
    r"dbsight_self_(dropped|errors)_total|dbsight_pool_cleanup_failures_total|"
    r"otelcol_(receiver_refused|exporter_send_failed)_spans_total"
)
"""What a sound system has none of; there the panel shows zero."""


def queries_of(path):
    """Title of the panel and expression, as Grafana sends it, of each query of a dashboard."""
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$job", ".*")
            yield panel["title"], re.sub(r"\$__(rate_interval|range)", "5m", expression)


def prometheus_name(name, kind, unit):
    """What Prometheus calls a metric that came over OTLP; histograms without their last part."""
    units = {"s": "_seconds", "By": "_bytes", "1": "_ratio" if kind == "observable gauge" else ""}
    return (
        name.replace(".", "_")
        + units.get(unit, "")
        + ("_total" if kind.endswith("r") and "up-down" not in kind else "")
    )


def documented():
    """Every metric of ours as Prometheus names it, and every label of theirs."""
    rows = re.findall(r"^\| `([\w.]+)` \| ([\w -]+) \| `([^`]+)` \| ([^|]*) \|", METRICS.read_text(), re.MULTILINE)
    labels = {label.replace(".", "_") for *_, attributes in rows for label in re.findall(r"[\w.]+", attributes)}
    return {prometheus_name(*row[:3]) for row in rows}, labels


@pytest.mark.parametrize("path", [COLLECTOR / "alerts.yml", *DASHBOARDS], ids=lambda path: path.name)
def test_only_metrics_that_there_are_stand_in_rules_and_dashboards(path):
    """A name that was mistyped would never return anything, and never fire."""
    metrics, labels = documented()
    words = set(re.findall(r"\b(?:db_client|dbsight|process_memory|cpython)_\w+", path.read_text())) - labels
    used = {re.sub(r"_(bucket|sum|count)$", "", word) if word not in metrics else word for word in words}
    assert len(used) > 1
    assert used - metrics == set()


def test_the_dashboards_are_those_that_the_panels_give():
    """``--check`` says so, and writes nothing."""
    check = [sys.executable, str(COLLECTOR / "generate_dashboards.py"), "--check"]
    assert subprocess.run(check, check=False, capture_output=True, text=True).stderr == ""


def test_each_dashboard_has_a_name_of_its_own_and_leads_to_the_others():
    """And asks a source that is provisioned, from whose exemplars a link goes to one that is, too."""
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards) == 8
    assert {tuple(board["tags"]) for board in boards} == {("dbsight",)}
    sources = (COLLECTOR / "grafana" / "provisioning" / "datasources" / "datasources.yaml").read_text()
    assert re.findall(r"^    uid: (\w+)$", sources, re.MULTILINE) == ["prometheus", "jaeger"]
    assert {panel["datasource"]["uid"] for board in boards for panel in board["panels"]} == {"prometheus"}
    assert "name: trace_id\n          datasourceUid: jaeger\n" in sources
    exemplary = [
        target["expr"]
        for board in boards
        for panel in board["panels"]
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    assert any("db_client_operation_duration_seconds_bucket" in expression for expression in exemplary)


@pytest.fixture(scope="module")
def both(otelcol, prometheus, prometheus_program, run_service, tmp_path_factory):
    """The Prometheus that the shop and a script tell of themselves, while they do, and one that scrapes them."""
    directory = tmp_path_factory.mktemp("told")
    (directory / "script.py").write_text(SCRIPT)
    options = {"python": sys.executable, "cwd": directory, "receiver": otelcol}
    shop = ["opentelemetry-instrument", "python", "-m", "dbsight.demo", "--serve"]
    script = ["opentelemetry-instrument", "python", "script.py"]
    ports = {"served shop": free_port(), "script": free_port()}
    envs = {
        name: {**SHOP, "OTEL_SERVICE_NAME": name, "OTEL_DBSIGHT_PROMETHEUS_PORT": str(port), HOST: "127.0.0.1"}
        for name, port in ports.items()
    }
    jobs = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    scraping = services.Prometheus(prometheus_program, tmp_path_factory.mktemp("scraping"), prometheus.collector, jobs)
    with (
        running(shop, output=directory / "shop.txt", env=envs["served shop"], **options),
        running(script, output=directory / "script.txt", env=envs["script"], **options),
    ):
        yield {"told": prometheus, "scraping": run_service(scraping)}


@pytest.fixture
def told(both):
    """The one that hears of both over OTLP."""
    return both["told"]


@pytest.mark.parametrize("way", ["told", "scraping"])
def test_every_query_of_every_dashboard_returns_data(both, way):
    """Over OTLP and scraped; zero stands in for nothing only where a sound system has none."""
    asked = [
        (path.name, title, expression if NEVER.search(expression) else expression.removesuffix(" or vector(0)"))
        for path in DASHBOARDS
        for title, expression in queries_of(path)
        if way == "told" or "traces_dbsight_" not in expression  # which the collector makes, and tells
    ]
    empty = services.eventually(
        lambda: [query for query in asked if not both[way].query(query[2])], lambda found: not found
    )
    assert empty == []


def test_what_is_scraped_has_the_names_and_labels_of_what_is_told(both):
    """Of every metric of ours, so that rules hold both ways; the scope and the address come on top."""

    def series(prometheus):
        found = prometheus.query('{__name__=~"(db_client|dbsight|process_memory|cpython).+",job="served shop"}')
        labels = {}  # some series of a metric may have one more, such as the type of an error
        for each in found:
            named = {label for label in each["metric"] if not label.startswith(ADDED)}
            labels.setdefault(each["metric"]["__name__"], set()).update(named)
        return labels

    told, scraped = services.eventually(
        lambda: [series(both["told"]), series(both["scraping"])], lambda found: found[0] == found[1]
    )
    assert told == scraped
    assert len(told) > 20


def test_the_rules_fire_on_what_was_scraped(both):
    """Those that the script gives a reason for, and that fire at once."""
    rules = yaml.safe_load((COLLECTOR / "alerts.yml").read_text())["groups"][0]["rules"]
    at_once = {rule["alert"]: rule["expr"] for rule in rules if rule["for"] == "0m"}

    def firing():
        jobs = {name: {each["metric"].get("job") for each in both["scraping"].query(at_once[name])} for name in at_once}
        return {name for name, found in jobs.items() if found & {"script", "served shop"}}

    expected = {"DbErrorRateHigh", "DbConnectionFailures", "DbSlowQuery"}
    assert services.eventually(firing, expected.__le__) >= expected
    assert "DbVerySlowQuery" not in firing()


def test_measurements_lead_to_their_traces(told):
    """The exemplars that panels ask for have the label that the source is told to follow."""
    found = services.eventually(lambda: told.exemplars("db_client_operation_duration_seconds_bucket"))
    assert {len(exemplar["labels"]["trace_id"]) for exemplar in found} == {32}
