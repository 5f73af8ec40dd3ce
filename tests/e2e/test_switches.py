"""The ways to switch dbsight on and off: variables of ours and of OpenTelemetry's, in code, by hand."""

import json

import pytest

from e2e.programs import LOOP, SHOP
from e2e.runner import LEFT_OUT

STAMPED = """
import opentelemetry.trace
import json, os, sys

settings = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
print(json.dumps([type(opentelemetry.trace.get_tracer_provider()).__name__, settings]))
"""


@pytest.fixture
def loop(observe, sqlite_url):
    """Runs the script with an N+1 under the given variables."""

    def run(program=LOOP, prefix=None, **variables):
        options = {} if prefix is None else {"prefix": prefix}
        return observe(program, env={**SHOP, "DATABASE_URL": sqlite_url, **variables}, **options)

    return run


def names_of_ours(seen):
    """Everything that arrived and could only come from us."""
    spans = [
        name
        for span in seen.spans()
        for name in (span.name, span.scope.name, *span.attributes, *span.resource.values())
    ]
    metrics = [metric.scope.name for metric in seen.metrics()]
    logs = [record.scope.name for record in seen.logs()]
    return sorted({name for name in (*spans, *metrics, *logs) if "dbsight" in str(name)})


def test_switched_off_it_is_plain_opentelemetry(loop):
    """No name of ours anywhere, and what other instrumentations see is exported as they made it."""
    seen = loop(OTEL_DBSIGHT_ENABLED="false")
    assert seen.run.returncode == 0
    assert "dbsight" not in seen.run.stderr
    assert names_of_ours(seen) == []
    texts = [span.attributes.get("db.statement", "") for span in seen.spans()]
    assert sum("FROM authors \nWHERE authors.id = ?" in text for text in texts) >= 5


def test_with_the_sdk_disabled_nothing_happens(loop):
    """Nothing arrives and nothing is said."""
    seen = loop(OTEL_SDK_DISABLED="true")
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    assert (seen.spans(), seen.metrics(), seen.logs()) == ([], [], [])


@pytest.mark.parametrize("disabled", ["sqlalchemy", "dbsight_sqlalchemy", "sqlite3,sqlalchemy", "*"])
def test_an_instrumentation_that_is_disabled_by_name_stays_off(loop, disabled):
    """By upstream's name and by ours; the driver's own instrumentation takes over, where it is not off as well."""
    seen = loop(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled)
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    if disabled not in {"sqlalchemy", "dbsight_sqlalchemy"}:
        assert seen.spans() == []
        return
    drivers = [span for span in seen.spans() if span.kind == "CLIENT" and "SELECT" in span.name]
    assert {span.scope.name for span in drivers} == {"dbsight"}
    # The first one ends when its rows have been read.
    summaries = sorted(span.attributes["db.query.summary"] for span in drivers)
    assert summaries == [*["SELECT authors"] * 5, "SELECT books"]
    assert seen.span("dbsight.window").attributes["dbsight.findings.rules"] == ["n_plus_one"]


@pytest.mark.parametrize(
    ("variable", "value", "warning"),
    [
        (
            "OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD",
            "fast",
            "'fast' is not a duration such as 0.5, 500ms, 30 s or 1m; the default 1 s is used",
        ),
        (
            "OTEL_DBSIGHT_SLOW_QERY_THRESHOLD",
            "1",
            "(did you mean OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD?); ignored",
        ),
    ],
    ids=["value", "name"],
)
def test_a_typo_is_one_warning_and_the_application_runs(loop, variable, value, warning):
    """It names the variable, the value and what is used instead; everything else works."""
    seen = loop(**{variable: value})
    (line,) = seen.run.check().stderr.splitlines()
    assert line.startswith("dbsight: ")
    assert f" {variable} " in line
    assert line.endswith(warning)
    assert len(seen.queries()) == 6


def test_the_environment_of_child_processes_is_opentelemetrys_own(loop):
    """We write nothing into it beyond what every distribution does: the exporters."""
    seen = loop(STAMPED)
    provider, settings = json.loads(seen.run.stdout)
    given = {"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_ENDPOINT", *LEFT_OUT}
    assert provider == "TracerProvider"
    assert settings.keys() - given == {"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"}


IN_CODE = f"""
import dbsight

dbsight.configure(service_name="books")
{LOOP}
"""

LATE_IN_CODE = f"""{LOOP}
import dbsight

dbsight.configure(service_name="books")
dbsight.configure(service_name="books", n_plus_one_threshold=6)
with Session(create_engine(os.environ["DATABASE_URL"])) as session:
    print([book.author.name for book in session.scalars(select(Book))])
"""


@pytest.mark.parametrize(
    ("program", "threshold"),
    [
        pytest.param(IN_CODE, 5, id="first"),
        pytest.param(LATE_IN_CODE, 6, id="after work was done, and again"),
    ],
)
def test_configured_in_code_it_does_the_same(loop, program, threshold):
    """No command in front: service name, queries, root with its finding, metrics; nothing on standard error."""
    seen = loop(program, prefix=(), OTEL_SERVICE_NAME="beaten by the argument")
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    assert [span.name for span in seen.queries()] == ["SELECT books", *["SELECT authors"] * 5]
    root = seen.span("dbsight.window")
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert [event.attributes["dbsight.finding.threshold"] for event in root.events] == [threshold]
    assert {span.resource["service.name"] for span in seen.spans()} == {"books"}
    assert {span.resource["telemetry.distro.name"] for span in seen.spans()} == {"dbsight"}
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 6


UNDER_THE_COMMAND = f"""
import os

from sqlalchemy import create_engine, text

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    print(connection.scalar(text("SELECT max(id) FROM authors")))

import dbsight

dbsight.configure(service_name="never", n_plus_one_threshold=6, query_text="off")
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    print(connection.scalar(text("SELECT max(id) FROM authors")))
{LOOP}
"""


def test_configured_in_code_under_the_command_its_settings_hold_from_then_on(loop):
    """The provider is there already: it is attached to once and keeps its resource; arguments beat the environment."""
    seen = loop(UNDER_THE_COMMAND, OTEL_SERVICE_NAME="books", OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD="4")
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    assert {span.resource["service.name"] for span in seen.spans()} == {"books"}
    assert ["db.query.text" in span.attributes for span in seen.queries()] == [True, *[False] * 7]
    assert len(seen.spans()) == 9
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 8
    (event,) = seen.span("dbsight.window").events
    assert event.attributes["dbsight.finding.threshold"] == 6


BY_HAND = f"""
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import dbsight

meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
provider = TracerProvider()
provider.add_span_processor(dbsight.DbsightSpanProcessor(BatchSpanProcessor(OTLPSpanExporter()), meter_provider=meters))
dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
{LOOP}
"""


def test_by_hand_with_a_provider_of_ones_own(loop):
    """The global provider is left alone; a script's root arrives at exit all the same."""
    seen = loop(BY_HAND, prefix=())
    assert (seen.run.returncode, seen.run.stderr) == (0, "")
    assert len(seen.queries()) == 6
    assert seen.span("dbsight.window").attributes["dbsight.findings.rules"] == ["n_plus_one"]
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 6
