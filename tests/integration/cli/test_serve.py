"""``dbsight serve``: pages of saved runs and of live processes, for those who have the link."""

import contextlib
import html
import http.client
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from builders import make_statement
from dbsight import serve
from dbsight.cli.main import main
from dbsight.model import Finding, MergedFinding, Snapshot
from dbsight.report import json as saved
from engine import Engine, run_unit
from waiting import until

pytest.importorskip("jinja2")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Only processes of this test are found."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@contextlib.contextmanager
def running(*arguments):
    """The address that the command prints; afterwards it is told to end, and must end well and quietly."""
    command = [sys.executable, "-c", "from dbsight.cli.main import main; main(prog_name='dbsight')", "serve"]
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            rest, said = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
    assert re.fullmatch(r"serving \d+ (saved runs?|live process(es)?); Ctrl-C ends the server\n", said)


def get(url, *, host=None, token=True):
    """Status and text of a page."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        path = f"{parts.path}?{parts.query}" if token else parts.path
        connection.request("GET", path, headers={"Host": host or parts.netloc})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def run_of(table, path):
    """A saved run with a finding about a table."""
    found = Finding("n_plus_one", "n1-1", "warning", "query", f"SELECT {table} runs once per item", "8 queries.")
    found.statement = make_statement(f"SELECT id FROM {table} WHERE id = ?")
    return saved.write(Snapshot(service="shop", windows=1, calls=9, findings=[MergedFinding(found, 1, 8, 0.1)]), path)


def test_saved_runs_are_read_again_for_each_page(tmp_path):
    """After another run the page is reloaded; a file that cannot be read is said in its place."""
    path = run_of("shelves", tmp_path / "run.json")
    with running(path) as url:
        status, page = get(url)
        assert status == 200
        assert "shelves" in page
        assert "data-live" not in page
        run_of("books", path)
        assert "books" in get(url)[1]
        path.write_text("{")
        status, said = get(url)
        assert status == 400
        assert "is not a dbsight report" in said


def test_the_page_is_as_protected_as_the_endpoint_of_a_process(tmp_path):
    """Loopback, token, Host header."""
    with running(run_of("shelves", tmp_path / "run.json")) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        assert get(url, token=False)[0] == 401
        assert get(url, host="evil.example")[0] == 403
        assert get(url, host="localhost:1")[0] == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", urlsplit(url).port), timeout=5).close()


def test_live_processes_are_one_page_that_reloads_itself():
    """Their numbers are added; after their end, the page shows what was known last."""
    engines = [Engine(serve=0), Engine(serve=0)]
    for engine in engines:
        engine.subscribe()
        run_unit(engine, 6)
    try:
        with running() as url:
            status, page = get(url)
            assert (status, "data-live" in page) == (200, True)
            assert re.search(r"\b12\b", page)
            for engine in engines:
                assert engine.service.process.token not in page
                engine.unsubscribe()
            status, page = get(url)
            assert (status, "GET /orders" in page) == (200, True)
    finally:
        for engine in engines:
            if not engine.retired:
                engine.unsubscribe()


def test_the_browser_is_opened_without_the_token_among_its_arguments(tmp_path, monkeypatch):
    """Other users of the machine can read them: a file that only this user can read leads to the page."""
    seen = tmp_path / "seen"
    monkeypatch.setenv("BROWSER", f"sh -c 'echo \"$0\" >{seen}.part; mv {seen}.part {seen}' %s")
    with running(run_of("shelves", tmp_path / "run.json"), "--open") as url:
        until(seen.exists)
        opened = urlsplit(seen.read_text().strip())
        assert (opened.scheme, opened.query) == ("file", "")
        file = Path(opened.path)
        assert url in html.unescape(file.read_text())
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.parent.exists()


def call(*arguments):
    """Exit code, standard output and standard error."""
    done = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_links_of_live_processes_are_printed():
    """One a line, with process and service; they open the page of that process."""
    engine = Engine(serve=0)
    engine.subscribe()
    try:
        run_unit(engine, 6)
        code, printed, _ = call("--links")
        url, pid, _ = printed.rstrip("\n").split("\t")
        assert (code, int(pid)) == (0, engine.service.process.pid)
        assert get(url)[0] == 200
        assert call("--links", "--service", 1)[0] == 2
    finally:
        engine.unsubscribe()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no process of this user serves: start one with OTEL_DBSIGHT_SERVE=8787, or name runs"),
        (["--links"], "no process of this user serves"),
        (["missing.json"], "missing.json cannot be read: No such file or directory"),
    ],
    ids=["nothing", "links", "file"],
)
def test_nothing_to_serve_is_one_sentence(arguments, said):
    """And the exit code of what cannot be done."""
    code, printed, message = call(*arguments)
    assert (code, printed) == (2, "")
    assert message.startswith(f"Error: {said}")
    assert len(message.splitlines()) == 1


def test_a_port_in_use_is_one_sentence(tmp_path):
    """Without a port, any free one is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, printed, said = call(run_of("shelves", tmp_path / "run.json"), "--port", port)
    assert (code, printed) == (2, "")
    assert said == f"Error: port {port} cannot be used: Address already in use\n"
    assert serve.processes() == []
