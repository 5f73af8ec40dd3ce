"""Reading an endpoint: each way in which it can fail is one sentence."""

import contextlib
import socket
import threading

import pytest

from dbsight import serve
from dbsight.serve.client import EndpointError, NotReachable, ask, find
from dbsight.serve.processes import PROTOCOL
from dbsight.serve.server import Server, as_json
from engine import Engine

ABOUT = {"pid": 7, "service": "shop", "protocol": PROTOCOL, "dbsight": "0.1.0"}


@pytest.fixture
def served():
    """Makes servers that answer ``/api/v1/snapshot`` with what a test gives; returns the process that it stands for."""
    with contextlib.ExitStack() as stack:

        def make(answer, path="/api/v1/snapshot", pid=4242):
            server = Server(0, "secret", {path: lambda given: as_json(answer) if answer is not None else 1 / 0})
            thread = threading.Thread(target=server.serve)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.stop)
            return serve.Process(0, server.server_port, pid, "secret", PROTOCOL)

        yield make


def fault(process, **options):
    """What is raised, and its sentence."""
    with pytest.raises(EndpointError) as caught:
        ask(process, "/api/v1/snapshot", **options)
    return type(caught.value), str(caught.value)


def test_an_answer_is_returned(served):
    """With what it says about the process."""
    assert ask(served({"process": ABOUT, "x": 1}), "/api/v1/snapshot") == {"process": ABOUT, "x": 1}


def test_a_wrong_token_is_one_sentence(served):
    """It says where the right one is."""
    process = served({"process": ABOUT})
    kind, said = fault(serve.Process(0, process.port, 4242, "wrong", PROTOCOL))
    assert kind is EndpointError
    assert said.startswith(f"process 4242 at {process.url} refuses the token")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"pid": 7}, "runs another version of dbsight, which dbsight {} cannot read: upgrade dbsight in the process"),
        (
            {**ABOUT, "protocol": 0, "dbsight": "0.0.9"},
            "runs dbsight 0.0.9, which dbsight {} cannot read: upgrade dbsight in the process",
        ),
        (
            {**ABOUT, "protocol": 2, "dbsight": "9.0"},
            "runs dbsight 9.0, which dbsight {} cannot read: upgrade dbsight here",
        ),
    ],
    ids=["without", "older", "newer"],
)
def test_another_version_says_which_one_to_upgrade(served, about, said):
    """By the version of the protocol in its answer."""
    from dbsight.version import __version__

    assert fault(served({"process": about}))[1].endswith(said.format(__version__))


def test_a_path_that_is_missing_is_another_version(served):
    """Its protocol may have other paths."""
    assert "upgrade dbsight" in fault(served({"process": ABOUT}, path="/api/v0/snapshot"))[1]


@pytest.mark.swallows_errors
def test_an_error_of_the_process_may_pass(served):
    """It is asked again."""
    with pytest.raises(NotReachable) as caught:
        ask(served(None), "/api/v1/snapshot")
    assert caught.value.slow
    assert "status 500: internal error" in str(caught.value)


def test_nothing_that_listens_is_a_process_that_ended():
    """And one that never served, for an address without a process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kind, said = fault(serve.Process(0, port, 4242, "t"))
    assert (kind, said) == (NotReachable, f"nothing answers at http://127.0.0.1:{port}: process 4242 has ended")
    assert fault(serve.Process(0, port, 0, "t"))[1].endswith("the process has ended, or never served")


def test_a_process_that_does_not_answer_is_not_waited_for():
    """As one that is stopped in a debugger."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(NotReachable) as caught:
            ask(serve.Process(0, silent.getsockname()[1], 4242, "t"), "/api/v1/snapshot", timeout=0.05)
        assert caught.value.slow
        assert str(caught.value).endswith("does not answer within 0.05 s")


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n\r\n\xff", b"HTTP/1.1 200 OK\r\n\r\n[]"]
)
def test_another_program_at_the_port_is_one_sentence(answer):
    """Whatever it says."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def reply():
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        kind, said = fault(serve.Process(0, other.getsockname()[1], 0, "t"))
        thread.join(10)
    assert issubclass(kind, EndpointError)
    assert "\n" not in said


def test_an_address_is_found_with_its_token(tmp_path, monkeypatch):
    """The one in the address, or that of this user's process there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    engine = Engine(serve=0)
    engine.subscribe()
    try:
        process = engine.service.process
        assert find(process.url) == process
        assert find(f"http://localhost:{process.port}/?token={process.token}") == process
        assert find(f"{process.url}/?token=other") == serve.Process(process.port, process.port, 0, "other")
    finally:
        engine.unsubscribe()
    with pytest.raises(ValueError, match="no process of this user serves at port"):
        find(process.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:8787/",
        "https://127.0.0.1:8787",
        "http://127.0.0.1",
        "127.0.0.1:8787",
        "x",
        "http://127.0.0.1:x",
    ],
)
def test_only_addresses_of_this_machine_are_asked(url):
    """A token is not sent anywhere else."""
    with pytest.raises(ValueError, match="forward a port of another machine"):
        find(url)
