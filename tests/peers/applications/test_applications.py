"""Public applications behave the same with dbsight, every statement has one span, and each finding was reviewed.

Each runs twice on its own packages: plainly, and under ``opentelemetry-instrument`` beside other instrumentations of
the same calls. What reached the databases is counted by SQLAlchemy's own events and by the Redis server itself.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e import runner
from matrix.environments import Environment, Missing
from peers import comparison
from peers.applications import monitor, reviewed
from peers.applications.table import APPLICATIONS, BESIDE

if TYPE_CHECKING:
    from e2e.observed import Observed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first run builds an environment for each

WITNESS = Path(__file__).parent / "witness.py"
SETUP = ("PRAGMA", "SET")
SECONDS = 240
"""s; what one run may take on a machine that is busy: less than 10 on one that is not."""


@dataclass(frozen=True)
class Runs:
    """An application without and with dbsight.

    Attributes:
        plain: Without.
        observed: With, and what arrived from it.
        statements: The SQL that SQLAlchemy sent while it was observed.
        commands: The names of the commands that the Redis server received meanwhile.
    """

    plain: runner.CompletedRun
    observed: Observed
    statements: list[str]
    commands: list[str]


@pytest.fixture(params=APPLICATIONS, ids=lambda application: application.name)
def application(request):
    """Each in its turn."""
    return request.param


@pytest.fixture
def runs(application, observe, tmp_path, request):
    """The application, run twice."""
    try:
        python = Environment((*application.packages, *BESIDE)).build()
    except Missing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    env = {
        "PYTHONWARNINGS": "ignore",
        "OTEL_DBSIGHT_RULES": "-slow_query",  # that would be about this machine
        "OTEL_DBSIGHT_WATCH_READS": "true",
    }
    server = request.getfixturevalue("redis_server") if application.redis else None
    if server:
        env["REDIS_URL"] = server.url()

    def arguments(name):
        directory = tmp_path / name
        directory.mkdir()
        journal = tmp_path / f"{name}.journal"
        program = [str(WITNESS), str(journal), str(application.workload)]
        return program, {"cwd": directory, "env": env, "python": str(python), "timeout": SECONDS}

    def run_plainly():
        program, options = arguments("plain")
        return vars(runner.run_instrumented(program, prefix=(), **options).check())

    described = (application.workload.read_text(encoding="utf-8"), WITNESS.read_text(encoding="utf-8"))
    plain = runner.CompletedRun(**comparison.kept(python, described, run_plainly))
    if server:
        request.getfixturevalue("empty_redis")()
    program, options = arguments("observed")
    with monitor.monitored(server) if server else contextlib.nullcontext() as watching:
        observed = observe(program, **options)
        commands = watching.commands() if watching else []
    journal = Path(program[1])
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    return Runs(plain, observed, [json.loads(line) for line in lines], commands)


@pytest.fixture
def empty_redis(redis_server):
    """Forgets everything that is in the Redis server."""
    import redis

    def empty():
        with redis.Redis.from_url(redis_server.url()) as client:
            client.flushall()

    return empty


def test_an_application_behaves_the_same_and_each_statement_is_seen_once(application, runs):
    """Output, exit code and errors are those of the plain run; spans, statements and findings are the expected ones."""
    plain, observed = runs.plain, runs.observed
    assert observed.run.returncode == plain.returncode, observed.run.stderr
    assert observed.run.stderr == plain.stderr
    assert observed.run.stdout == plain.stdout

    assert spans_of_statements(observed) == Counter(map(verb, runs.statements))
    received = Counter(name for name in runs.commands if name not in application.unseen)
    assert spans_of_commands(observed, application.unseen) == received.total(), received
    told = reviewed.differences(application.name, findings(observed))
    assert not told, "\n".join(told)


def verb(statement: str) -> str:
    """The first word of a statement."""
    return statement.lstrip("( \n\t").split(maxsplit=1)[0].upper()


def database_spans(observed: Observed):
    """The spans of all instrumentations that are about a database, with its system."""
    for span in observed.spans():
        system = span.attributes.get("db.system.name") or span.attributes.get("db.system")
        if system and span.name != "connect":
            yield system, span


def spans_of_statements(observed: Observed) -> Counter[str]:
    """How many spans there are for each kind of SQL statement, whoever made them.

    But for what sets a connection up past SQLAlchemy, which only a driver's instrumentation sees.
    """
    counted: Counter[str] = Counter()
    for system, span in database_spans(observed):
        text = span.attributes.get("db.query.text") or span.attributes.get("db.statement")
        if system == "redis" or not text or (span.scope.name != "dbsight" and verb(text) in SETUP):
            continue
        counted[verb(text)] += 1
    return counted


def spans_of_commands(observed: Observed, unseen: frozenset[str]) -> int:
    """How many Redis commands the spans stand for, whoever made them; a pipeline's stands for its commands."""
    left_out = (monitor.UNCOUNTED | unseen) - {"multi"}
    return sum(
        span.attributes.get("db.operation.batch.size", 1)
        for system, span in database_spans(observed)
        if system == "redis" and span.name.partition(" ")[0].lower() not in left_out
    )


def findings(observed: Observed):
    """The events of all findings, on spans and as logs."""
    return [
        *(event for span in observed.spans() for event in span.events_named("dbsight.finding")),
        *observed.logs("dbsight.finding"),
    ]
