"""Programs that serve until they are told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from e2e import runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from otlp.client import Receiver

DIRECT = build_opener(ProxyHandler({}))

SOON = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
"""ms; what was seen arrives while the test waits."""


def get(url: str, patience: float = 60.0) -> str:
    """The body of a page, as soon as somebody serves it; status codes are as good as any."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with DIRECT.open(url, timeout=30) as answer:
                return str(answer.read().decode())
        except HTTPError as error:  # noqa: PERF203 - it waits anyway
            return str(error.code)
        except (URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def serving(
    arguments: Sequence[str],
    *,
    python: str,
    cwd: Path,
    receiver: Receiver,
    env: Mapping[str, str],
    stop: signal.Signals = signal.SIGTERM,
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """``running`` for the arguments of ``python``; what it said is in ``output.txt`` in its working directory."""
    command = ["opentelemetry-instrument", python, *arguments]
    return running(command, python=python, cwd=cwd, output=cwd / "output.txt", receiver=receiver, env=env, stop=stop)


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    python: str,
    cwd: Path,
    output: Path,
    receiver: Receiver,
    env: Mapping[str, str],
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[str]]:
    """A program for the time of the block.

    Args:
        command: Its name, found beside ``python`` first, and its arguments.
        python: The interpreter.
        cwd: Its working directory.
        output: The file that gets what it says.
        receiver: Where it exports to.
        env: Environment variables of its own.
        stop: What it is told to end with, in the end.

    Raises:
        AssertionError: It did not end; it and its children are killed.
    """
    with output.open("w") as said:
        process = subprocess.Popen(
            runner.located(command, python),
            cwd=cwd,
            env=runner.environment({**SOON, **env}, receiver=receiver, python=python),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
        process.send_signal(stop)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end\n{output.read_text()}") from None
    except BaseException:
        print(output.read_text())
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
