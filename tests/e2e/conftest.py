"""Fixtures of the end-to-end tests."""

import functools
import os

import pytest

from e2e import runner
from matrix.environments import Environment, Missing

collect_ignore = ["suites"]  # test_testing.py runs them

FRAMEWORKS = (
    "asyncpg",
    "celery[redis]",
    "django",
    "djangorestframework",
    "fastapi",
    "flask",
    "httpx",
    "greenlet",
    "gunicorn",
    "psycopg[binary,pool]",
    "pymysql",
    "redis",
    "sqlalchemy >=2",
    "sqlmodel",
    "uvicorn",
    *(f"opentelemetry-instrumentation-{name}" for name in ("celery", "django", "fastapi", "flask")),
)
"""What examples and deployments ask for, with the instrumentations that ``opentelemetry-bootstrap`` would install."""


@pytest.fixture
def run_instrumented(tmp_path):
    """``runner.run_instrumented`` in a directory of its own."""
    return functools.partial(runner.run_instrumented, cwd=tmp_path)


@pytest.fixture
def run_bare(tmp_path):
    """``runner.run_instrumented`` with nothing in front of the program, in a directory of its own."""
    return functools.partial(runner.run_instrumented, cwd=tmp_path, prefix=())


@pytest.fixture(scope="session")
def frameworks():
    """The interpreter of an environment with the frameworks of the examples."""
    try:
        return str(Environment(FRAMEWORKS).build())
    except Missing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
