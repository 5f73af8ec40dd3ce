"""The windows that are open, found by the trace and by the span that a query ran in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from dbsight import safety, scope, semconv
from dbsight.recording.open_window import OpenWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import SpanContext


_MAX_SPANS: Final = 100_000
"""Open spans of traces with several windows, of which it is remembered to which one they belong."""


class Windows:
    """Opens windows, finds them, forgets them; the analyzer decides when they end.

    Args:
        clock: ns since the epoch.
        most: Open windows at most.
        evict: Called with the oldest window when there are more.
        unattended: Called when a window was opened whose end no processor will see, and when records are pending.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        most: int,
        evict: Callable[[OpenWindow], None],
        unattended: Callable[[], None],
    ) -> None:
        self.most = most
        self._clock = clock
        self._evict = evict
        self._unattended = unattended
        self.forget()

    def forget(self) -> None:
        """Start without windows: those of a parent process are not ours."""
        # Re-entrant: a finalizer that runs a query while this thread holds the lock must not hang.
        self._lock = threading.RLock()
        # By trace id, in order of opening: the first is the oldest.
        self._by_trace: dict[int, list[OpenWindow]] = {}
        self._by_span: dict[int, OpenWindow] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def all(self) -> list[OpenWindow]:
        """Every open window, the oldest first."""
        return [window for windows in list(self._by_trace.values()) for window in windows]

    def of(self, parent: SpanContext | None, start_ns: int) -> OpenWindow | None:
        """The window that a query below a span belongs to, opened where there is none; None outside spans.

        Args:
            parent: Of the query's span.
            start_ns: When the query began, ns since the epoch: what begins after the root's end belongs to no request.
        """
        if parent is None:
            return None
        return self.known(parent, start_ns) or self._open_rootless(parent)

    def known(self, parent: SpanContext, at_ns: int) -> OpenWindow | None:
        """The window that something below this span belongs to, None where there is none; as ``of``."""
        windows = self._by_trace.get(parent.trace_id)
        if not windows:
            return None
        if len(windows) == 1:
            window = windows[0]
            return window if window.takes(at_ns) else None
        return self._choose(windows, parent, at_ns)

    def beside(self, window: OpenWindow) -> Sequence[OpenWindow]:
        """The other open windows of its trace."""
        windows = self._by_trace.get(window.trace_id, ())
        return [other for other in tuple(windows) if other is not window] if len(windows) > 1 else ()

    def _choose(self, windows: list[OpenWindow], parent: SpanContext, at_ns: int) -> OpenWindow | None:
        window = self._by_span.get(parent.span_id)
        if window is not None and window.takes(at_ns):
            return window
        current: OpenWindow | None = scope.window.get()
        if current is not None and current.trace_id == parent.trace_id and current.takes(at_ns):
            return current
        return next((each for each in tuple(windows) if each.takes(at_ns)), None)

    def open(
        self, name: str, context: SpanContext, start_ns: int, *, request: bool = False, exported: bool = True
    ) -> OpenWindow:
        """Open the window of a local root span."""
        window = OpenWindow(
            name,
            context.trace_id,
            context.span_id,
            start_ns,
            request=request,
            sampled=context.trace_flags.sampled,
            exported=exported,
            attend=self._unattended,
        )
        self._by_span[context.span_id] = window
        self._register(window)
        _tell(window)
        return window

    def open_root(self, root: Any) -> OpenWindow:
        """The window of a synthetic root, opened once."""
        context = root.context
        with self._lock:
            if root.window is not None:
                return root.window  # type: ignore[no-any-return]
            root.window = window = OpenWindow(
                semconv.WINDOW_SPAN,
                context.trace_id,
                context.span_id,
                root.start_ns,
                sampled=context.trace_flags.sampled,
                attend=self._unattended,
            )
            window.root = root
        # Without the lock: one that is evicted may write to the network.
        self._register(window)
        self._unattended()
        _tell(window)
        return window

    def _open_rootless(self, parent: SpanContext) -> OpenWindow:
        """A window whose root we do not see: an unsampled trace of an older tracer, or work after the root's end."""
        window = OpenWindow(
            semconv.WINDOW_SPAN,
            parent.trace_id,
            parent.span_id,
            self._clock(),
            sampled=parent.trace_flags.sampled,
            rootless=True,
        )
        self._register(window)
        self._unattended()
        return window

    def _register(self, window: OpenWindow) -> None:
        evicted: OpenWindow | None = None
        with self._lock:
            self._by_trace.setdefault(window.trace_id, []).append(window)
            self._count += 1
            if self._count > self.most:
                evicted = self._by_trace[next(iter(self._by_trace))][0]
        if evicted is not None:
            self._evict(evicted)

    def adopt(self, span_id: int, parent: SpanContext) -> None:
        """Note to which window a child span belongs, where its trace has several open ones."""
        windows = self._by_trace.get(parent.trace_id)
        if windows is not None and len(windows) > 1:
            if len(self._by_span) >= _MAX_SPANS:  # that never ended
                safety.dropped("spans of several windows")
                return
            window = self._choose(windows, parent, self._clock())
            if window is not None:
                self._by_span[span_id] = window

    def of_root(self, span_id: int) -> OpenWindow | None:
        """The open window whose root has this span id; any other span that ends is forgotten."""
        window = self._by_span.get(span_id)
        if window is None:
            return None
        if window.span_id != span_id:
            self._by_span.pop(span_id, None)
            return None
        return window

    def discard(self, window: OpenWindow) -> bool:
        """Drain a window and forget it without running its rules; whether it was open."""
        window.seal()
        with self._lock:
            was_open = not window.closed
            window.closed = True
            window.live = None
            self._by_span.pop(window.span_id, None)
            windows = self._by_trace.get(window.trace_id)
            if windows is not None:
                if window in windows:
                    windows.remove(window)
                    self._count -= 1
                if not windows:
                    del self._by_trace[window.trace_id]
        return was_open


def _tell(window: OpenWindow) -> None:
    """Tell the toolbar of the request that is answered here, if there is one."""
    watch = scope.watch.get()
    if watch is not None:
        watch.opened(window)
