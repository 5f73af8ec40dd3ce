"""The programs of ``collector/`` running on free ports of loopback, under the configurations that users get."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import Request

from embedded import GUARD, Unavailable, environment, free_port, why_not
from otlp.client import DIRECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "collector"

SECONDS = 60
"""How long anything may take on a busy machine."""


def loopback() -> str:
    """A free address of this machine, ``127.0.0.1:40123``."""
    return f"127.0.0.1:{free_port()}"


def ask(url: str, body: bytes | None = None, kind: str = "application/x-protobuf") -> bytes:
    """What a program answers over HTTP.

    Raises:
        OSError: It did not answer, or with an error.
    """
    request = Request(url, data=body, headers={"Content-Type": kind} if body is not None else {})
    with DIRECT.open(request, timeout=SECONDS) as answer:
        return answer.read()


def eventually(look: Callable[[], Any], expected: Callable[[Any], bool] = bool) -> Any:
    """What ``look`` returns once it is as ``expected``; what it returned last when it never is."""
    deadline = time.monotonic() + SECONDS
    while True:
        seen = look()
        if expected(seen) or time.monotonic() > deadline:
            return seen
        time.sleep(0.1)


class Service:
    """One program, which can be killed and started again.

    Args:
        command: The program in the foreground.
        directory: Where it runs; its log is there.
        env: Added to an environment that has nothing of the developer's.
        health: A URL that answers once it is ready.
    """

    def __init__(self, command: Sequence[object], directory: Path, env: Mapping[str, str], health: str) -> None:
        self._command = [str(part) for part in command]
        self._directory = directory
        self._env = {**environment(), **env}
        self._health = health
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; returns when it is ready.

        Raises:
            Unavailable: It ended or was never ready; its last words are in the message.
        """
        scratch = self._directory / "running"
        scratch.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", *self._command],
            cwd=self._directory,
            env={**self._env, "directory": str(scratch), "stop": "TERM"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS
        while reason := why_not(lambda: ask(self._health)):
            if self._guard.poll() is not None or time.monotonic() > deadline:
                said = (scratch / "log").read_text(errors="replace")[-1500:]
                self.kill()
                raise Unavailable(f"{self._command[0]} was not ready ({reason}): {said.strip()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        guard, self._guard = self._guard, None
        if guard is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard.pid, 9)
            guard.wait(60)
            guard.stdin.close()


class Jaeger(Service):
    """Jaeger with ``jaeger.yaml``; its storage is in memory.

    Attributes:
        endpoint: Where it takes OTLP over gRPC.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        self.endpoint, self._api, health = loopback(), loopback(), loopback()
        env = {
            "DBSIGHT_JAEGER_OTLP_ENDPOINT": self.endpoint,
            "DBSIGHT_JAEGER_HTTP_ENDPOINT": self._api,
            "DBSIGHT_JAEGER_GRPC_ENDPOINT": loopback(),
            "DBSIGHT_JAEGER_HEALTH_ENDPOINT": health,
        }
        command = (program, "--config", CONFIGURATIONS / "jaeger.yaml")
        super().__init__(command, directory, env, f"http://{health}/status")

    def traces(self, service: str, **search: object) -> list[dict[str, Any]]:
        """What its API answers to a search; ``operation``, ``tags`` (JSON) and others as in its documentation."""
        query = urlencode({"service": service, "limit": 5000, "lookback": "1h", **search})
        return json.loads(ask(f"http://{self._api}/api/traces?{query}"))["data"]


class Prometheus(Service):
    """Prometheus with ``prometheus.yml``, and the collector at another address.

    Args:
        program: Prometheus.
        directory: Where it runs.
        collector: Address of the collector.
        jobs: Addresses of applications that it scrapes, by the name of the service.

    Attributes:
        url: Where it answers.
    """

    def __init__(self, program: Path, directory: Path, collector: str, jobs: Mapping[str, str] | None = None) -> None:
        here = loopback()
        self.url = f"http://{here}"
        text = (CONFIGURATIONS / "prometheus.yml").read_text()
        text = text.replace("otelcol:8888", collector).replace("interval: 15s", "interval: 1s")
        text = text.replace("  - alerts.yml", f"  - {CONFIGURATIONS / 'alerts.yml'}")
        for job, address in (jobs or {}).items():
            text += f"  - job_name: {job}\n    static_configs:\n      - targets: ['{address}']\n"
        configuration = directory / "prometheus.yml"
        configuration.write_text(text)
        command = (
            *(program, f"--config.file={configuration}", f"--storage.tsdb.path={directory / 'data'}"),
            *(f"--web.listen-address={here}", "--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"),
        )
        super().__init__(command, directory, {}, f"{self.url}/-/ready")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, each ``{"metric": {…}, "value": [time, text]}``."""
        told = json.loads(ask(f"{self.url}/api/v1/query?{urlencode({'query': expression})}"))
        return told["data"]["result"]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """The exemplars of the last hour."""
        now = time.time()
        asked = urlencode({"query": expression, "start": now - 3600, "end": now + 60})
        told = json.loads(ask(f"{self.url}/api/v1/query_exemplars?{asked}"))
        return [exemplar for series in told["data"] for exemplar in series["exemplars"]]


class Otelcol(Service):
    """A collector with configurations of ours.

    Args:
        program: The collector.
        directory: Where it runs; the file of findings is there.
        configurations: Names below ``collector/``.
        env: Where it sends to, and what differs from the defaults.

    Attributes:
        grpc_endpoint: As ``OTEL_EXPORTER_OTLP_ENDPOINT`` has it.
        grpc_address: The same for other collectors.
        http_endpoint: For OTLP over HTTP.
        telemetry: Where Prometheus finds its own metrics.
        findings: The file of findings.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        env: Mapping[str, str],
        configurations: Sequence[str] = ("otelcol.yaml",),
        telemetry: str = "",
    ) -> None:
        health, http = loopback(), loopback()
        self.telemetry = telemetry or loopback()
        self.grpc_address = loopback()
        self.grpc_endpoint, self.http_endpoint = f"http://{self.grpc_address}", f"http://{http}"
        self.findings = directory / "findings.jsonl"
        env = {
            "DBSIGHT_HEALTH_ENDPOINT": health,
            "DBSIGHT_OTLP_GRPC_ENDPOINT": self.grpc_address,
            "DBSIGHT_OTLP_HTTP_ENDPOINT": http,
            "DBSIGHT_TELEMETRY_PORT": self.telemetry.rpartition(":")[2],
            "DBSIGHT_FINDINGS_FILE": str(self.findings),
            "DBSIGHT_METRICS_INTERVAL": "1s",
            **env,
        }
        files = [word for name in configurations for word in ("--config", CONFIGURATIONS / name)]
        super().__init__((program, *files), directory, env, f"http://{health}/")
