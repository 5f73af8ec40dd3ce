"""What ``dbsight run --cprofile`` and ``--tracemalloc`` do in the command's process, and print at its end.

One request is profiled at a time, as Python allows one profiler, on the thread that began it: what other tasks of an
event loop do meanwhile is in its profile, too.
"""

from __future__ import annotations

import atexit
import cProfile
import io
import linecache
import os
import pstats
import sys
import threading
import tracemalloc
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from dbsight import config
from dbsight.cli.doctor_probe import MEMORY_VARIABLE, PROFILE_VARIABLE
from dbsight.formatting import seconds
from dbsight.safety import guard

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

_TOP: Final = 10
_EVERY: Final = 0.2  # s
_HIGHER: Final = 1.2
"""How much more memory than at the last snapshot is worth another one."""
_LEAST: Final = 1_000_000  # bytes
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120 - compared with names of files


def start() -> None:
    """Begin what the variables ask for."""
    environ = config.environment()
    if environ.get(PROFILE_VARIABLE):
        profiles = Profiles()
        provider = trace.get_tracer_provider()
        if hasattr(provider, "add_span_processor"):
            provider.add_span_processor(profiles)
        profiles.begin_program()
        atexit.register(profiles.tell)
    if environ.get(MEMORY_VARIABLE):
        memory = Memory()
        memory.start()
        atexit.register(memory.tell)


class Profiles(SpanProcessor):
    """Profiles requests and tasks, one at a time, and keeps the longest; until the first one, the program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._running: cProfile.Profile | None = None
        self._of: int | None = None  # id of the span, None for the program
        self._thread = 0
        self._longest: tuple[float, str, cProfile.Profile] | None = None
        self._program: cProfile.Profile | None = None

    def begin_program(self) -> None:
        """Profile this thread until a request begins."""
        with self._lock:
            self._program = self._enable(None)

    def _enable(self, of: int | None) -> cProfile.Profile | None:
        profile = cProfile.Profile()
        try:
            profile.enable()
        except ValueError:  # another profiler is active
            return None
        self._running, self._of, self._thread = profile, of, threading.get_ident()
        return profile

    @guard
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Profile a request, if no other one is."""
        if span.kind not in (SpanKind.SERVER, SpanKind.CONSUMER) or span.context is None:
            return
        with self._lock:
            if self._running is not None:
                if self._of is not None:
                    return
                if self._thread == threading.get_ident() or sys.version_info >= (3, 12):
                    self._running.disable()
                self._running = self._program = None
            self._enable(span.context.span_id)

    @guard
    def on_end(self, span: ReadableSpan) -> None:
        """Keep the profile if the request is the longest so far."""
        with self._lock:
            profile = self._running
            if profile is None or span.context is None or self._of != span.context.span_id:
                return
            if self._thread == threading.get_ident() or sys.version_info >= (3, 12):
                profile.disable()
            self._running = None
            took = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
            if self._longest is None or took > self._longest[0]:
                self._longest = (took, span.name, profile)

    @guard
    def tell(self) -> None:
        """Print the functions of the longest request, or of the program."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._running is not None and self._thread == threading.get_ident():
                self._running.disable()
            if self._longest is not None:
                took, name, profile = self._longest
                head = f"longest request: {name}, {seconds(took)} with the profiler"
            elif self._program is not None:
                head, profile = "the program, with the profiler", self._program
            else:
                return
        text = io.StringIO()
        stats = pstats.Stats(profile, stream=text)
        stats.sort_stats("cumulative").print_stats(_TOP)
        rows = [line for line in text.getvalue().splitlines() if line.strip()]
        table = next((number for number, line in enumerate(rows) if line.lstrip().startswith("ncalls")), len(rows))
        print("\n".join(["", f"dbsight: {head}", *rows[table:]]), file=sys.stderr)  # noqa: T201 - the report


class Memory:
    """Looks at the memory of Python's objects five times a second, and remembers the lines that held it at its peak."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._over = threading.Event()
        self._size = 0
        self._snapshot: tracemalloc.Snapshot | None = None
        self._thread = threading.Thread(target=self._watch, name="dbsight-memory", daemon=True)

    def start(self) -> None:
        """Trace from now on."""
        tracemalloc.start()
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self._look()

    @guard
    def _look(self) -> None:
        size = tracemalloc.get_traced_memory()[0]
        if size >= max(self._size * _HIGHER, _LEAST):
            self._size = size
            self._snapshot = tracemalloc.take_snapshot()

    @guard
    def tell(self) -> None:
        """Print the lines."""
        if os.getpid() != self._pid:
            return
        self._over.set()
        self._thread.join(5)
        self._look()
        peak = tracemalloc.get_traced_memory()[1]
        snapshot = self._snapshot or tracemalloc.take_snapshot()
        tracemalloc.stop()
        filters = [tracemalloc.Filter(inclusive=False, filename_pattern=pattern) for pattern in _left_out()]
        lines = [f"dbsight: {peak / 1e6:.1f} MB of Python objects at most; the lines that held most of it:"]
        for found in snapshot.filter_traces(filters).statistics("lineno")[:_TOP]:
            frame = found.traceback[0]
            code = linecache.getline(frame.filename, frame.lineno).strip()
            lines.append(f"  {found.size / 1e6:>8.2f} MB  {frame.filename}:{frame.lineno}  {code}")
        print("\n".join(["", *lines]), file=sys.stderr)  # noqa: T201 - the report


def _left_out() -> tuple[str, ...]:
    return (f"{_OURS}*", "<frozen *", tracemalloc.__file__, linecache.__file__)
