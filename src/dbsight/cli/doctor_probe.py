"""What ``dbsight doctor -- command`` leaves in the command's processes: each tells at its end what it saw.

An entry point of auto-instrumentation, which ``dbsight run`` uses, too; without their variables it does nothing and
imports nothing.
"""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

from dbsight import config
from dbsight.safety import failed

VARIABLE = "DBSIGHT_DOCTOR_DIRECTORY"
PROFILE_VARIABLE = "DBSIGHT_RUN_CPROFILE"
MEMORY_VARIABLE = "DBSIGHT_RUN_TRACEMALLOC"


def pre_instrument() -> None:
    """Entry point: tell at the end of this process, and of those forked from it."""
    if config.environment().get(PROFILE_VARIABLE) or config.environment().get(MEMORY_VARIABLE):
        try:
            from dbsight.cli import run_probe

            run_probe.start()
        except Exception:
            failed("run.start")
    if config.environment().get(VARIABLE):
        # Registered after all that the SDK and we registered, so called before: nothing is shut down yet.
        atexit.register(tell)
        try:
            from dbsight.cli import practice

            practice.start()
        except Exception:
            failed("doctor.start")


def tell() -> None:
    """Write what was seen to a file of this process's own. Never raises."""
    try:
        from dbsight.cli.evidence import gather, look_inside

        evidence = gather()
        evidence.inside = look_inside()
        directory = Path(config.environment()[VARIABLE])
        (directory / f"{os.getpid()}.json").write_text(json.dumps(evidence.plain()), encoding="utf-8")
    except Exception:
        failed("doctor.tell")
