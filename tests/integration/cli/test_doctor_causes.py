"""Each cause of "there are no spans" that dbsight doctor names, brought about for real."""

import json
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from dbsight.cli.main import main
from e2e import runner

DEFAULTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED", "OTEL_PYTHON_DISTRO")


@pytest.fixture(scope="module")
def nobody():
    """An endpoint where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"127.0.0.1:{port}"


def alone(**environ):
    """What the doctor says of this environment with some variables set: pairs of check, mark and text."""
    done = CliRunner().invoke(main, ["doctor", "--json"], env={**dict.fromkeys(DEFAULTS), **environ})
    answers = json.loads(done.stdout)
    wrong = any(answer["mark"] == "✘" and not answer["advisory"] for answer in answers)
    assert done.exit_code == int(wrong)
    assert all(answer["advice"] for answer in answers if answer["mark"] != "✔")
    return [(answer["check"], answer["mark"], answer["text"]) for answer in answers]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, ("switches", "✘", "OTEL_SDK_DISABLED is true: nothing is recorded")),
        ({"OTEL_DBSIGHT_ENABLED": "false"}, ("switches", "✘", "dbsight is disabled")),
        (
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "dbsight_redis"},
            ("switches", "?", "disabled: dbsight_redis"),
        ),
        (
            {"OTEL_TRACES_SAMPLER": "always_off"},
            ("sampler", "✘", "the sampler always_off drops every trace"),
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            ("sampler", "?", "the sampler traceidratio:0.5 drops some traces"),
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console"},
            ("exporter", "?", "spans are exported to console"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://:4317"},
            ("exporter", "✘", "the OTLP endpoint is not an address"),
        ),
        (
            {"OTEL_PYTHON_DISTRO": "nobodys"},
            ("distribution", "✘", "no OpenTelemetry distribution found"),
        ),
        (
            {"OTEL_PYTHON_CONFIGURATOR": "nobodys"},
            ("distribution", "✘", "no OpenTelemetry configurator found"),
        ),
        (
            {"OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD": "many"},
            ("settings", "✘", "OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD = 'many' is not a whole number"),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_the_environment_does_wrong_is_named(environ, said):
    """Check, mark, and what was seen; every line that is no tick says what to do."""
    check, mark, text = said
    assert [(each, text) for each in alone(**environ) if each[:2] == (check, mark) and each[2].startswith(text)]


def test_a_receiver_that_is_not_there_is_named(nobody):
    """Host and port, and why."""
    said = alone(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{nobody}")
    assert ("exporter", "✘", f"{nobody} does not accept connections: Connection refused") in said


@pytest.mark.skipif(version("sqlalchemy") < "2.1", reason="upstream instruments this version of SQLAlchemy")
def test_upstreams_bound_on_sqlalchemy_is_named():
    """What it supports, what is installed, and that ours takes its place."""
    (line,) = [text for check, _, text in alone() if check == "instrumented" and text.startswith("sqlalchemy of ")]
    assert "it supports sqlalchemy<2.1" in line
    assert f"sqlalchemy {version('sqlalchemy')} is installed" in line
    assert line.endswith("dbsight's own is used instead")


QUERY = """
from sqlalchemy import create_engine, text

with create_engine("sqlite://").connect() as connection:
    connection.execute(text("SELECT 1 AS one FROM sqlite_master")).all()
"""

TWICE = f"""
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
{QUERY}
"""

REPLACED = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace._TRACER_PROVIDER_SET_ONCE._done = False
trace._TRACER_PROVIDER = None
trace.set_tracer_provider(TracerProvider())
{QUERY}
"""

IN_CODE = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import sampling

trace.get_tracer_provider().sampler = sampling.ParentBased(sampling.ALWAYS_OFF)
{QUERY}
"""

DRIVER = """
import sqlite3

sqlite3.connect(":memory:").cursor().execute("SELECT 1")
"""

KILLED = f"""{QUERY}
import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
"""

SUBPROCESS = """
import os
import subprocess
import sys

clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
subprocess.run([sys.executable, "-c", "import sqlite3; sqlite3.connect(':memory:').execute('SELECT 1')"], env=clean)
"""


@pytest.mark.parametrize(
    ("program", "environ", "expected"),
    [
        pytest.param(
            TWICE,
            {},
            [("twice", "✘", "instrumented twice: SQLAlchemyInstrumentor"), ("spans", "✔", "1 query captured")],
            id="double instrumentation",
        ),
        pytest.param(
            REPLACED,
            {},
            [
                (
                    "spans",
                    "✘",
                    "the tracer provider opentelemetry.sdk.trace.TracerProvider has no dbsight span processor",
                )
            ],
            id="provider replaced",
        ),
        pytest.param(
            IN_CODE,
            {},
            [("sampler", "✘", "the sampler ParentBased (parentbased_always_on) drops every trace")],
            id="sampler set in code",
        ),
        pytest.param(
            QUERY,
            {"OTEL_TRACES_SAMPLER": "always_off"},
            [("sampler", "✘", "the sampler AlwaysOff"), ("spans", "✔", "1 query captured")],
            id="sampler",
        ),
        pytest.param(
            QUERY,
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlalchemy,sqlite3"},
            [
                (
                    "switches",
                    "?",
                    "disabled: dbsight_aiosqlite, dbsight_sqlalchemy, dbsight_sqlite3, sqlalchemy, sqlite3",
                ),
                ("instrumented", "✘", "sqlalchemy is imported and not instrumented"),
                ("spans", "✘", "no database query was captured"),
            ],
            id="instrumentation disabled",
        ),
        pytest.param(
            DRIVER,
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlite3"},
            [
                ("instrumented", "✘", "sqlite3 is imported and not instrumented"),
                ("spans", "✘", "no database query was captured"),
            ],
            id="driver not instrumented",
        ),
        pytest.param(
            QUERY,
            {"OTEL_SDK_DISABLED": "true"},
            [("switches", "✘", "OTEL_SDK_DISABLED is true: nothing is recorded")],
            id="SDK disabled",
        ),
        pytest.param(KILLED, {}, [("spans", "✘", "no process of the command reported")], id="killed"),
        pytest.param(SUBPROCESS, {}, [("spans", "✘", "no database query was captured")], id="other process"),
    ],
)
def test_what_a_command_does_wrong_is_named(program, environ, expected, tmp_path):
    """Looked at from inside while it runs; the exit code says that something is wrong."""
    (tmp_path / "program.py").write_text(program.lstrip("\n"))
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main()", "doctor", "--json"]
    done = subprocess.run(
        [*command, "--", sys.executable, "program.py"],
        cwd=tmp_path,
        env=runner.environment({"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", **environ}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = [(answer["check"], answer["mark"], answer["text"]) for answer in json.loads(done.stdout)]
    assert done.returncode == 1
    for check, mark, text in expected:
        assert [each for each in said if each[:2] == (check, mark) and each[2].startswith(text)], (check, text, said)
