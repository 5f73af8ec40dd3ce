"""The last spans of workers that a rollout ends: SIGTERM to their parent, which passes it on."""

import signal

import pytest

from embedded import free_port
from matrix.serving import get, serving
from matrix.test_frameworks import WEB

pytestmark = pytest.mark.slow

LATE = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "60000", "OTEL_SERVICE_NAME": "rollout"}
"""ms; nothing leaves by itself while a test lasts."""

APP = """
from opentelemetry import trace


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    for n in range(20):
        with trace.get_tracer("app").start_as_current_span(f"work {n}"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


def wsgi(environ, start_response):
    for n in range(20):
        with trace.get_tracer("app").start_as_current_span(f"work {n}"):
            pass
    start_response("200 OK", [])
    return [b"served"]
"""

SERVERS = {
    "uvicorn's worker under gunicorn": ("gunicorn", "--worker-class", "uvicorn_worker.UvicornWorker", "app:app"),
    "the same, loaded before the fork": (
        *("gunicorn", "--preload", "--worker-class", "uvicorn_worker.UvicornWorker"),
        "app:app",
    ),
    "gunicorn's own worker": ("gunicorn", "app:wsgi"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_workers_export_every_span_when_their_parent_is_stopped(server, python_of, receiver, tmp_path):
    """Their parent ends with 0, as it does without dbsight."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    module, *arguments = SERVERS[server]
    command = ["-m", module, "--workers", "2", "--bind", f"127.0.0.1:{port}", *arguments]
    python = python_of(*WEB)
    with serving(command, python=python, cwd=tmp_path, receiver=receiver, env=LATE, stop=signal.SIGTERM) as process:
        for _ in range(3):
            assert get(f"http://127.0.0.1:{port}/") == "served"
    assert process.returncode == 0
    assert len([span for span in receiver.spans() if span.scope.name == "app"]) == 60
