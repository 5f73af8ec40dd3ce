"""The end of the process: reports, and the exit code that ``FAIL_ON`` asks for."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbsight import config
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.model import Snapshot

logger = logging.getLogger("dbsight")

EXIT_CODE: Final = 3
"""Exit code of a process that succeeded, but has a finding that matches ``FAIL_ON``."""


def report(snapshot: Snapshot) -> None:
    """Write the configured reports: by default on the terminal if nothing is exported, and to files if enabled."""
    settings = config.current()
    wanted = settings.report
    if wanted is None:
        at_terminal = sys.stderr is not None and sys.stderr.isatty()
        wanted = ("terminal",) if at_terminal or not snapshot.exporting else ()
    for form in ("json", "html"):
        if form in wanted:
            _write(snapshot, form, _path(form, settings, several={"json", "html"} <= {*wanted}))
    if "terminal" in wanted:
        from dbsight.report.terminal import print_report

        page = _path("html", settings, several="json" in wanted) if "html" in wanted else ""
        print_report(snapshot, details=page if Path(page).is_file() else "")


def _path(form: str, settings: Settings, *, several: bool) -> str:
    """The file of a report; where there are several, each has the suffix of its format."""
    if settings.report_file is None:
        return f"dbsight-report.{form}"
    return str(Path(settings.report_file).with_suffix(f".{form}")) if several else settings.report_file


@guard
def _write(snapshot: Snapshot, form: str, path: str) -> None:
    try:
        import_module(f"dbsight.report.{form}").write(snapshot, path)
    except ImportError:
        logger.warning("dbsight: no HTML report, which needs Jinja2: pip install 'dbsight[html]'")
    except OSError as error:
        logger.warning("dbsight: cannot write the report to %s: %s", path, error.strerror)


@guard
def stay_interrupted() -> None:
    """Let a program that Ctrl-C ended still end by SIGINT, as without a report: a shell's loop goes on otherwise.

    Python remembers that the program raised ``KeyboardInterrupt`` until a text is executed (``run_eval_code_obj`` in
    pythonrun.c), and the libraries that print a report do that as they are imported; a text that raises it tells again.
    """
    # At the prompt of an interactive interpreter, an interrupt does not end the process.
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - a constant


class ExitCode:
    """Ends a process that succeeded with exit code 3 when a finding of ``FAIL_ON`` was made.

    ``sys.exit`` in an ``atexit`` handler changes nothing, so the handler that runs last, the one that was registered
    first, flushes what is buffered and leaves by ``os._exit``. A process that failed by itself keeps its own code: an
    uncaught exception and ``sys.exit`` with a code are noticed. (``raise SystemExit(7)`` cannot be.)
    """

    def __init__(self) -> None:
        self._watching = False
        self._told = False
        self._application_failed = False
        self._reasons: list[str] = []
        self._pid = 0

    @guard
    def watch(self) -> None:
        """Notice from now on how the application ends. Call it before the SDK registers its own handlers."""
        if self._watching:
            return
        self._watching = True
        self._pid = os.getpid()
        atexit.register(self._leave)
        leave, hook = sys.exit, sys.excepthook

        def exit_(status: Any = None, /) -> Any:
            self._application_failed = status not in (None, 0)
            leave(status)

        def excepthook(*error: Any) -> Any:
            self._application_failed = True
            return hook(*error)

        sys.exit = exit_
        sys.excepthook = excepthook

    @guard
    def attached(self) -> None:
        """Warn once if findings cannot set the exit code, because the SDK was configured before and ends later."""
        if config.current().fail_on and not self._watching and not self._told:
            self._told = True
            logger.warning(
                "dbsight: fail_on has no effect, because OpenTelemetry was configured before: set OTEL_DBSIGHT_FAIL_ON"
                " in the environment, and OTEL_PYTHON_CONFIGURATOR=dbsight under another distribution"
            )

    def judge(self, snapshot: Snapshot) -> None:
        """Note which findings make the process fail."""
        settings = config.current()
        self._reasons = [
            f"{merged.finding.rule} ({merged.finding.severity})"
            for merged in snapshot.findings
            if settings.fails_on(merged.finding.rule, merged.finding.severity)
        ]

    def _leave(self) -> None:
        if not self._reasons or self._application_failed or os.getpid() != self._pid:
            return
        try:
            logging.shutdown()
            reasons = ", ".join(sorted(set(self._reasons)))
            print(f"dbsight: exit code {EXIT_CODE}, for {reasons}", file=sys.stderr)  # noqa: T201 - the last words
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except Exception:
            failed("exit_report.fail_on")
        os._exit(EXIT_CODE)
