"""The core of the toolbar: it finds the windows of a request, and says what its response gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight import analyzer, config, scope
from dbsight.safety import guard
from dbsight.toolbar.badge import badge, fits, insert
from dbsight.toolbar.figures import figures_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.analyzer import Analyzer
    from dbsight.recording import OpenWindow
    from dbsight.toolbar.figures import Figures

SERVER_TIMING: Final = "Server-Timing"
LINK: Final = "X-Dbsight-Request"

_MOST_WINDOWS: Final = 20
"""Windows of one request that are remembered; most have one, and those without a request's span one per thread."""


class Watch:
    """One request, from the moment at which a middleware gets it.

    Web instrumentation opens the request's span outside of the middleware (FastAPI, Django), inside (Flask), or not at
    all. So the windows are noted that are opened here until the response begins: the first one of a request's span is
    the request's; without any, all of them are.

    Args:
        engine: Keeps the windows.
        badge: HTML pages are to get the badge.
    """

    def __init__(self, engine: Analyzer, *, badge: bool) -> None:
        self.badge = badge
        self._engine = engine
        self._windows: list[OpenWindow] = []
        self._outer = scope.window.get()
        self._link: str | None = None
        self._figures: Figures | None = None
        self.answered = False

    @guard
    def _begin(self) -> None:
        outer, self._outer = self._outer, None
        if outer is not None and not outer.closed:
            self._outer = outer
            if outer.request:
                self.opened(outer)
        else:
            # What runs outside spans is no unit of work with what this thread did before.
            scope.root.set(None)

    @guard
    def opened(self, window: OpenWindow) -> None:
        """A window was opened while this request is answered."""
        if self.answered or len(self._windows) >= _MOST_WINDOWS:
            return
        self._windows.append(window)
        if self._link is None or (window.request and not any(each.request for each in self._windows[:-1])):
            self._link = self._engine.service.link(window.trace_id, window.span_id)

    def headers(self) -> list[tuple[str, str]]:
        """What is added to the response's headers, which begin now; empty when nothing is known."""
        return self._headers() or []

    @guard
    def _headers(self) -> list[tuple[str, str]]:
        if not self.answered:
            self._measure()
        if self._figures is None:
            return []
        link = [(LINK, self._link)] if self._link is not None else []
        return [(SERVER_TIMING, self._figures.server_timing()), *link]

    def _measure(self) -> None:
        self.answered = True
        windows, self._windows = self._windows, []
        request = [each for each in windows if each.request][:1]
        if request or windows or self._outer is None:  # else they are part of a longer unit of work
            self._figures = figures_of(self._engine, request or windows)

    def wants_badge(self, method: str, status: int, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether the body of this response is to be passed to ``with_badge``, as far as its headers tell."""
        return self.badge and self._figures is not None and bool(_fits(method, status, headers))

    def with_badge(self, body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
        """The whole body of a response with the badge, or as it is.

        Args:
            body: In any character set that contains ASCII.
            headers: Of the response.
        """
        return self._with_badge(body, headers) or body

    @guard
    def _with_badge(self, body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
        assert self._figures is not None
        return insert(body, lambda: badge(self._figures.text(), self._link, body, headers))  # type: ignore[union-attr]

    def over(self, *, answered: bool = True) -> None:
        """The middleware is done with the request.

        Args:
            answered: False where the response may still begin: that of a WSGI application which is a generator.
        """
        self.answered = self.answered or answered
        if scope.watch.get() is self:
            scope.watch.set(None)


_fits = guard(fits)


@guard
def begin(enabled: bool | None, with_badge: bool | None) -> Watch | None:
    """Watch the request that begins here.

    Args:
        enabled: None takes the setting ``toolbar``.
        with_badge: The same.

    Returns:
        None where the toolbar is disabled, dbsight is not running, or another toolbar watches this request.
    """
    mode: Any = config.current().toolbar
    engine = analyzer.engine() if (mode != "off" if enabled is None else enabled) else None
    if engine is None:
        return None
    outer = scope.watch.get()
    if outer is not None and not outer.answered:
        return None
    watch = Watch(engine, badge=mode == "badge" if with_badge is None else with_badge)
    watch._begin()
    scope.watch.set(watch)
    return watch
