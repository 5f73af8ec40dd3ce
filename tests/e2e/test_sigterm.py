"""SIGTERM as it ends real processes: everything is exported first, and the exit status is that of the signal."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from e2e import runner
from embedded import free_port
from matrix.serving import get

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no such signals here")

LATE = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "60000", "OTEL_SERVICE_NAME": "rollout"}
"""ms; nothing leaves by itself while a test lasts."""

SPANS = """
import signal
import sys

from opentelemetry import trace


def work(number):
    for n in range(number):
        with trace.get_tracer("app").start_as_current_span(f"work {n}"):
            pass


def ready():
    print("ready", flush=True)


work(20)
"""

WAITS = {
    "sleeping": "import time; ready(); time.sleep(60)",
    "in Python": "ready()\nwhile True: pass",
    "in a C function": "import ctypes; ready(); ctypes.CDLL(None).sleep(60); ctypes.CDLL(None).sleep(60)",
    "joining a thread": "import threading, time\nt = threading.Thread(target=time.sleep, args=(60,)); t.start()\n"
    "ready(); t.join()",
    "in an event loop": "import asyncio\nasync def main(): ready(); await asyncio.sleep(60)\nasyncio.run(main())",
    "in an event loop that handles other signals": "import asyncio\n"
    "async def main():\n"
    "    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)\n"
    "    ready(); await asyncio.sleep(60)\n"
    "asyncio.run(main())",
}
"""What the main thread does when the signal comes."""


@pytest.fixture
def started(tmp_path, receiver):
    """Starts a program under ``opentelemetry-instrument``; all of them and their children are killed in the end."""
    with contextlib.ExitStack() as stack:

        def start(program, *, prefix=("opentelemetry-instrument",), exporting=True, **env):
            command = program
            if isinstance(program, str):
                (tmp_path / "app.py").write_text(program)
                command = ["python", "app.py"]
            prefix = runner.located(prefix, runner.sys.executable)
            process = subprocess.Popen(
                [*prefix, *runner.located(command, runner.sys.executable)],
                cwd=tmp_path,
                env=runner.environment({**LATE, **env}, receiver=receiver if exporting else None),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.callback(process.communicate)
            stack.callback(_kill, process)
            return process

        yield start


def _kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def ready(process):
    """Wait until the program says that it is."""
    assert process.stdout.readline() == "ready\n", process.stderr.read()


def terminated(process, seconds=30):
    """Send SIGTERM; the exit status and the seconds until the end."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    return process.wait(seconds), time.monotonic() - began


def names(receiver):
    """Names of the spans of the program that arrived."""
    return sorted(span.name for span in receiver.spans() if span.scope.name == "app")


EVERY = sorted(f"work {n}" for n in range(20))


@pytest.mark.parametrize("wait", WAITS)
def test_a_script_exports_every_span_and_ends_by_the_signal(wait, started, receiver):
    """Whatever its main thread does; nothing is printed."""
    process = started(SPANS + WAITS[wait])
    ready(process)
    status, seconds = terminated(process)
    assert (status, names(receiver)) == (-signal.SIGTERM, EVERY)
    assert seconds < 20  # far from the sixty that it waits for
    assert process.communicate() == ("", "")


def test_the_signal_twice_is_the_signal_once(started, receiver):
    """``timeout`` sends it to the process and then to its group."""
    process = started(SPANS + WAITS["sleeping"])
    ready(process)
    process.send_signal(signal.SIGTERM)
    assert terminated(process)[0] == -signal.SIGTERM
    assert names(receiver) == EVERY


def test_the_report_is_printed_where_nothing_is_exported(started, default_ports):
    """As at any other end."""
    query = (
        "import sqlalchemy\n"
        "with sqlalchemy.create_engine('sqlite://').connect() as connection:\n"
        "    connection.exec_driver_sql('CREATE TABLE things (id INTEGER)')\n"
        "    connection.exec_driver_sql('SELECT id FROM things').all()\n"
    )
    process = started(SPANS + query + WAITS["sleeping"], exporting=False)
    ready(process)
    assert terminated(process)[0] == -signal.SIGTERM
    assert process.communicate() == ("", "dbsight: no findings in 2 queries\n")


def test_a_collector_that_does_not_answer_delays_the_end_by_five_seconds_at_most(started):
    """A listener that accepts nothing."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = started(SPANS + WAITS["sleeping"], OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        ready(process)
        status, seconds = terminated(process)
    assert status == -signal.SIGTERM
    assert seconds < 8  # five, and what a busy machine takes


@pytest.mark.parametrize(
    ("handler", "status"),
    [("lambda *_: sys.exit(7)", 7), ("lambda *_: sys.exit(0)", 0), ("signal.SIG_IGN", -signal.SIGKILL)],
)
def test_an_application_that_handles_the_signal_keeps_its_handler(handler, status, started, receiver):
    """It ends as it likes; exit handlers run where it lets them."""
    process = started(f"{SPANS}signal.signal(signal.SIGTERM, {handler})\n{WAITS['sleeping']}")
    ready(process)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.5 if status == -signal.SIGKILL else 30)
    if process.poll() is None:  # as docker stop does after its grace period
        process.kill()
    assert process.wait(30) == status
    assert names(receiver) == ([] if status == -signal.SIGKILL else EVERY)


def test_a_handler_that_calls_the_one_before_ends_by_the_signal(started, receiver):
    """As one does that finds the default action, restores it and raises the signal."""
    program = f"""{SPANS}
import os

before = signal.getsignal(signal.SIGTERM)


def chained(signum, frame):
    os.write(1, b"cleaned up\\n")
    before(signum, frame)


signal.signal(signal.SIGTERM, chained)
{WAITS["sleeping"]}"""
    process = started(program)
    ready(process)
    status, _ = terminated(process)
    assert process.communicate() == ("cleaned up\n", "")
    assert (status, names(receiver)) == (-signal.SIGTERM, EVERY)


FORKED = f"""{SPANS}
import multiprocessing
import os
import time


def child():
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1), flush=True)
    time.sleep(60)


if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    time.sleep(0.5)
    began = time.monotonic()
    process.terminate()
    process.join()
    print(process.exitcode, time.monotonic() - began < 5, flush=True)
    ready()
    time.sleep(60)
"""


def test_a_forked_child_has_the_default_action_and_its_parent_goes_on(started, receiver):
    """The child does not export what its parent has pending, and its end does not end the parent."""
    process = started(FORKED)
    assert process.stdout.readline() == "True -1\n"
    assert process.stdout.readline() == "-15 True\n"
    ready(process)
    assert names(receiver) == []
    assert terminated(process)[0] == -signal.SIGTERM
    assert names(receiver) == EVERY


ENDED = f"""{SPANS}
import multiprocessing


def child():
    with trace.get_tracer("app").start_as_current_span("child"):
        pass


if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    print(process.exitcode, flush=True)
    ready()
    import time; time.sleep(60)
"""


def test_a_child_that_ends_by_itself_exports_its_own(started, receiver):
    """It runs no exit handlers, but the finalizers of multiprocessing; what its parent has pending is not its own."""
    process = started(ENDED)
    assert process.stdout.readline() == "0\n"
    ready(process)
    assert names(receiver) == ["child"]
    assert terminated(process)[0] == -signal.SIGTERM
    assert names(receiver) == sorted([*EVERY, "child"])


@pytest.mark.parametrize(
    ("program", "env"),
    [
        (SPANS, {"OTEL_DBSIGHT_FLUSH_ON_SIGTERM": "false"}),
        (SPANS, {"OTEL_DBSIGHT_ENABLED": "false"}),
        (SPANS, {"OTEL_SDK_DISABLED": "true"}),
    ],
)
def test_where_it_is_off_the_signal_has_its_default_action(program, env, started, receiver):
    """Nothing is exported, as with any OpenTelemetry."""
    process = started(f"{program}print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n{WAITS['sleeping']}", **env)
    assert process.stdout.readline() == "True\n"
    ready(process)
    assert terminated(process)[0] == -signal.SIGTERM
    assert names(receiver) == []


def test_configure_in_another_thread_leaves_the_signal_alone(started):
    """Only the main thread may set handlers."""
    program = """
import signal
import threading
import dbsight

thread = threading.Thread(target=dbsight.configure)
thread.start()
thread.join()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""
    process = started(program, prefix=())
    assert (process.stdout.readline(), process.wait(30)) == ("True\n", 0)


def test_configure_in_the_main_thread_handles_it(started, receiver):
    """A program that starts dbsight by itself."""
    process = started(f"import dbsight\ndbsight.configure()\n{SPANS}{WAITS['sleeping']}", prefix=())
    ready(process)
    assert terminated(process)[0] == -signal.SIGTERM
    assert names(receiver) == EVERY


WEB = f"""{SPANS}
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    work(20)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"served"}})
"""


def test_uvicorn_exports_every_span_and_ends_by_the_signal(started, receiver, tmp_path):
    """It restores the handler that it found, and raises the signal again."""
    (tmp_path / "web.py").write_text(WEB)
    port = free_port()
    process = started(["uvicorn", "--port", str(port), "--log-level", "critical", "web:app"])
    assert get(f"http://127.0.0.1:{port}/") == "served"
    assert terminated(process)[0] == -signal.SIGTERM
    assert names(receiver) == sorted(EVERY * 2)


def test_workers_of_uvicorn_export_every_span(started, receiver, tmp_path):
    """They are spawned, and are sent the signal by their parent, which ends by itself."""
    (tmp_path / "web.py").write_text(WEB)
    port = free_port()
    process = started(
        [
            "uvicorn",
            "--workers",
            "2",
            "--timeout-worker-healthcheck",
            "60",
            "--port",
            str(port),
            "--log-level",
            "critical",
            "web:app",
        ]
    )
    assert get(f"http://127.0.0.1:{port}/") == "served"
    terminated(process)
    assert [name for name in set(EVERY) if names(receiver).count(name) < 2] == []


def in_a_container(*command):
    """A command that runs as PID 1 of a namespace of its own, or a skip where the machine allows none."""
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    try:
        allowed = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no namespaces of processes here")
    return [*namespace, *command]


def inner(process):
    """The process that is PID 1 inside."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pids = children.read_text().split()
        if pids:
            return int(pids[0])
        time.sleep(0.05)
    raise AssertionError("it has no child")


def test_as_pid_1_a_script_ignores_the_signal_as_without_dbsight(started):
    """``docker stop`` kills it after the grace period."""
    (program,) = (SPANS + WAITS["sleeping"],)
    instrument = runner.located(("opentelemetry-instrument",), runner.sys.executable)
    process = started(program, prefix=in_a_container(*instrument))
    ready(process)
    pid = inner(process)
    os.kill(pid, signal.SIGTERM)
    time.sleep(1.5)
    assert process.poll() is None
    os.kill(pid, signal.SIGKILL)
    assert process.wait(30) != 0


def test_as_pid_1_uvicorn_exports_every_span(started, receiver, tmp_path):
    """The signal that it raises is ignored there; it goes on to its end, and exit handlers run."""
    (tmp_path / "web.py").write_text(WEB)
    port = free_port()
    instrument = runner.located(("opentelemetry-instrument",), runner.sys.executable)
    command = ["uvicorn", "--port", str(port), "--log-level", "critical", "web:app"]
    process = started(command, prefix=in_a_container(*instrument))
    assert get(f"http://127.0.0.1:{port}/") == "served"
    os.kill(inner(process), signal.SIGTERM)
    assert process.wait(30) == 0
    assert names(receiver) == sorted(EVERY * 2)
