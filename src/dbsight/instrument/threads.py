"""Threads: what a request hands to them belongs to the request, as long as it is open.

A new thread knows nothing of its starter's context, so the look-ups that ten submitted functions do would be ten units
of work. A function that is given to a ``ThreadPoolExecutor`` (or through it to ``run_in_executor`` and ``to_thread``)
and the target of a thread that a request starts know the window that they were submitted in while they run. Only
dbsight's own ContextVars are carried: what the application sees of its own, and the current span, are left alone, and
where another instrumentation carries the span, queries find their window by it.
"""

from __future__ import annotations

import concurrent.futures.thread
import functools
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import get_current_span

from dbsight import scope
from dbsight.instrument.wrap import Patches
from dbsight.safety import guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from dbsight.recording import OpenWindow

_CARRIED: Final = "_dbsight_carried"
_PROFILES: Final = "_dbsight_profiles"

_patches: Final = Patches()
_users: Final[list[Patches]] = []


class CarriedRoot:
    """The place of work that another thread does for a unit of work; it stands where a ``SyntheticRoot`` may stand.

    Attributes:
        window: The open window.
        context: Of the span that was current where the work was submitted.
        current: Context in which spans below it are sampled.
        allowed: What is allowed there, as ``scope.allowing`` gives it.
    """

    __slots__ = ("allowed", "context", "current", "window")

    def __init__(self, window: OpenWindow, context: SpanContext, current: Context) -> None:
        self.window = window
        self.context = context
        self.current = current
        self.allowed = scope.allowing()

    @property
    def closed(self) -> bool:
        """Whether the unit of work is over: what runs from then on is not part of it."""
        window = self.window
        return window.closed or window.sealed or window.live is None

    def serves(self, origin: object, parent: SpanContext | None) -> bool:
        """Whether an operation of this span pipeline, below this remote parent if any, belongs to it."""
        return (
            not self.closed
            and getattr(self.window.live, "_span_processor", None) is origin
            and (parent is None or parent.trace_id == self.context.trace_id)
        )


class _Entered:
    """A submitted function that runs, from its begin to its end."""

    __slots__ = ("_before", "_carried", "_tokens")

    def __init__(self, carried: CarriedRoot) -> None:
        self._carried = carried
        self._before = scope.root.get()
        self._tokens: list[tuple[Any, Token[Any]]] = scope.enter(carried.window, carried, carried.allowed)

    @guard
    def leave(self) -> None:
        """The thread is as it was before."""
        # A root that was drawn after the end of the request is the thread's own, and stays.
        drawn = scope.root.get()
        for variable, token in self._tokens:
            variable.reset(token)
        if drawn is not self._carried:
            scope.root.set(drawn)

    def returned(self, _: Any) -> None:
        """It returned, or raised."""
        self.leave()

    raised = returned


@guard
def _enter(carried: CarriedRoot) -> _Entered | None:
    return None if carried.closed else _Entered(carried)


def _run(carried: CarriedRoot, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    """Run a submitted function; the worker that does it serves others afterwards."""
    entered = _enter(carried)
    try:
        return function(*arguments, **named)
    finally:
        if entered is not None:
            entered.leave()


def _here() -> CarriedRoot | None:
    """What work that is submitted now belongs to; None outside of spans, and while instrumentation is suppressed."""
    window = scope.window.get()
    if window is None or window.closed or window.live is None:
        return None
    current = scope.current_context()
    context = get_current_span(current).get_span_context()
    if not context.is_valid:
        root = scope.root.get()  # of work that was itself submitted
        if type(root) is not CarriedRoot or root.window is not window:
            return None
        current, context = root.current, root.context
    if context.trace_id != window.trace_id or scope.suppressed():
        return None
    return CarriedRoot(window, context, current)


class _Submitted:
    """One call of ``submit``: ``fn`` takes the place of the function that is submitted."""

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def returned(self, _: Any) -> None:
        """It waits for a worker, or runs already."""

    raised = returned


def _submitting(_: Any, fn: Callable[..., Any]) -> _Submitted | None:
    carried = _here()
    profiles = scope.carried_profiles() if scope.profiling else ()
    if carried is None and not profiles:
        return None
    if profiles:
        fn = functools.partial(_profiled, profiles, fn)
    return _Submitted(fn if carried is None else functools.partial(_run, carried, fn))


def _profiled(profiles: tuple[Any, ...], function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    """Run a submitted function for the profiles that it was submitted in; the worker serves others afterwards."""
    token = scope.carry_profiles(profiles)
    try:
        return function(*arguments, **named)
    finally:
        token.var.reset(token)


def _starting(thread: threading.Thread) -> None:
    """A thread that a request waits for is part of it; a daemon outlives it, and a pool's worker serves others."""
    if scope.profiling and scope.carried_profiles() and not _is_a_worker(thread):
        thread.__dict__[_PROFILES] = scope.carried_profiles()
    window = scope.window.get()
    if window is None or not window.request or thread.daemon or _is_a_worker(thread):
        return
    carried = _here()
    if carried is not None:
        thread.__dict__[_CARRIED] = carried


def _is_a_worker(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", "") == concurrent.futures.thread.__name__


def _running(thread: threading.Thread) -> _Entered | None:
    profiles = thread.__dict__.pop(_PROFILES, None)
    if profiles:
        scope.carry_profiles(profiles)  # for as long as the thread lives
    carried = thread.__dict__.pop(_CARRIED, None)
    return None if carried is None else _enter(carried)


def carry_windows(user: Patches) -> None:
    """From now on, until an instrumentor's replacements are undone, threads know for whom they work.

    Args:
        user: The replacements of the instrumentor; of several, the last one that is undone ends it.
    """
    if not _users:
        _patches.wrap(concurrent.futures.thread.ThreadPoolExecutor, "submit", begin=_submitting, changes=("fn",))
        _patches.wrap(threading.Thread, "start", before=_starting)
        _patches.wrap(threading.Thread, "run", begin=_running)
    _users.append(user)
    user.at_undo(functools.partial(_leave, user))


def _leave(user: Patches) -> None:
    _users[:] = [each for each in _users if each is not user]
    if not _users:
        _patches.undo()
