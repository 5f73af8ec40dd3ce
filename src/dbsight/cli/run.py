"""``dbsight run -- COMMAND``: the report without a backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dbsight import config
from dbsight.cli.doctor_probe import MEMORY_VARIABLE, PROFILE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_RUN = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"


def instrumented(
    command: tuple[str, ...],
    environ: Mapping[str, str],
    stdout: int | None = None,
    *,
    quiet: bool = False,
    directory: Path | None = None,
) -> int:
    """Run a command instrumented.

    Args:
        command: The words; a leading ``opentelemetry-instrument`` is dropped.
        environ: Its whole environment.
        stdout: Descriptor for its output; None leaves it where ours goes.
        quiet: It has no standard input.
        directory: Where it runs; None is the working directory.

    Returns:
        Its exit code; as a shell has it where a signal ended it.
    """
    if Path(command[0]).name == "opentelemetry-instrument":
        command = command[1:]
    process = subprocess.Popen(  # noqa: S603 - the user's own command
        [sys.executable, "-c", _RUN, *command],
        env=environ,
        stdin=subprocess.DEVNULL if quiet else None,
        stdout=stdout,
        cwd=directory,
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The terminal interrupts the command, too: that is how a server stops and then reports.
        code = process.wait()
    return code if code >= 0 else 128 - code


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--report", default="terminal", show_default=True, help="As OTEL_DBSIGHT_REPORT: terminal, json, html.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the run as JSON, for `dbsight compare`.")
@click.option("--cprofile", is_flag=True, help="Print the ten functions that took longest in the longest request.")
@click.option("--tracemalloc", is_flag=True, help="Print the ten lines that held most memory when it was highest.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(report: str, save: Path | None, cprofile: bool, tracemalloc: bool, command: tuple[str, ...]) -> None:
    """Run a COMMAND instrumented, and print what dbsight found: no backend is needed.

    `dbsight run -- python app.py` is `opentelemetry-instrument python app.py` that exports nothing unless an exporter
    is configured. The exit code is the command's.

    --cprofile and --tracemalloc make the command slower. Without requests or tasks, the whole program is profiled.

    Example: dbsight run --report terminal,html -- python app.py
    """
    environ = dict(config.environment())
    reports = [report, *(["json"] if save is not None and "json" not in report else [])]
    environ["OTEL_DBSIGHT_REPORT"] = ",".join(reports)
    environ |= {name: "1" for name, wanted in ((PROFILE_VARIABLE, cprofile), (MEMORY_VARIABLE, tracemalloc)) if wanted}
    if save is not None:
        environ["OTEL_DBSIGHT_REPORT_FILE"] = str(save.resolve())
    if not any(name.startswith("OTEL_EXPORTER_OTLP") for name in environ):
        for signal in ("TRACES", "METRICS", "LOGS"):
            environ.setdefault(f"OTEL_{signal}_EXPORTER", "none")
    raise SystemExit(instrumented(command, environ))
