"""Other people's set-ups: logfire, Sentry, a configuration file, providers that come late, change, or never come."""

import pytest

from e2e.observed import line_of
from matrix.programs import MODELS

pytestmark = pytest.mark.slow

BASE = (
    "sqlalchemy ==2.0.*",
    "greenlet",
    "opentelemetry-instrumentation-sqlite3 >=0.63b0",
    "opentelemetry-instrumentation-sqlalchemy >=0.63b0",
)

LOOP = f"""{MODELS}
from opentelemetry import trace

engine = create_engine(os.environ["DATABASE_URL"])


def list_books():
    with Session(engine) as session:
        return [book.author.name for book in session.execute(select(Book)).scalars()]  # loop


def request():
    with trace.get_tracer("shop").start_as_current_span("GET /books", kind=trace.SpanKind.SERVER):
        return len(list_books())
"""


def judge(seen, program, *, makers, roots=1):
    """Each query once, with its line and its finding on the root; and nothing of ours on standard error."""
    assert (seen.run.returncode, seen.run.stdout) == (0, "10\n" * roots), seen.run.stderr
    assert "dbsight:" not in seen.run.stderr
    queries = [span for span in seen.spans() if "db.query.summary" in span.attributes and span.kind == "CLIENT"]
    assert sorted(span.attributes["db.query.summary"] for span in queries) == sorted(
        [*["SELECT books"] * roots, *["SELECT authors"] * 5 * roots]
    )
    assert {span.attributes["code.line.number"] for span in queries} == {line_of(program, "loop")}
    assert {span.scope.name for span in queries} == makers
    found = [span for span in seen.spans() if span.name == "GET /books"]
    assert [span.attributes.get("dbsight.findings.rules") for span in found] == [["n_plus_one"]] * roots


CONFIGURATION = """
file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: from-file
propagator:
  composite_list: tracecontext,baggage
tracer_provider:
  sampler:
    parent_based:
      root:
        always_on:
  processors:
    - batch:
        exporter:
          otlp_grpc:
            endpoint: {endpoint}
            tls:
              insecure: true
meter_provider:
  readers:
    - periodic:
        interval: 60000
        exporter:
          otlp_grpc:
            endpoint: {endpoint}
            tls:
              insecure: true
"""


def test_a_configuration_file_is_the_users_own(python_of, observe, receiver_process, sqlite_url, tmp_path):
    """The SDK is made from it; dbsight attaches to what it made."""
    program = f"{LOOP}\nprint(request())\n"
    (tmp_path / "otel.yaml").write_text(CONFIGURATION.format(endpoint=receiver_process.grpc_endpoint))
    env = {"DATABASE_URL": sqlite_url, "OTEL_CONFIG_FILE": str(tmp_path / "otel.yaml")}
    seen = observe(program, cwd=tmp_path, python=python_of(*BASE, "opentelemetry-configuration"), env=env)
    judge(seen, program, makers={"dbsight"})
    assert {span.resource["service.name"] for span in seen.spans()} == {"from-file"}
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 6


LATE = f"""{LOOP}
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

import dbsight

dbsight.SQLAlchemyInstrumentor().instrument()
print(len(list_books()))  # nobody listens yet
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
dbsight.configure()
print(request())
"""


def test_a_provider_that_is_set_late_is_attached_to(python_of, observe, sqlite_url, tmp_path):
    """Queries before it are nobody's; from then on all is as ever."""
    seen = observe(LATE, cwd=tmp_path, python=python_of(*BASE), env={"DATABASE_URL": sqlite_url}, prefix=())
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "10\n10\n", "")
    assert [span.name for span in seen.queries()] == ["SELECT books", *["SELECT authors"] * 5]
    assert seen.span("GET /books").attributes["dbsight.findings.rules"] == ["n_plus_one"]


REPLACED = f"""{LOOP}
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import dbsight

print(request())
# As test suites and some servers do.
trace._TRACER_PROVIDER_SET_ONCE._done = False
trace._TRACER_PROVIDER = None
provider = TracerProvider(resource=Resource.create({{"service.name": "second"}}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
dbsight.configure()
print(request())
"""


def test_a_provider_that_is_replaced_is_followed(python_of, observe, sqlite_url, tmp_path):
    """Spans go to the one in force; each request is judged once."""
    seen = observe(
        REPLACED, cwd=tmp_path, python=python_of(*BASE), env={"DATABASE_URL": sqlite_url, "OTEL_SERVICE_NAME": "first"}
    )
    judge(seen, REPLACED, makers={"dbsight"}, roots=2)
    told = {span.resource["service.name"]: 0 for span in seen.spans()}
    for span in seen.queries():
        told[span.resource["service.name"]] += 1
    assert told == {"first": 6, "second": 6}


SEVERAL = f"""{LOOP}
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

other = TracerProvider(resource=Resource.create({{"service.name": "other"}}))
other.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
print(request())
with other.get_tracer("aside").start_as_current_span("aside"):
    print(len(list_books()))
"""


def test_another_provider_beside_the_global_one_is_left_alone(python_of, observe, sqlite_url, tmp_path):
    """Queries below its span go to the global one, with that span as their parent; its own span is as it was."""
    env = {"DATABASE_URL": sqlite_url, "OTEL_SERVICE_NAME": "global"}
    seen = observe(SEVERAL, cwd=tmp_path, python=python_of(*BASE), env=env)
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "10\n10\n", "")
    aside = seen.span("aside")
    assert aside.attributes == {}
    assert [span.parent_span_id for span in seen.queries()][6:] == [aside.span_id] * 6
    assert {span.resource["service.name"] for span in seen.queries()} == {"global"}
    assert seen.span("GET /books").attributes["dbsight.db.calls"] == 6
    (event,) = seen.logs("dbsight.finding")
    assert event.attributes["dbsight.finding.rule"] == "n_plus_one"


NO_SDK = f"""{LOOP}
import time

import dbsight

instrumentor = dbsight.SQLAlchemyInstrumentor()


def seconds():
    with engine.connect() as connection:
        began = time.process_time()
        for _ in range(500):
            connection.execute(text("SELECT 1")).all()
        return time.process_time() - began


bare, watched = [], []
for _ in range(9):  # by turns, and the best of each: other programs run besides
    bare.append(seconds())
    instrumentor.instrument()
    watched.append(seconds())
    instrumentor.uninstrument()
instrumentor.instrument()
print(request(), trace.get_tracer_provider().__class__.__name__)
print(min(watched) < 3 * min(bare))
"""


def test_without_an_sdk_it_costs_little_more_than_the_query(python_of, observe, sqlite_url, tmp_path):
    """The API alone: nobody listens and no span can go anywhere; listeners of SQLAlchemy are all that is left."""
    seen = observe(NO_SDK, cwd=tmp_path, python=python_of(*BASE), env={"DATABASE_URL": sqlite_url}, prefix=())
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "10 ProxyTracerProvider\nTrue\n", "")
    assert (seen.spans(), seen.metrics(), seen.logs()) == ([], [], [])


LOGFIRE = f"""
import logfire

logfire.configure(send_to_logfire=False, console=False)
{LOOP}
logfire.instrument_sqlalchemy(engine)
import dbsight

dbsight.configure()
print(request())
logfire.force_flush()
"""


def test_beside_logfire_nothing_breaks_and_nothing_doubles(python_of, observe, sqlite_url, tmp_path):
    """It wraps the SDK's provider in one of its own, and makes the spans of queries."""
    env = {"DATABASE_URL": sqlite_url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    seen = observe(
        LOGFIRE,
        cwd=tmp_path,
        python=python_of(*BASE, "logfire[sqlalchemy]"),
        env=env,
        prefix=(),
        protocol="http/protobuf",
    )
    judge(seen, LOGFIRE, makers={"opentelemetry.instrumentation.sqlalchemy"})


SENTRY = f"""
import sentry_sdk
from sentry_sdk.integrations.opentelemetry import SentryPropagator, SentrySpanProcessor

nowhere = {{"dsn": "http://key@127.0.0.1:9/1", "transport": lambda event: None}}
sentry_sdk.init(traces_sample_rate=1.0, instrumenter="otel", **nowhere)
from opentelemetry import trace

trace.get_tracer_provider().add_span_processor(SentrySpanProcessor())
{LOOP}
print(request())
"""


def test_beside_sentry_nothing_breaks_and_nothing_doubles(python_of, observe, sqlite_url, tmp_path):
    """Its processor wants to see the start of every span: it does, and gets each once."""
    env = {"DATABASE_URL": sqlite_url, "OTEL_PYTHON_DISTRO": "dbsight", "OTEL_PYTHON_CONFIGURATOR": "dbsight"}
    seen = observe(SENTRY, cwd=tmp_path, python=python_of(*BASE, "sentry-sdk[opentelemetry] <3"), env=env)
    judge(seen, SENTRY, makers={"dbsight"})


REPL = f"""{LOOP}
import code

console = code.InteractiveConsole(globals())
for line in ("books = list_books()", "books = list_books()", "print(len(books))"):
    console.push(line)
"""


def test_a_read_eval_loop_is_work_outside_any_span(python_of, observe, sqlite_url, tmp_path):
    """As a notebook's cells are: one window, its finding counted for both."""
    seen = observe(REPL, cwd=tmp_path, python=python_of(*BASE), env={"DATABASE_URL": sqlite_url})
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (0, "10\n", "")
    root = seen.span("dbsight.window")
    assert (root.attributes["dbsight.db.calls"], root.attributes["dbsight.findings.rules"]) == (12, ["n_plus_one"])
    assert {span.attributes["code.line.number"] for span in seen.queries()} == {line_of(REPL, "loop")}
