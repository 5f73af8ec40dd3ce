"""The application under ``opentelemetry-instrument`` is what it is without: output, exit code, end."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.programs import LOOP, SHOP

ENDS = {
    "it ends": "",
    "it raises": "raise ValueError('the own fault of the application')",
    "it exits": "import sys; sys.exit(7)",
    "it exits with a message": "import sys; sys.exit('no more')",
    "it is interrupted": "import signal; signal.raise_signal(signal.SIGINT)",
    "it warns and logs": "import logging, warnings; warnings.warn('soon gone'); logging.error('as ever')",
}
"""How a program goes on after its loop."""


@pytest.fixture(scope="module", params=ENDS.items(), ids=lambda item: item[0])
def twins(request, observe, sqlite_url, tmp_path_factory):
    """The same program, bare and instrumented, in the same directory."""
    program = f"{LOOP}\n{request.param[1]}\n"
    directory = tmp_path_factory.mktemp("twins")
    options = {"cwd": directory, "env": {**SHOP, "DATABASE_URL": sqlite_url}}
    return observe(program, receiver=None, prefix=(), **options).run, observe(program, **options)


def test_exit_code_and_output_are_the_same(twins):
    """Standard output, standard error with its traceback, and how it ended; no word of ours."""
    bare, seen = twins
    assert bare.stdout
    assert (seen.run.returncode, seen.run.stdout, seen.run.stderr) == (bare.returncode, bare.stdout, bare.stderr)


@pytest.mark.parametrize("report", ["terminal", "html", "json"])
def test_an_interrupted_program_ends_by_the_signal_with_a_report_too(observe, sqlite_url, report):
    """Not with exit code 1, for which the loop of a shell script would go on."""
    program = f"{LOOP}\n{ENDS['it is interrupted']}\n"
    env = {**SHOP, "DATABASE_URL": sqlite_url, "OTEL_DBSIGHT_REPORT": report}
    seen = observe(program, receiver=None, env=env)
    assert seen.run.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in seen.run.stderr


def test_what_was_seen_arrives_however_it_ends(twins):
    """All queries below their root, which has the finding; metrics too."""
    _, seen = twins
    root = seen.span("dbsight.window")
    assert [span.parent_span_id for span in seen.queries()] == [root.span_id] * 6
    assert [event.attributes["dbsight.finding.rule"] for event in root.events] == ["n_plus_one"]
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 6


TIMED = f"""{LOOP}
import time
print(time.time())
"""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_without_a_collector_it_ends_at_once_and_the_report_is_printed(observe, sqlite_url, default_ports, protocol):
    """No endpoint is configured, nobody listens: a moment later the report stands on standard error."""
    env = {**SHOP, "DATABASE_URL": sqlite_url, "OTEL_SERVICE_NAME": "books"}
    seen = observe(TIMED, receiver=None, env=env | {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
    *printed, moment = seen.run.check().stdout.splitlines()
    assert len(printed) == 1
    assert seen.ended - float(moment) < 3
    report = seen.run.stderr
    assert re.match(r"dbsight \S+ · books \(balanced\) · 6 queries · \S+ [µm]s in the database", report)
    assert "N+1" in report
    assert "5 queries loaded Book.author one row at a time" in report
    assert "app.py:9 in <module>" in report
    assert "fix  select(Book).options(joinedload(Book.author))\n" in report
    assert report.endswith("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317\n")


def test_a_dead_endpoint_does_not_hold_the_application_up(observe, sqlite_url, late_receiver):
    """Somebody configured it, so it is tried, but not for long; the report says what nobody received."""
    env = {**SHOP, "DATABASE_URL": sqlite_url, "OTEL_EXPORTER_OTLP_ENDPOINT": late_receiver.grpc_endpoint}
    seen = observe(TIMED, receiver=None, env=env)
    moment = seen.run.check().stdout.splitlines()[-1]
    assert seen.ended - float(moment) < 6


WAITING = f"""{LOOP}
from pathlib import Path
from time import sleep

Path("early").touch()
while not Path("go on").exists():
    sleep(0.02)
with Session(create_engine(os.environ["DATABASE_URL"])) as session:
    print(len(session.scalars(select(Book)).all()))
"""


def test_a_collector_that_starts_later_gets_what_was_seen_before(observe, sqlite_url, collector, tmp_path):
    """The application began without one: all its spans arrive, and no report is printed."""
    env = {**SHOP, "DATABASE_URL": sqlite_url}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(observe, WAITING, receiver=None, env=env, cwd=tmp_path)
        while not (tmp_path / "early").exists():
            assert not running.done(), running.result().run.stderr
            time.sleep(0.02)
        collector.start()
        (tmp_path / "go on").touch()
        run = running.result().run.check()
    assert run.stderr == ""
    queries = sorted((span for span in collector.spans() if span.kind == "CLIENT"), key=lambda span: span.start_ns)
    assert [span.name for span in queries] == ["SELECT books", *["SELECT authors"] * 5, "SELECT books"]
    roots = [span for span in collector.spans("dbsight.window") if "dbsight.findings.rules" in span.attributes]
    assert [root.attributes["dbsight.findings.rules"] for root in roots] == [["n_plus_one"]]
