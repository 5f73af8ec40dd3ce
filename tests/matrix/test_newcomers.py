"""What a newcomer types first: sets of packages that the pip of each Python installs, and a program that then runs."""

import pytest

from e2e import runner
from matrix.environments import Missing, found
from matrix.newcomers import installed, resolved
from matrix.test_distributions import NOT_TAKEN

pytestmark = pytest.mark.slow

PYTHONS = ("3.10", "3.11", "3.12", "3.13")

SETS = {
    "distribution": ("opentelemetry-distro", "opentelemetry-instrumentation-psycopg"),
    "Django": ("opentelemetry-instrumentation-django", "opentelemetry-instrumentation-psycopg2"),
    "FastAPI": (
        "opentelemetry-instrumentation-fastapi",
        "opentelemetry-instrumentation-asyncpg",
        "opentelemetry-instrumentation-redis",
    ),
    "Flask": ("opentelemetry-instrumentation-flask", "opentelemetry-instrumentation-celery"),
    "SQLAlchemy": ("opentelemetry-instrumentation-sqlalchemy", "sqlalchemy"),
}
"""Packages that are installed in one command with dbsight."""

OTHERS = ("elastic-opentelemetry", "splunk-opentelemetry", "logfire[sqlalchemy]", "ddtrace")
"""Products that may be installed where dbsight is tried."""

OLD_PIP = "22.3.1"
"""The oldest release that resolves without installing, and that knows Python 3.10 and 3.11."""

HOST = {"OTEL_PYTHON_DISTRO": "dbsight", "OTEL_PYTHON_CONFIGURATOR": "dbsight", "OTEL_SERVICE_NAME": "shop"}

PROGRAM = """
import time

from opentelemetry import trace

CLIENT, SERVER = trace.SpanKind.CLIENT, trace.SpanKind.SERVER
tracer = trace.get_tracer("shop")
with tracer.start_as_current_span("GET /orders", kind=SERVER):
    for number in range(8):
        text = f"SELECT name FROM customers WHERE id = {number}"
        with tracer.start_as_current_span("SELECT", kind=CLIENT) as span:
            span.set_attributes({"db.system.name": "postgresql", "db.query.text": text})
            time.sleep(0.002)
print("served")
"""
"""A request with eight queries, as an instrumentation of a driver tells them: no set brings a database."""


def interpreter_of(python):
    """The interpreter of this version; the test is skipped where there is none."""
    try:
        return found(python)
    except Missing as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", SETS)
def test_the_pip_of_this_python_installs_the_set_and_a_program_reports(name, python, tmp_path, observe):
    """From the wheel: the finding is on the request's span, and in the report where nothing is exported."""
    python = str(installed(interpreter_of(python), SETS[name]))
    run = runner.run_instrumented(PROGRAM, cwd=tmp_path, python=python, env=HOST)
    assert (run.returncode, run.stdout) == (0, "served\n"), run.stderr
    assert "8 × SELECT customers" in run.stderr
    seen = observe(PROGRAM, cwd=tmp_path, python=python, env=HOST)
    assert (seen.run.returncode, seen.run.stdout) == (0, "served\n"), seen.run.stderr
    # OpenTelemetry itself says which configurator it did not take, and nobody says anything else.
    assert [line for line in seen.run.stderr.splitlines() if not NOT_TAKEN.search(line)] == []
    root = seen.span("GET /orders")
    assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]


@pytest.mark.parametrize("product", OTHERS)
def test_an_old_pip_finds_versions_that_agree_with_the_product(product):
    """Releases before 23.1 tries versions in another order than later ones."""
    resolved(interpreter_of("3.10"), OLD_PIP, (product,))
