"""No part of a test waits for ever, and a run that fails or is ended tells at once what it knows."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from typing import Any

import pytest

SETTINGS = pytest.StashKey[Any]()

SHOWN = 30
"""Lines of a failure that are told at once; the summary has all of them."""

ENDING = 60.0
"""s; how long the process of a finished run may take to end."""


def hear_interrupts() -> None:
    """Be interrupted by SIGINT, which a shell has its background jobs ignore, and they the programs that they start."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Limits:
    """Gives setup, call and teardown a time limit each, and a second one that nothing can stop.

    pytest-timeout has one timer a test: it is gone once it went off, and after any failure, so that neither teardown
    nor the second run of the test had one. The second limit, twice as long, ends the process: it is for what swallows
    the exception of the first, or waits where Python handles no signal. With pytest-xdist another worker goes on.
    """

    def __init__(self) -> None:
        self._stderr = os.dup(2)  # the real one, whatever captures it later

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> None:
        """Keep what pytest-timeout found out about a test."""
        item.stash[SETTINGS] = settings
        faulthandler.dump_traceback_later(2 * settings.timeout, exit=True, file=self._stderr)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> None:
        """The test is over, or a debugger begins."""
        faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Any:
        """As below."""
        return (yield self._anew(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """As below."""
        return (yield self._anew(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Any:
        """Begin to count again."""
        return (yield self._anew(item))

    def _anew(self, item: pytest.Item) -> None:
        settings = item.stash.get(SETTINGS, None)
        if settings is not None:
            item.config.hook.pytest_timeout_cancel_timer(item=item)
            item.config.hook.pytest_timeout_set_timer(item=item, settings=settings)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Threads that somebody left, and who waits for them, end with the run as well.

        A worker of pytest-xdist that is done waits until all are, and is ended by the run itself.
        """
        if "PYTEST_XDIST_WORKER" not in os.environ:
            faulthandler.dump_traceback_later(ENDING, exit=True, file=self._stderr)


class Telling:
    """Writes what fails when it fails, and where a run was when it was told to end.

    Args:
        reporter: pytest's own; with pytest-xdist the workers have none.
    """

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._running: dict[str, None] = {}
        self._process = os.getpid()
        self._before: Any = None

    def pytest_sessionstart(self) -> None:
        """Listen for what ends a run that takes too long."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._end)

    def pytest_unconfigure(self) -> None:
        """Listen no more."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _end(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:  # a forked child of a test
            os._exit(128 + number)
        pytest.exit(f"terminated; what ran: {', '.join(self._running) or 'nothing'}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins, here or in a worker."""
        self._running[nodeid] = None

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """It is over."""
        self._running.pop(nodeid, None)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Name what failed or is run again, with the end of its failure."""
        if report.outcome not in {"failed", "rerun"}:
            return
        self._reporter.write_line("")  # it does not always know that it is in the middle of one
        self._reporter.write_line(f"{report.outcome} in {report.when}: {report.nodeid}")
        for line in report.longreprtext.splitlines()[-SHOWN:]:
            self._reporter.write_line(f"    {line}")
