"""The command dbsight, as people call it."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from builders import make_statement
from dbsight.cli.main import main
from dbsight.config import SETTINGS
from dbsight.detect.suppressions import read_baseline
from dbsight.model import Finding, MergedFinding, Snapshot
from dbsight.report import json as saved

PROGRAM = """
import sqlalchemy
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection:
    connection.execute(sqlalchemy.text("CREATE TABLE shelves (id INTEGER)"))
    for number in range(8):
        connection.execute(sqlalchemy.text("SELECT id FROM shelves WHERE id = :id"), {"id": number}).all()
"""


def call(*arguments, **environ):
    """Exit code and standard output."""
    done = CliRunner().invoke(main, list(map(str, arguments)), env=environ)
    return done.exit_code, done.stdout


@pytest.fixture
def run(tmp_path):
    """A saved run with one finding."""
    found = Finding("n_plus_one", "n1-00000001", "warning", "query", "SELECT shelves runs once per item", "8 queries.")
    found.statement = make_statement("SELECT id FROM shelves WHERE id = ?")
    snapshot = Snapshot(service="shop", windows=1, calls=9, findings=[MergedFinding(found, 1, 8, 0.1)])
    return saved.write(snapshot, tmp_path / "run.json")


def test_config_prints_every_setting_and_its_source():
    """For people and for programs."""
    code, output = call("config", OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD="7")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == list(SETTINGS)
    (line,) = [line for line in output.splitlines() if line.startswith("n_plus_one_threshold")]
    assert line.split(maxsplit=1)[1] == "7   ← environment"
    code, output = call("config", "--json", OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD="7")
    (row,) = [row for row in json.loads(output) if row["name"] == "n_plus_one_threshold"]
    assert (row["variable"], row["value"], row["source"]) == (
        "OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD",
        "7",
        "environment",
    )


def test_report_prints_a_saved_run(run):
    """As the process would have at its end."""
    code, output = call("report", run)
    assert code == 0
    assert "8 × SELECT shelves" in output


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 99, "findings": []}', '{"schema": 1, "findings": []}'])
@pytest.mark.parametrize("command", [["report"], ["baseline", "save"]], ids=" ".join)
def test_a_file_that_is_no_report_is_one_sentence(tmp_path, command, content):
    """No traceback for the wrong file."""
    path = tmp_path / "other.json"
    path.write_text(content)
    done = CliRunner().invoke(main, [*command, str(path)])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("Error: ")
    missing = CliRunner().invoke(main, [*command, str(tmp_path / "none.json")])
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)


def test_baseline_save_writes_the_ids(run, tmp_path):
    """For the setting BASELINE."""
    path = tmp_path / "known.json"
    code, output = call("baseline", "save", run, "-o", path)
    assert (code, output.startswith("1 finding in ")) == (0, True)
    assert read_baseline(path) == {"n1-00000001"}


def test_baseline_save_keeps_benchmarks_beside_findings(run, tmp_path):
    """Either is saved without loss of the other, and ``compare`` takes the baseline as its base."""
    path = tmp_path / "known.json"
    results = {}
    for name, time in (("before", 2.0), ("after", 9.0)):
        results[name] = tmp_path / f"{name}.json"
        samples = {"samples_ms": [time, time * 1.01, time * 1.02, time * 0.99], "p95_ms": time * 1.02}
        results[name].write_text(json.dumps({"schema": 1, "dbsight": "1", "benchmark": {"list orders": samples}}))
    code, output = call("baseline", "save", results["before"], "-o", path)
    assert (code, output.startswith("1 result in ")) == (0, True)
    assert call("baseline", "save", run, "-o", path)[0] == 0
    assert read_baseline(path) == {"n1-00000001"}
    assert call("compare", path, results["before"])[0] == 0
    code, output = call("compare", path, results["after"])
    assert (code, "✘ slower" in output) == (1, True)
    other = tmp_path / "other.json"
    other.write_text("[]")
    done = CliRunner().invoke(main, ["baseline", "save", str(results["after"]), "-o", str(other)])
    assert (done.exit_code, done.stderr) == (2, f"Error: {other}: the file is not a dbsight baseline\n")
    assert other.read_text() == "[]"


def doctor(program, directory):
    """What the doctor says of a program: texts by check and mark, and its exit code."""
    path = directory / "program.py"
    path.write_text(program.lstrip("\n"))
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main()", "doctor", "--json"]
    done = subprocess.run(
        [*command, "--", sys.executable, path.name],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = {}
    for answer in json.loads(done.stdout):
        said.setdefault((answer["check"], answer["mark"]), []).append(answer["text"])
    return said


def test_doctor_looks_inside_a_command(tmp_path):
    """It runs instrumented, and tells how many queries it saw, where the engine is made, and what is not needed."""
    (tmp_path / "dbsight.toml").write_text('[[ignore]]\nrule = "slow_query"\nreason = "a test"\n')
    said = doctor(PROGRAM, tmp_path)
    assert said["spans", "✔"] == ["9 queries captured, 1 finding reported"]
    assert "SQLAlchemyInstrumentor" in said["instrumented", "✔"][-1]
    assert said["engines", "✔"] == ["sqlite :memory:: SingletonThreadPool, created at program.py:2"]
    assert said["ignored", "?"] == ["ignore slow_query matched nothing"]
    assert said["batches", "✘"] == ["SELECT shelves runs once per item (program.py:6)"]


SERVER = f"""{PROGRAM}
import time

try:
    print("serving", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def test_doctor_waits_for_a_server_that_is_stopped_from_the_keyboard(tmp_path):
    """A terminal interrupts the command and the doctor alike; what the command saw is told all the same."""
    (tmp_path / "program.py").write_text(SERVER.lstrip("\n"))
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main()", "doctor", "--json"]
    process = subprocess.Popen(
        [*command, "--", sys.executable, "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while process.stderr.readline() != "serving\n":
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=180)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert "stopped\n" in errors
    assert "9 queries captured, 1 finding reported" in [answer["text"] for answer in json.loads(said)]


SERVICE = """
import redis
import sqlalchemy

engine = sqlalchemy.create_engine("{postgresql}", **{options})
with engine.connect() as connection:
    connection.execute(sqlalchemy.text("SELECT generate_series(1, 3)"))

client = redis.Redis.from_url("{redis}")
for number in range(10):
    if client.get(f"user:{{number}}") is None:
        client.set(f"user:{{number}}", "x", ex=60 if {kept} else None)
"""


@pytest.mark.parametrize(
    ("options", "kept", "expected"),
    [
        (
            {},
            False,
            {"timeouts": "✘", "health": "✘", "ttl": "✘", "recycle": "✘", "idle-limits": "✘", "pool-timeout": "✔"},
        ),
        (
            {
                "connect_args": {"options": "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=9000"},
                "pool_pre_ping": True,
                "pool_timeout": 60,
            },
            True,
            {"timeouts": "✔", "health": "✔", "ttl": "✔", "recycle": "✔", "idle-limits": "✔", "pool-timeout": "✘"},
        ),
    ],
    ids=["bare", "limited"],
)
def test_doctor_goes_through_the_checklist(options, kept, expected, postgresql, redis_server, tmp_path):
    """Pools, limits, pings and caches as the command has them."""
    program = SERVICE.format(
        postgresql=postgresql.url("postgresql+psycopg"), redis=redis_server.url(), options=options, kept=kept
    )
    said = doctor(program, tmp_path)
    assert {check: mark for check, mark in said if check in expected} == expected
    assert [mark for check, mark in said if check == "pooling"] == ["✔"]
    assert [mark for check, mark in said if check == "warming"] == ["✘"]
    assert {check: mark for check, mark in said if check in {"sizing", "redis-lazy", "redis-health", "budgets"}} == {
        "sizing": "✔",
        "redis-lazy": "✔",
        "redis-health": "✘",
        "budgets": "?",
    }
    assert said["hit-rate", "✘"] == ["0% of 10 lookups were hits; user:{} missed 10 times"]
