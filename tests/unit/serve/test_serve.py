"""The endpoint of a process: who may ask, what it answers, and that it ends."""

import contextlib
import http.client
import json
import os
import socket
import stat
import threading
from dataclasses import asdict

import pytest

from dbsight import serve
from dbsight.config import Settings
from dbsight.serve.processes import announce
from dbsight.serve.requests import MOST, Requests
from dbsight.serve.server import MOST_CLIENTS
from engine import Engine, run_unit
from forking import in_child
from waiting import until


@pytest.fixture
def port():
    """One that is free now, and so are some after it, as a rule."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def engine(port, tmp_path, monkeypatch):
    """One that serves."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    engine = Engine(serve=port)
    engine.subscribe()
    yield engine
    if not engine.retired:
        engine.unsubscribe()


def ask(process, path="/api/v1/snapshot", *, token=None, host=None, method="GET"):
    """Send one request; its status, and what was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    headers = {"Host": host or f"127.0.0.1:{process.port}"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status < 500 else body
    finally:
        connection.close()


def known(process, path):
    """Ask with the token; what was answered."""
    status, body = ask(process, path, token=process.token)
    assert status == 200
    return body


def test_nothing_is_served_unless_it_is_asked_for(port, tmp_path, monkeypatch):
    """No port, no thread, no file, and nothing is kept."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    engine = Engine()
    engine.subscribe()
    try:
        run_unit(engine)
        assert engine.service.process is None
        assert not engine.service._requests.since(0).requests
        assert not list(tmp_path.iterdir())
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    finally:
        engine.unsubscribe()


def test_the_same_user_finds_the_process_and_its_token(engine, port):
    """By the port of the settings alone; others cannot read the file."""
    (process,) = serve.processes(port)
    assert process == engine.service.process
    assert process.asked == port
    assert process.pid == os.getpid()
    (path,) = engine.service._file.parent.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_nobody_is_answered_without_the_token(engine, token):
    """Whether it is missing or wrong."""
    status, body = ask(engine.service.process, token=token and token.encode().decode("latin-1"))
    assert status == 401
    assert body == {"error": "the token is missing or wrong"}


def test_the_token_may_be_in_the_address(engine):
    """As a browser needs it."""
    process = engine.service.process
    assert ask(process, f"/api/v1/requests?token={process.token}")[0] == 200
    assert ask(process, "/api/v1/requests?token=wrong")[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", "[::2]:1"]
)
def test_a_page_that_calls_itself_this_machine_is_refused(engine, host):
    """A name that resolves to 127.0.0.1 makes the endpoint part of a foreign page's site."""
    process = engine.service.process
    assert ask(process, token=process.token, host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:8787", "[::1]"])
def test_names_of_this_machine_are_accepted_with_any_port(engine, host):
    """A port may be forwarded."""
    process = engine.service.process
    assert ask(process, token=process.token, host=host)[0] == 200


def test_the_totals_are_those_of_the_report(engine):
    """The JSON of the saved report, beside the process and its pools."""
    run_unit(engine)
    body = known(engine.service.process, "/api/v1/snapshot")
    assert body["process"]["pid"] == os.getpid()
    assert body["report"]["totals"]["calls"] == 3
    assert body["report"]["routes"][0]["route"] == "GET /orders"
    assert body["pools"] == []


def test_brief_totals_leave_out_what_only_the_page_shows(engine):
    """Examples of requests, and what happened in pools over time: most of what is sent, again and again."""
    run_unit(engine)
    whole = known(engine.service.process, "/api/v1/snapshot")["report"]
    brief = known(engine.service.process, "/api/v1/snapshot?brief=1")["report"]
    assert (len(whole["examples"]), brief["examples"], brief["memory"]) == (1, [], [])
    assert {name: brief[name] for name in ("totals", "routes", "statements", "findings")} == {
        name: whole[name] for name in ("totals", "routes", "statements", "findings")
    }


def test_each_unit_of_work_is_told_once(engine):
    """By its number, with its queries."""
    run_unit(engine)
    run_unit(engine, 6, at=1.0, name="GET /cart")
    process = engine.service.process
    body = known(process, "/api/v1/requests")
    first, second = body["requests"]
    assert (first["route"], first["calls"], first["complete"]) == ("GET /orders", 3, True)
    assert first["queries"][0]["summary"] == "SELECT customers"
    assert first["queries"][0]["count"] == 3
    assert (second["route"], second["findings"][0]["rule"]) == ("GET /cart", "n_plus_one")
    assert body["next"] == 2
    run_unit(engine)
    later = known(process, f"/api/v1/requests?since={body['next']}")
    assert [each["seq"] for each in later["requests"]] == [3]
    assert known(process, "/api/v1/requests?since=3")["requests"] == []


@pytest.mark.parametrize("since", ["-1", "x", "1.5", "²"])
def test_a_number_that_is_none_is_a_bad_request(engine, since):
    """And the reason is told."""
    process = engine.service.process
    path = f"/api/v1/requests?since={since}".encode().decode("latin-1")
    status, body = ask(process, path.replace("Â²", "%C2%B2"), token=process.token)
    assert (status, body) == (400, {"error": "since is not a number"})


def test_a_number_of_another_process_tells_everything(engine):
    """It was restarted in between."""
    run_unit(engine)
    assert len(known(engine.service.process, "/api/v1/requests?since=9999999")["requests"]) == 1


def test_other_paths_and_methods_are_refused(engine):
    """404, and 501 as HTTP wants it."""
    process = engine.service.process
    assert ask(process, "/etc/passwd", token=process.token)[0] == 404
    assert ask(process, token=process.token, method="POST")[0] == 501


def test_what_was_dropped_is_counted():
    """Those who ask too seldom know that they did."""
    requests = Requests()
    engine = Engine()
    engine.service.closed = requests.add
    for _ in range(MOST + 5):
        run_unit(engine, 1)
    page = requests.since(2)
    assert (len(page.requests), page.missed, page.next) == (MOST, 3, MOST + 5)


def test_a_second_process_takes_the_next_port(engine, port):
    """As the workers of a service do; a client finds both."""
    second = Engine(serve=port)
    second.subscribe()
    try:
        assert second.service.process.port > engine.service.process.port
        assert len(serve.processes(port)) == 2
    finally:
        second.unsubscribe()


def test_any_free_port_can_be_asked_for(tmp_path, monkeypatch):
    """Port 0: each process takes one of its own, and is found by 0."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    engines = [Engine(serve=0), Engine(serve=0)]
    try:
        for engine in engines:
            engine.subscribe()
        found = serve.processes(0)
        assert len({process.port for process in found}) == 2
        assert {process.asked for process in found} == {0}
    finally:
        for engine in engines:
            engine.unsubscribe()


def test_all_processes_of_the_user_are_found(engine, port):
    """Whatever their settings, when no port is named."""
    other = Engine(serve=0)
    other.subscribe()
    try:
        assert {engine.service.process, other.service.process} <= set(serve.processes())
        assert serve.processes(port) == [engine.service.process]
    finally:
        other.unsubscribe()


def test_files_of_other_versions_and_other_programs_stay(engine, port):
    """A field that this version does not know is ignored, and so is a file that is not ours."""
    directory = engine.service._file.parent
    written = json.loads(engine.service._file.read_text())
    engine.service._file.write_text(json.dumps({**written, "protocol": 7, "colour": "red"}))
    others = [directory / "notes.json", directory / f"{port}-{os.getpid()}-1.json"]
    for other in others:
        other.write_text("{")
    (process,) = serve.processes(port)
    assert (process.port, process.protocol) == (written["port"], 7)
    assert all(other.exists() for other in others)


def test_a_port_belongs_to_the_process_that_took_it_last(engine, port):
    """A process id may be another process's by now: then the file of one that was killed stays."""
    process = engine.service.process
    old = engine.service._file.parent / f"{port}-1-{process.port}.json"
    old.write_text(json.dumps({**asdict(process), "pid": 1, "token": "old", "started": process.started - 60}))
    assert serve.processes(port) == [process]


def test_it_ends_with_its_engine(engine, port):
    """Thread, port and file."""
    process = engine.service.process
    engine.unsubscribe()
    assert serve.processes(port) == []
    assert not any(
        thread.name == "dbsight-serve" and thread is engine.service._thread for thread in threading.enumerate()
    )
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", process.port), timeout=1)


def test_settings_that_change_start_and_end_it(engine, port):
    """The same settings again change nothing."""
    before = engine.service.process
    engine.use(engine.settings)
    assert engine.service.process is before
    engine.use(Settings(process_metrics=False))
    assert engine.service.process is None
    engine.use(Settings(process_metrics=False, serve=port))
    assert engine.service.process.token != before.token


def test_a_forked_child_serves_its_own(engine, port):
    """With a token and a port of its own; the parent's goes on."""
    run_unit(engine)
    process = engine.service.process

    def look():
        own = until(lambda: engine.service.process)
        return own.port, own.token, known(own, "/api/v1/requests")["requests"]

    own_port, token, requests = in_child(look)
    assert own_port != process.port
    assert token != process.token
    assert requests == []
    assert len(known(process, "/api/v1/requests")["requests"]) == 1
    assert [each.pid for each in serve.processes(port)] == [os.getpid()]


def test_a_forked_child_closes_the_connections_of_its_parent(engine):
    """A client of the parent sees the end of its connection, though the child lives on."""
    process = engine.service.process
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as client:
        until(lambda: engine.service._server._clients)
        (connection,) = engine.service._server._clients

        def look():
            try:
                os.fstat(connection.fileno())
            except OSError:
                return "closed"
            return "open"

        assert in_child(look) == "closed"
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(100)


def test_the_number_of_clients_is_limited(engine):
    """Anybody on this machine can connect, without the token: the application has threads for some of them."""
    process = engine.service.process
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=10))
        until(lambda: len(engine.service._server._clients) == MOST_CLIENTS)
        with pytest.raises(OSError, match=r"reset|closed|disconnect|without response|Broken pipe"):
            ask(process, token=process.token)
    until(lambda: not engine.service._server._clients)
    assert ask(process, token=process.token)[0] == 200


def test_a_directory_of_somebody_else_is_not_used(engine, port, tmp_path, monkeypatch):
    """Others could read the token there, or plant one."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "dbsight").mkdir(mode=0o755)
    (other / "dbsight").chmod(0o755)
    (other / "dbsight" / f"{port}-1-1.json").write_text("{}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(other))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert serve.processes(port) == []
    assert announce(engine.service.process) is None


def test_the_report_is_a_live_page(engine):
    """The same page as in the file, which reloads itself; nobody gets it without the token."""
    run_unit(engine)
    process = engine.service.process
    for token, expected in ((process.token, 200), ("wrong", 401)):
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
        connection.request("GET", f"/?token={token}")
        answer = connection.getresponse()
        page = answer.read().decode()
        connection.close()
        assert answer.status == expected
        assert ("<body data-live>" in page, "GET /orders" in page) == (expected == 200, expected == 200)
        assert process.token not in page
