"""Every command has an example in its help, and it runs."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from builders import make_statement
from dbsight.cli.exit_codes import CLEAN, FINDINGS, MEANINGS
from dbsight.cli.main import main
from dbsight.model import CallSite, Database, Finding, MergedFinding, Snapshot, StatementTotals
from dbsight.report import json as saved
from engine import Engine

APPLICATION = """
import sqlalchemy as sa

engine = sa.create_engine("sqlite:///shop.db")


def list_orders():
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1 + 1")).all()


if __name__ == "__main__":
    list_orders()
"""


def commands(group=main, path=()):
    """Every command with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        if not isinstance(command, click.Group) or (command.callback is not None and command.invoke_without_command):
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


def example(command):
    """The example in the help of a command."""
    found = re.search(r"Example: (dbsight .+?)(?:\n\n|$)", command.help or "", re.DOTALL)
    return " ".join(found[1].split()) if found else None


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A directory with an application, its database and two saved runs."""
    directory = tmp_path_factory.mktemp("shop")
    (directory / "app.py").write_text(APPLICATION, encoding="utf-8")
    statement, database = make_statement("SELECT id FROM shelves WHERE id = ?"), Database("sqlite", "shop.db")
    found = Finding("n_plus_one", "n1-00000001", "warning", "query", "SELECT shelves runs once per item", "8 queries.")
    found.statement, found.database, found.call_site = statement, database, CallSite("app.py", 9, "list_orders")
    totals = StatementTotals(statement, database, 9, 0, 0.9, 0.1, 0.1, 0.1, 9)
    snapshot = Snapshot("shop", windows=1, calls=9, findings=[MergedFinding(found, 1, 8, 0.1)], statements=[totals])
    for name in ("run.json", "before.json", "worker-1.json", "worker-2.json"):
        saved.write(snapshot, directory / name)
    return directory


STARTS = ("bench", "doctor", "health", "load", "mcp", "run")
"""Commands that start dbsight, which a test process must not keep."""


def outcome(words, shop, url):
    """Exit code and output of a command."""
    environ = {"REDIS_URL": url, "PYTHONPATH": str(shop), "CI": ""}
    if words[0] not in STARTS:
        done = CliRunner().invoke(main, words, env=environ, prog_name="dbsight")
        return done.exit_code, done.output
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main(prog_name='dbsight')", *words]
    done = subprocess.run(
        command,
        cwd=shop,
        env={**os.environ, **environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """A process that serves, and that only this test finds."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    engine = Engine(serve=0)
    engine.subscribe()
    yield engine
    engine.unsubscribe()


def browsed(words, shop):
    """Exit code and output of a command that serves a page until it is ended; the page is looked at once."""
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main(prog_name='dbsight')", *words]
    with subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.read().startswith(b"<!doctype html>")
        finally:
            process.terminate()
            rest, said = process.communicate(timeout=60)
    return process.returncode, url + rest + said


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_runs(name, shop, redis_server, serving, monkeypatch):
    """In a directory with an application and saved runs; a failed check is an answer, too."""
    line = example(COMMANDS[name])
    assert line, f"dbsight {name} has no example in its help"
    if name == "mcp":
        pytest.importorskip("mcp", reason="the MCP SDK is not installed")
    monkeypatch.chdir(shop)
    words = shlex.split(line)
    if name == "serve":
        code, output = browsed(words[1:], shop)
    else:
        code, output = outcome(words[1:], shop, redis_server.url())
    assert code in (CLEAN, FINDINGS), output
    assert output or "-o" in words or name == "mcp"  # which answers only when asked
    assert "Traceback" not in output
    for word in words:
        if word.endswith((".html", ".json")):
            assert (shop / word).exists()
    if name == "run":
        page = (shop / "dbsight-report.html").read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>")
        assert "No findings" in page


def test_json_output_is_called_the_same_everywhere():
    """Every command that has ``--json`` says what it does in the same words."""
    texts = {
        name: option.help
        for name, command in COMMANDS.items()
        for option in command.params
        if "--json" in getattr(option, "opts", ())
    }
    assert len(texts) > 8
    assert {text.partition(";")[0].rstrip(".") for text in texts.values()} == {"Output JSON"}


def test_exit_codes_are_listed_once():
    """The page about the command line has the table of the code."""
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {meaning} |" in page for code, meaning in MEANINGS.items())


def test_several_runs_are_one_report(shop):
    """Workers of one server save a run each; their numbers are added, and the same finding is one."""
    runs = [str(shop / name) for name in ("worker-1.json", "worker-2.json")]
    done = CliRunner().invoke(main, ["report", *runs, "--json"])
    both = json.loads(done.stdout)
    assert both["totals"]["calls"] == 18
    assert [(each["id"], each["count"], each["windows"]) for each in both["findings"]] == [("n1-00000001", 16, 2)]
    assert [each["count"] for each in both["statements"]] == [18]
