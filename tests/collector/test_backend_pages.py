"""The pages about backends: what they name exists, what they link to is there, and each has what was promised."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from opentelemetry import environment_variables as api_variables
from opentelemetry.instrumentation import _semconv
from opentelemetry.instrumentation import environment_variables as instrumentation_variables
from opentelemetry.sdk import environment_variables as sdk_variables

import dbsight
from collector.services import CONFIGURATIONS
from dbsight import semconv
from dbsight.config import SETTINGS
from dbsight.detect.rules import RULES

ROOT = CONFIGURATIONS.parent
BACKENDS = ROOT / "docs" / "backends"
PAGES = sorted(path for path in BACKENDS.glob("*.md") if path.name != "README.md")
NAMING = [*PAGES, BACKENDS / "README.md", CONFIGURATIONS / "README.md", ROOT / "examples" / "README.md"]
LINKING = sorted({*NAMING, *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"})

SECTIONS = ["Send", "What you see", "Queries", "Storage and limits"]
TO_FIND = {
    "slow queries",
    "very slow queries",
    "requests with an N+1",
    "leaked connections",
    "long transactions",
    "all executions of a query",
    "findings with severity error",
    "queries that waited for a connection",
    "findings as log events",
}

OVERLAYS = {
    "datadog.md": "datadog.yaml",
    "grafana.md": "grafana-cloud.yaml",
    "honeycomb.md": "honeycomb.yaml",
    "newrelic.md": "newrelic.yaml",
}

NAME = re.compile(
    r"(?<![\w./-])(?:@|attributes\.|labels\.|numeric_labels\.|span\.|event\.|root\.)?"
    r"((?:dbsight|db|traces[._](?:db|dbsight)|logs[._]dbsight)[._][a-z0-9_.*]*[a-z0-9_*])(?![\w(])"
)
"""A name of ours or of the semantic conventions, as one of the query languages writes it."""

WORD = re.compile(r"(?<![\w.])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w(])")

THEIRS = {
    "datadog.md": set(),
    "elastic.md": {"event_name"},
    "grafana.md": {"service_name"},
    "honeycomb.md": {"duration_ms", "signal_type", "annotation_type", "span_event", "parent_name", "parent_id"},
    "jaeger.md": set(),
    "logfire.md": {
        *("trace_id", "span_name", "service_name", "otel_events", "otel_scope_name", "start_timestamp"),
        *("recorded_timestamp", "scalar_value", "metric_name"),
    },
    "newrelic.md": set(),
    "sentry.md": {"sentry_key"},
    "signoz.md": {
        *("trace_id", "signoz_traces", "distributed_signoz_index_v3", "attributes_number", "start_datetime"),
        *("end_datetime", "ts_bucket_start", "start_timestamp", "end_timestamp"),
    },
}
"""Words of each backend's own, with an underscore as the names of our rules have it."""

UNITS = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}


def code_of(page):
    """What stands in a page as code: each block, and each span within a line."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*blocks, *(span.replace(r"\|", "|") for span in re.findall(r"`([^`]+)`", rest))]


def section(page, title):
    """The text below a heading."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(title, "")


def attributes():
    """Every name that we write or read, with dots."""
    constants = {value.rstrip(".") for value in vars(semconv).values() if isinstance(value, str) and "." in value}
    return constants | {name for names in semconv.METRIC_ATTRIBUTES.values() for name in names}


def collected():
    """Metrics that the collector makes, with kind and unit."""
    text = (CONFIGURATIONS / "otelcol.yaml").read_text()
    (namespace,) = re.findall(r"namespace: (\S+)", text)
    counted = re.findall(r"^ {6}((?:traces|logs)\.[\w.]+):$", text, re.MULTILINE)
    calls = {f"{namespace}.calls": ("counter", ""), f"{namespace}.duration": ("histogram", "s")}
    return {**calls, **dict.fromkeys(counted, ("counter", ""))}


def measured():
    """Metrics of the process, with kind and unit, from the page that is made from the instruments."""
    rows = re.findall(
        r"^\| `([\w.]+)` \| ([\w -]+) \| `([^`]+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE
    )
    return {name: (kind, unit) for name, kind, unit in rows}


def prometheus_names():
    """What Prometheus makes of names: of attributes, and of metrics with their unit and kind."""
    names = {name.replace(".", "_") for name in attributes()}
    for name, (kind, unit) in {**measured(), **collected()}.items():
        whole = name.replace(".", "_") + UNITS.get(unit, "")
        if kind.endswith("histogram"):
            names |= {f"{whole}_{part}" for part in ("bucket", "sum", "count")} | {whole}
        elif kind.endswith("counter") and "up-down" not in kind:
            names.add(f"{whole}_total")
        else:
            names.add(whole)
    return names


def is_known(name):
    """Whether a name, in either spelling, is written by us or by the collector; ``db.client.*`` stands for many."""
    if name.endswith("*"):
        return any(each.startswith(name[:-1]) for each in attributes() | collected().keys())
    if "." in name:
        return name in attributes() | collected().keys() or hasattr(dbsight, name.removeprefix("dbsight."))
    return name in prometheus_names()


def named(path):
    """How a test of a page is called."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", NAMING, ids=named)
def test_each_attribute_and_metric_exists(page):
    """In the spelling of the backend: with dots, or with an underscore for each."""
    found = {name for code in code_of(page) for name in NAME.findall(code)}
    assert {name for name in found if not is_known(name)} == set()


@pytest.mark.parametrize("page", NAMING, ids=named)
def test_each_environment_variable_exists(page):
    """Ours, the collector's, and OpenTelemetry's."""
    known = {setting.variable for setting in SETTINGS.values()}
    for module in (api_variables, sdk_variables, instrumentation_variables, _semconv):
        known |= {name for name in dir(module) if name.startswith("OTEL_")}
    for path in CONFIGURATIONS.rglob("*.yaml"):
        known |= set(re.findall(r"\$\{env:(\w+)", path.read_text()))
    mentioned = set(re.findall(r"\b(?:OTEL|DBSIGHT)_[A-Z0-9_]+\b", page.read_text()))
    assert mentioned - known == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_rule_that_one_is_told_to_type_exists(page):
    """Every word like a rule in what is to be typed is a rule, a name that is known, or a word of the backend's own."""
    typed = section(page, "Queries")
    codes = [*re.findall(r"`([^`]+)`", typed), *re.findall(r"^```\w*\n(.*?)^```$", typed, re.MULTILINE | re.DOTALL)]
    words = {word for code in codes for word in WORD.findall(NAME.sub("", code))}
    rules = {rule.name for rule in RULES}
    known = rules | prometheus_names() | {"very_slow"} | THEIRS[page.name]
    assert words - known == set()
    assert {"n_plus_one", "connection_leak"} & words


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_page_has_what_was_promised(page):
    """How to send, what is seen, what to type to find each of nine things, and how lists and events are kept."""
    text = page.read_text()
    assert [title for title in re.findall(r"^## (.+)$", text, re.MULTILINE) if title in SECTIONS] == SECTIONS
    tables = section(page, "Queries").split("| to find | query |\n|---|---|\n")[1:]
    cells = [re.findall(r"^\| ([^|]+) \| (.*) \|$", table, re.MULTILINE) for table in tables]
    assert [TO_FIND - {thing for thing, _ in rows} for rows in cells] == [set()] * len(tables) != []
    assert all("`" in what for rows in cells for _, what in rows)
    kept = section(page, "Storage and limits").lower()
    assert [word for word in ("list", "event", "limit") if word not in kept] == []
    sent = section(page, "Send")
    assert re.search(r"\*\*Through the", sent)
    assert re.search(r"\*\*Directly\*\*", sent)
    assert {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_DBSIGHT_FINDINGS"} <= set(
        re.findall(r"OTEL_\w+", sent)
    )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_secrets_come_from_the_environment(page):
    """What is a header, a key or a token is a variable, or left out."""
    values = re.findall(r"(?:HEADERS|_KEY|_TOKEN|_AUTH)=(\S+)", page.read_text())
    assert [value for value in values if "$" not in value and value != "…"] == []


@pytest.mark.parametrize(("page", "overlay"), OVERLAYS.items())
def test_a_page_links_to_its_overlay_and_names_its_variables(page, overlay):
    """All that it must or may be told."""
    text = (BACKENDS / page).read_text()
    variables = set(re.findall(r"\$\{env:(\w+)", (CONFIGURATIONS / overlay).read_text()))
    assert f"](../../collector/{overlay})" in text
    assert {variable for variable in variables if variable not in text} == set()


@pytest.mark.parametrize("page", [page for page in PAGES if "```yaml" in page.read_text()], ids=named)
def test_the_collector_takes_the_overlay_on_a_page(page, otelcol_program, tmp_path):
    """Where there is no file for it."""
    (overlay,) = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "overlay.yaml").write_text(overlay)
    wanted = re.findall(r"\$\{env:(\w+)\}", overlay)
    env = {name: "https://otlp.example.invalid" if "ENDPOINT" in name else "secret" for name in wanted}
    command = [otelcol_program, "validate", "--config", "otelcol.yaml", "--config", tmp_path / "overlay.yaml"]
    done = subprocess.run(command, cwd=CONFIGURATIONS, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_index_has_every_page_and_no_other():
    """A row each."""
    rows = re.findall(r"^\| \[[^]]+\]\((\w+\.md)\)", (BACKENDS / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == [page.name for page in PAGES]


def anchors(page):
    """What can be linked to on a page: GitHub's form of each heading."""
    text = re.sub(r"^```\w*\n.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=named)
def test_each_link_leads_somewhere(page):
    """To a file or directory of ours, and to a heading in it."""
    text = re.sub(r"^```\w*\n.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        to = Path(os.path.normpath(page.parent / path)) if path else page
        if not to.exists() or (anchor and anchor not in anchors(to)):
            lost.append(target)
    assert lost == []
