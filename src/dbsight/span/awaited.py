"""Spans that go on to the processors later than they end: what is to be said of them is not known before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

_OPEN: Final = object()
_AS_IT_IS: Final = object()


class AwaitedSpan:
    """One span of somebody else, until it is handed on; several processors may wait for it.

    The span knows this object, which therefore forgets the span: else only the garbage collector would free both.

    Args:
        span: As it ended.
    """

    __slots__ = ("_lock", "_made", "_waiting", "span")

    span: ReadableSpan

    def __init__(self, span: ReadableSpan) -> None:
        self.span = span
        self._lock = threading.Lock()
        self._made: object = _OPEN
        self._waiting: tuple[Callable[[ReadableSpan], object], ...] = ()

    def hand_to(self, span: ReadableSpan, hand_on: Callable[[ReadableSpan], object]) -> None:
        """Hand the span on once it is settled: now, or later."""
        with self._lock:
            if self._made is _OPEN:
                self._waiting = (*self._waiting, hand_on)
                return
        if self._made is not None:
            hand_on(span if self._made is _AS_IT_IS else self._made)  # type: ignore[arg-type]

    def settle(self, made: ReadableSpan | None) -> None:
        """Hand on what was made of it; None where nobody gets it. Called once; never raises."""
        with self._lock:
            self._made = _AS_IT_IS if made is self.span else made
            waiting, self._waiting = self._waiting, ()
            del self.span
        if made is None:
            return
        for hand_on in waiting:
            try:
                hand_on(made)
            except Exception:  # noqa: PERF203 - the others get it all the same
                failed("span.awaited")
