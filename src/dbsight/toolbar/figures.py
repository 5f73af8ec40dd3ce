"""What a request did to the databases so far: the figures of its windows, which are still open as a rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, Final

from dbsight import recording
from dbsight.detect.window import Window
from dbsight.formatting import counted
from dbsight.recording import OpenWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.analyzer import Analyzer

_MOST_RULES: Final = 5
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(slots=True)
class Figures:
    """Of one request, up to now.

    Attributes:
        queries: Queries and commands that are over.
        time: s in the database, all of them together.
        wait: s that they waited for connections; None when unknown, since the request is over.
        rules: The rule of each finding.
    """

    queries: int
    time: float
    wait: float | None
    rules: Sequence[str]

    @property
    def findings(self) -> str:
        """``2 findings``."""
        return counted(len(self.rules), "finding")

    def server_timing(self) -> str:
        """The value of a ``Server-Timing`` header: ASCII, without anything of a query or its values."""
        entries = [f'db;dur={self.time * 1e3:.2f};desc="{counted(self.queries, "query", "queries")}"']
        if self.wait is not None:
            entries.append(f'db-wait;dur={self.wait * 1e3:.2f};desc="waited for connections"')
        entries.append(f'db-findings;desc="{self.findings}{_names(self.rules)}"')
        return ", ".join(entries)

    def text(self) -> str:
        """The same for people, in ASCII."""
        queries = counted(self.queries, "query", "queries")
        line = f"{queries} in {self.time * 1e3:.1f} ms"
        return f"{line}, {self.findings}" if self.rules else line


def _names(rules: Iterable[str]) -> str:
    names = sorted({_UNFIT.sub("_", each)[:40] for each in rules})
    more = [f"and {len(names) - _MOST_RULES} more"] if len(names) > _MOST_RULES else []
    return f": {', '.join([*names[:_MOST_RULES], *more])}" if names else ""


def figures_of(engine: Analyzer, windows: Sequence[OpenWindow]) -> Figures:
    """Drain what is pending of some windows, and run the rules on what they have so far; they stay as they are.

    Args:
        engine: Keeps these windows.
        windows: Open or closed.
    """
    for window in windows:
        for other in engine.windows.beside(window):
            other.drain()  # records of this one may be pending there
        window.drain()
    recording.loose.drain()
    queries, seconds, waited = 0, 0.0, 0.0
    rules: list[str] = []
    closed = False
    for window in windows:
        queries += window.calls
        seconds += window.db_time
        closed = closed or window.closed
        judged = window
        if not window.closed:
            judged, wait = _so_far(engine, window)
            waited += wait
        rules += [each.rule for each in {**judged.singles, **judged.findings}.values()]
    return Figures(queries, seconds, None if closed else waited, rules)


def _so_far(engine: Analyzer, window: OpenWindow) -> tuple[OpenWindow, float]:
    """What the rules say of a window that is open, in a window made for this; and s that its queries waited."""
    operations, events = window.remembered()
    now = time_ns()
    window.rename()
    scratch = OpenWindow(window.name, window.trace_id, window.span_id, window.start_ns, request=window.request)
    scratch.calls, scratch.db_time = window.calls, window.db_time
    scratch.allowed_calls, scratch.allowed_time = window.allowed_calls, window.allowed_time
    scratch.findings, scratch.singles = dict(window.findings), dict(window.singles)
    duration = max(0.0, (now - window.emptied_ns) / 1e9)
    part = Window(window.name, window.trace_id, operations, events, duration=duration, request=window.request)
    engine.judge.complete(scratch, part)
    engine.judge.conclude(scratch, window.name)
    return scratch, sum([each.pool_wait for each in operations])
