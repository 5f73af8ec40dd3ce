"""Runs programs as users do: in a process of their own, under ``opentelemetry-instrument``, exporting over OTLP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otlp.client import Receiver

KEPT = ("HOME", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USER", "VIRTUAL_ENV")
"""What of our own environment a program gets; no OTEL_*, PYTHON*, PG*, CI or terminal setting reaches it."""

COMPILED = Path(tempfile.gettempdir()) / f"dbsight-tests-{os.getuid() if hasattr(os, 'getuid') else ''}-compiled"
"""Where programs keep what Python compiled: outside the tree, and once for all of them (4.5 s of CPU become 1.7)."""

LEFT_OUT = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "aiobotocore,botocore,fastapi,pymemcache,pymongo"}
"""Instrumentors of the tests' environment that import what they instrument, though hardly a program uses it."""

ON_FASTAPI = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "aiobotocore,botocore,pymemcache,pymongo"}
"""For the environment of those that are made with FastAPI."""


@dataclass(frozen=True)
class CompletedRun:
    """A program that ended by itself.

    Attributes:
        returncode: Negative when a signal ended it.
        stdout: As text.
        stderr: As text.
        seconds: From its start to its end, s.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def check(self) -> CompletedRun:
        """This run; fails, with what it said, when it did not end well."""
        assert self.returncode == 0, f"exit code {self.returncode}\n{self.stdout}\n{self.stderr}"
        return self


def environment(
    env: Mapping[str, str] | None = None,
    *,
    receiver: Receiver | None = None,
    protocol: str = "grpc",
    python: str = sys.executable,
) -> dict[str, str]:
    """The whole environment of a program under test.

    Args:
        env: Added last.
        receiver: Where it exports to; without one no endpoint is set.
        protocol: ``grpc`` or ``http/protobuf``.
        python: Its directory comes first on the search path, as in an activated virtual environment.
    """
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment["PATH"] = os.pathsep.join((str(Path(python).parent), environment.get("PATH", os.defpath)))
    environment |= {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": str(COMPILED), "TZ": "UTC"}
    if python == sys.executable:
        environment |= LEFT_OUT
    if receiver is not None:
        environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = (
            receiver.grpc_endpoint if protocol == "grpc" else receiver.http_endpoint
        )
    return environment | dict(env or {})


def run_instrumented(
    program: str | Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    receiver: Receiver | None = None,
    protocol: str = "grpc",
    timeout: float = 60.0,
    prefix: Sequence[str] = ("opentelemetry-instrument",),
    python: str = sys.executable,
    stdin: str = "",
) -> CompletedRun:
    """Run a program to its end.

    Args:
        program: Text of a script, which is written to ``app.py`` in ``cwd``; or the arguments of ``python``.
        cwd: Its working directory.
        env: Environment variables of its own.
        receiver: Where it exports to; without one no endpoint is set.
        protocol: ``grpc`` or ``http/protobuf``.
        timeout: s; then it and its children are killed.
        prefix: What stands in front of ``python``; empty to run it bare.
        python: The interpreter.
        stdin: What it may read.

    Raises:
        AssertionError: It did not end in time; what it said so far is in the message.
    """
    if isinstance(program, str):
        (cwd / "app.py").write_text(textwrap.dedent(program).lstrip("\n"))
        arguments: Sequence[str] = ["app.py"]
    else:
        arguments = program
    began = time.perf_counter()
    process = subprocess.Popen(
        [*located(prefix, python), python, *arguments],
        cwd=cwd,
        env=environment(env, receiver=receiver, protocol=protocol, python=python),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=60)
        raise AssertionError(f"did not end within {timeout} s\n{stdout}\n{stderr}") from None
    finally:
        if process.returncode is None:  # the test was ended
            os.killpg(process.pid, signal.SIGKILL)
    return CompletedRun(process.returncode, stdout, stderr, time.perf_counter() - began)


def located(prefix: Sequence[str], python: str) -> list[str]:
    """``prefix`` with its program taken from the interpreter's own directory where it lies there."""
    if not prefix:
        return []
    beside = Path(python).parent / prefix[0]
    return [str(beside) if beside.exists() else prefix[0], *prefix[1:]]
