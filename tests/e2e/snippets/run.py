"""Runs the snippets of pages: one process, which imports once, and a fork of it for each page.

``python run.py URL-OF-REDIS`` reads JSON from standard input, a list of pages with their ``snippets`` each, and answers
with what went wrong.
"""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import traceback
from pathlib import Path

import fastapi  # noqa: F401 - imported once for all pages
import flask  # noqa: F401 - as above
import pytest  # noqa: F401 - as above
import redis
from click.testing import CliRunner
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from capabilities.guided import run as run_block
from dbsight.cli.exit_codes import CLEAN, FINDINGS
from dbsight.cli.main import main
from e2e.snippets import world
from embedded import free_port

PATIENCE = 200
"""s; how long the snippets of a page may take."""
RUN = ("dbsight", "opentelemetry-instrument", "pytest", "python")
"""What is run; any other command is listed in ``not_run.toml`` or fails here, before it does any harm."""
ADAPTED = {"duration=60": "duration=0.2", "iterations=100": "iterations=3", "port=8000": f"port={free_port()}"}
"""Durations, and ports that somebody else may have."""


def runnable(text):
    """The text; in a function if it is the end of one."""
    for old, new in ADAPTED.items():
        text = text.replace(old, new)
    try:
        compile(text, "guide.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return f"def snippet():\n{textwrap.indent(text, '    ')}\nsnippet()\n"
    return text


def python(text, names, client):
    """Run a block of Python; a block of tests by pytest. The names that it defines, the page's later blocks may use."""
    if "def test_" in text:
        Path("test_snippet.py").write_text(f"import pytest\n{text}", encoding="utf-8")
        return command({}, ["pytest", "--dbsight-update", "test_snippet.py"])
    client.flushdb()
    engine = create_engine(world.URL)
    with Session(engine) as session:
        given = {**names, **world.hosts(engine, session, client)}
        after = run_block(runnable(text), **given)
    engine.dispose()
    names |= {name: value for name, value in after.items() if name not in given}
    return None


def command(variables, words):
    """Run what a page says to type; dbsight's own commands in this process."""
    if words[0] not in RUN:
        return f"{words[0]} is not run: list it in not_run.toml, with the reason"
    if words[0] == "dbsight" and "--" not in words:  # which starts a command
        words = [os.environ["REDIS_URL"] if word == "redis://localhost:6379/0" else word for word in words]
        done = CliRunner().invoke(main, words[1:], env=variables, prog_name="dbsight")
        broken = done.exception and not isinstance(done.exception, SystemExit)
        output = done.output + ("".join(traceback.format_exception(done.exception)) if broken else "")
        return None if done.exit_code in (CLEAN, FINDINGS) and not broken else f"exit code {done.exit_code}\n{output}"
    done = subprocess.run(
        words,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE / 2,
    )
    return None if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def run_page(snippets, client):
    """Run the snippets of a page in their order, and say what failed: line, and why."""
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))  # as under opentelemetry-instrument
    failed, names = [], {}
    for snippet in snippets:
        try:
            if "code" in snippet:
                why = python(snippet["code"], names, client)
            elif snippet["words"]:
                why = command(snippet["variables"], snippet["words"])
            else:
                os.environ.update(snippet["variables"])
                why = None
        except BaseException:
            why = traceback.format_exc()
        if why:
            failed.append({"line": snippet["line"], "why": why})
    return failed


def forked(page, template, url):
    """Run a page in a fork, in a directory of its own, without output."""
    directory = Path(tempfile.mkdtemp(dir=template.parent))
    shutil.copytree(template, directory, dirs_exist_ok=True)
    answer = directory / ".answer"
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(PATIENCE)
            os.chdir(directory)
            os.environ.update({"XDG_RUNTIME_DIR": str(directory), "PYTHONPATH": str(directory), "REDIS_URL": url})
            os.environ.update({f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")})
            sys.path.insert(0, str(directory))
            output = os.open("output", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            answer.write_text(json.dumps(run_page(page, redis.Redis.from_url(url, decode_responses=True))))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    text = answer.read_text() if answer.exists() else ""
    said = (directory / "output").read_text(errors="replace")[-2000:] if not text else ""
    return json.loads(text) if text else [{"line": 0, "why": f"did not end by itself\n{said}"}]


def run_all(pages, url):
    """What failed, by page."""
    with tempfile.TemporaryDirectory() as scratch:
        template = Path(scratch) / "template"
        template.mkdir()
        world.prepare(template)
        return {name: forked(snippets, template, url) for name, snippets in pages.items()}


if __name__ == "__main__":
    json.dump(run_all(json.load(sys.stdin), sys.argv[1]), sys.stdout)
