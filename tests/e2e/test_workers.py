"""Servers with several workers that all have the same ``OTEL_DBSIGHT_SERVE``: each serves; they are found and added.

gunicorn forks its workers, with and without having imported the application; uvicorn spawns them.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from dbsight import serve
from dbsight.cli.main import main
from dbsight.serve.client import ask
from e2e import runner
from embedded import free_port
from waiting import until

pytestmark = pytest.mark.slow

APPLICATION = """
import os
import time

import sqlalchemy as sa
from opentelemetry import trace

engine = sa.create_engine("sqlite:///shop.db", pool_size=2, max_overflow=1)
tracer = trace.get_tracer("app")


def orders():
    with tracer.start_as_current_span("GET /orders", kind=trace.SpanKind.SERVER):
        with engine.connect() as connection:
            for number in range(8):
                connection.execute(sa.text("SELECT 1 + :number AS price"), {"number": number}).all()
    time.sleep(0.02)  # while this worker is busy, the other one takes the next request
    return str(os.getpid()).encode()


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [orders()]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    body = orders()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
LINE = APPLICATION.partition("connection.execute")[0].count("\n") + 1
GUNICORN = ("gunicorn", "--workers=2", "--bind=127.0.0.1:{port}", "--no-control-socket", "app:wsgi")
SERVERS = {
    "gunicorn": GUNICORN,
    "gunicorn --preload": (*GUNICORN, "--preload"),
    "uvicorn": ("uvicorn", "--workers=2", "--port={port}", "--log-level=warning", "app:asgi"),
}
RUN = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
MAIN = (sys.executable, "-c", "from dbsight.cli.main import main; main(prog_name='dbsight')")


class Service:
    """A server that runs.

    Attributes:
        url: Its page.
        asked: ``OTEL_DBSIGHT_SERVE`` of all its processes.
        environ: Of whoever looks for them.
        process: Its master process.
        sent: Requests that were answered.
    """

    def __init__(self, url, asked, environ, process):
        self.url, self.asked, self.environ, self.process = url, asked, environ, process
        self.sent = 0
        self._lock = threading.Lock()

    def request(self):
        """Send one request; the process id of the worker that answered, None before there is one."""
        try:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                pid = int(answer.read())
        except OSError:
            return None
        with self._lock:
            self.sent += 1
        return pid

    def requested(self, number):
        """Send requests, several at a time, until so many workers have answered; their process ids."""
        seen = set()

        def answered():
            time.sleep(0.1)
            with ThreadPoolExecutor(8) as threads:
                seen.update(threads.map(lambda _: self.request(), range(8)))
            return len(seen - {None}) >= number

        until(answered)
        return seen - {None}

    def serving(self):
        """Those of its processes that serve, by process id."""
        return {process.pid: process for process in serve.processes(self.asked)}


@contextlib.contextmanager
def started(command, directory, **settings):
    """A server in a directory; at its end, it must have said nothing of an error, and have left no file."""
    (directory / "app.py").write_text(APPLICATION, encoding="utf-8")
    port, asked = free_port(), free_port()
    environ = {
        **runner.environment({f"OTEL_{name}_EXPORTER": "none" for name in ("TRACES", "METRICS", "LOGS")}),
        "XDG_RUNTIME_DIR": str(directory),
        "OTEL_DBSIGHT_SERVE": str(asked),
        "OTEL_DBSIGHT_REPORT": "off",
        "OTEL_SERVICE_NAME": "shop",
        **settings,
    }
    module, *arguments = (word.format(port=port) for word in command)
    log = directory / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", RUN, sys.executable, "-m", module, *arguments],
            cwd=directory,
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Service(
                f"http://127.0.0.1:{port}/orders", int(settings.get("OTEL_DBSIGHT_SERVE", asked)), environ, process
            )
            process.terminate()
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "dbsight:" not in said, said
    assert process.returncode in (0, -signal.SIGTERM), said


@pytest.fixture(autouse=True)
def found_here(tmp_path, monkeypatch):
    """This process looks where the servers of the test announce themselves."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@contextlib.contextmanager
def working(name, directory, **settings):
    """One of the servers, and its two workers, which serve."""
    pytest.importorskip(SERVERS[name][0])
    with started(SERVERS[name], directory, **settings) as service:
        until(lambda: service.process.poll() is not None or service.request())
        workers = service.requested(2)
        until(lambda: workers <= set(service.serving()))
        yield service, workers


def top(*arguments):
    """What ``dbsight top`` says, as JSON."""
    done = CliRunner().invoke(main, ["top", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "settings"),
    # 0: no port has to be chosen, and processes are found all the same.
    [("gunicorn --preload", {"OTEL_DBSIGHT_SERVE": "0"}), ("uvicorn", {})],
    ids=["gunicorn --preload, any port", "uvicorn"],
)
def test_each_worker_serves_and_they_are_added(name, settings, tmp_path):
    """With a port and a token of its own; the master's are not inherited. One that is killed is replaced."""
    with working(name, tmp_path, **settings) as (service, workers):
        serving = service.serving()
        assert len({process.port for process in serving.values()}) == len(serving)
        assert len({process.token for process in serving.values()}) == len(serving)

        def requests():
            found = {}
            for pid, process in serving.items():
                about = ask(process, "/api/v1/snapshot")
                assert (about["process"]["pid"], about["process"]["service"]) == (pid, "shop")
                found[pid] = about["report"]["totals"]["requests"]
            return found

        by_worker = until(lambda: sum((found := requests()).values()) == service.sent and found)
        assert all(by_worker[worker] for worker in workers)
        told = top("--service", service.asked)
        assert {process["pid"] for process in told["processes"]} == set(serving)
        (row,) = [row for row in told["requests"] if row["route"] == "GET /orders"]
        assert (row["count"], row["queries"]) == (service.sent, 8.0)
        assert [pool["max"] for pool in told["pools"]] == [6]
        (finding,) = told["findings"]
        assert (finding["rule"], finding["count"]) == ("n_plus_one", 8 * service.sent)
        # By the process id of the master: its children, too. By that of a worker: that one alone.
        assert {process["pid"] for process in top(service.process.pid)["processes"]} == set(serving)
        victim = min(workers)
        (row,) = [row for row in top(victim)["requests"] if row["route"] == "GET /orders"]
        assert row["count"] == by_worker[victim]

        os.kill(victim, signal.SIGKILL)
        (later,) = until(lambda: service.requested(1) - workers)
        serving = until(lambda: later in (found := service.serving()) and found)
        assert victim not in serving
        assert not list((tmp_path / "dbsight").glob(f"*-{victim}-*"))


def test_an_agent_asks_live_workers(tmp_path):
    """``dbsight mcp --port`` over two workers with pools, by the SDK's own client."""
    mcp = pytest.importorskip("mcp", reason="the MCP SDK is not installed")
    with working("gunicorn", tmp_path) as (service, _):
        command, *arguments = (*MAIN, "mcp", "--port", str(service.asked))
        server = mcp.StdioServerParameters(command=command, args=arguments, env=service.environ, cwd=tmp_path)

        async def work():
            async with mcp.Client(server) as client:

                async def text(name, **given):
                    result = await client.call_tool(name, given)
                    return result.is_error, "".join(part.text for part in result.content)

                failed, listed = await text("list_findings")
                assert not failed
                assert listed.startswith(f"1 finding in {8 * service.sent} queries")
                identity = listed.partition("* `")[2].partition("`")[0]
                failed, shown = await text("show_finding", finding_id=identity)
                assert not failed
                assert "app.py" in shown
                assert f">   {LINE}  " in shown  # from the project directory
                assert "SELECT" in (await text("list_queries"))[1]
                service.process.terminate()
                service.process.wait(60)
                failed, said = await text("list_findings")
                assert failed
                assert f"no process of this user serves with OTEL_DBSIGHT_SERVE={service.asked}" in said

        asyncio.run(work())
