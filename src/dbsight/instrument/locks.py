"""Distributed locks: ``redis.lock.Lock``, sync and async, and PostgreSQL's advisory locks.

Recorded are the time and the attempts to acquire a lock, the pauses in between, how long it was held, and leaks: locks
that are garbage collected while held, held beyond their timeout, or for longer than ``connection_leak_after``.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from contextvars import ContextVar
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.trace import SpanKind, get_current_span

from dbsight import config, recording, scope, semconv, span
from dbsight.instrument import callsite
from dbsight.instrument.advisory_locks import AdvisoryLocks
from dbsight.instrument.wrap import Patches
from dbsight.model import LockEvent
from dbsight.safety import failed, guard
from dbsight.statement.redis.keys import templates

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.trace import SpanContext

    from dbsight.model import CallSite

MAX_HELD: Final = 10_000
"""Maximum number of locks tracked at the same time."""

MAX_PAUSES: Final = 10
"""Maximum number of pauses recorded."""

SEQUENCE: Final = 5.0
"""s; a try that does not wait belongs to the one before on the same lock, when it comes within this time."""

_SYSTEM: Final = "redis"


class Trying:
    """The attempts of one thread or task to acquire a lock.

    Attributes:
        ended: When each try ended, on ``perf_counter``.
        pauses: s between the end of a try and the begin of the next, the first ``MAX_PAUSES`` of them.
        count: Tries.
        paces: s that the library itself pauses after this try; None where the application does.
    """

    __slots__ = ("count", "ended", "paces", "pauses")

    def __init__(self) -> None:
        self.count = 0
        self.ended = 0.0
        self.pauses: list[float] = []
        self.paces: float | None = None

    def begin(self, lock: Any) -> None:
        """An attempt begins."""
        if self.count and len(self.pauses) < MAX_PAUSES:
            # A pause of the library is as long as it was told: measured, it would be as long as the machine is busy.
            self.pauses.append(perf_counter() - self.ended if self.paces is None else self.paces)
        self.count += 1
        self.paces = lock.sleep

    def returned(self, _: Any) -> None:
        """The attempt ended."""
        self.ended = perf_counter()

    raised = returned


class HeldLock:
    """A lock that is held.

    Attributes:
        name: Template of its name.
        since: On ``perf_counter``.
        timeout: s after which the server takes it back, None when never.
        told: Whether its leak was reported.
    """

    __slots__ = ("call_site", "lock", "name", "parent", "since", "timeout", "told")

    def __init__(self, lock: Any, name: str, site: CallSite | None, parent: SpanContext | None) -> None:
        self.name = name
        self.since = perf_counter()
        self.timeout: float | None = lock.timeout
        self.call_site = site
        self.parent = parent
        self.told = False
        self.lock = weakref.ref(lock, functools.partial(_collected, id(lock)))


_trying: ContextVar[Trying | None] = ContextVar("dbsight_lock_trying", default=None)
_held: dict[int, HeldLock] = {}
_guard = threading.RLock()  # re-entrant: a lock may be collected while its thread is in here


@guard
def _collected(identity: int, _: object) -> None:
    """A lock object was garbage collected: if it was held, it can no longer be released."""
    held = _held.pop(identity, None)
    if held is not None:
        _leaked(held)


def _leaked(held: HeldLock) -> None:
    if not held.told:
        held.told = True
        _publish("leak", held.name, perf_counter() - held.since, held.call_site, held.parent)


def collect() -> None:
    """Report locks that are held beyond their limit. Never raises."""
    try:
        now = perf_counter()
        after = config.current().connection_leak_after
        for held in tuple(_held.values()):
            limit = held.timeout or after
            if now - held.since > limit:
                _leaked(held)
    except Exception:
        failed("locks.collect")


def _publish(
    kind: Literal["acquire", "release", "leak"],
    name: str,
    seconds: float,
    site: CallSite | None,
    parent: SpanContext | None,
    **about: Any,
) -> None:
    try:
        recording.record(LockEvent(kind, _SYSTEM, name, time_ns(), seconds, call_site=site, parent=parent, **about))
    except Exception:
        failed("locks.publish")


class _Acquiring:
    """One call of ``acquire``, from its begin to its end."""

    __slots__ = ("_before", "_began", "_lock", "_token", "_trying", "_watcher")

    def __init__(self, watcher: Watcher, lock: Any, trying: Trying, began: float) -> None:
        self._watcher = watcher
        self._lock = lock
        self._trying = trying
        self._began = began
        self._before = trying.count
        self._token = _trying.set(trying)

    def returned(self, got: Any) -> None:
        _trying.reset(self._token)
        self._watcher.end(self._lock, self._trying, self._began, self._before, bool(got))

    def raised(self, _: BaseException) -> None:
        self.returned(False)


class _Releasing:
    """One call of ``do_release``."""

    __slots__ = ("_lock",)

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def returned(self, _: Any) -> None:
        _released(self._lock, None)

    def raised(self, error: BaseException) -> None:
        _released(self._lock, error)


class Watcher:
    """The hooks of one instrumentor, sync and async."""

    def __init__(self, factory: span.SpanFactory) -> None:
        self.factory = factory

    def acquiring(self, lock: Any) -> _Acquiring | None:
        """An acquisition begins; None while instrumentation is suppressed."""
        if scope.suppressed():
            return None
        earlier: Trying | None = lock.__dict__.get("_dbsight_trying")
        now = perf_counter()
        if earlier is None or now - earlier.ended > SEQUENCE:
            earlier = lock.__dict__["_dbsight_trying"] = Trying()
        earlier.paces = None
        return _Acquiring(self, lock, earlier, now)

    @staticmethod
    def trying(lock: Any) -> Trying | None:
        """The library sends an attempt to the server."""
        trying = _trying.get()
        if trying is not None:
            trying.begin(lock)
        return trying

    def end(self, lock: Any, trying: Trying, began: float, before: int, acquired: bool) -> None:
        """The lock was acquired, or the attempt abandoned."""
        seconds = perf_counter() - began
        name = templates.of(_text(lock.name))
        site = callsite.find()
        current = get_current_span().get_span_context()
        parent = current if current.is_valid else None
        attempts = max(1, trying.count - before)
        pauses = tuple(trying.pauses) if acquired or attempts > 1 else ()
        if acquired:
            lock.__dict__.pop("_dbsight_trying", None)
            with _guard:
                if len(_held) < MAX_HELD:
                    _held[id(lock)] = HeldLock(lock, name, site, parent)
        allowed = scope.allowed()
        _publish(
            "acquire",
            name,
            seconds,
            site,
            parent,
            acquired=acquired,
            attempts=attempts,
            pauses=pauses,
            allowed=allowed,
        )
        if attempts > 1:
            self._span(name, seconds, attempts, pauses, acquired)

    def _span(self, name: str, seconds: float, attempts: int, pauses: tuple[float, ...], acquired: bool) -> None:
        """What waited is worth a span: its tries are spans of their own beside it."""
        if not self.factory.live() or not get_current_span().is_recording():
            return
        end = time_ns()
        attributes = {
            semconv.LOCK_NAME: name,
            semconv.LOCK_RESULT: "acquired" if acquired else "failed",
            semconv.LOCK_RETRIES: attempts - 1,
            semconv.LOCK_BACKOFF: backoff(pauses),
        }
        made = self.factory.tracer().start_span(
            "lock acquire", kind=SpanKind.INTERNAL, attributes=attributes, start_time=end - int(seconds * 1e9)
        )
        made.end(end)


def backoff(pauses: tuple[float, ...]) -> str:
    """``fixed``, ``growing`` or ``varying``; empty for too few pauses to tell."""
    if len(pauses) < 2:
        return ""
    if max(pauses) <= 1.2 * min(pauses) + 0.002:
        return "fixed"
    return "growing" if pauses[-1] > 1.5 * pauses[0] else "varying"


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _released(lock: Any, error: BaseException | None) -> None:
    """A lock was released, or was no longer owned."""
    held = _held.pop(id(lock), None)
    if held is None:
        return
    seconds = perf_counter() - held.since
    if error is not None and "NotOwned" in type(error).__name__:
        _leaked(held)
    _publish("release", held.name, seconds, held.call_site, held.parent)


class LockInstrumentor(BaseInstrumentor):
    """Instruments the locks of redis-py and valkey-py, and PostgreSQL's advisory locks."""

    _patches: Patches | None = None
    _advisory: AdvisoryLocks | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: libraries that are not installed are skipped."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        watcher = Watcher(span.SpanFactory(kwargs.get("tracer_provider")))
        patches = self._patches = Patches()

        def imported(module: Any) -> None:
            patches.wrap(module.Lock, "acquire", begin=watcher.acquiring)
            patches.wrap(module.Lock, "do_acquire", begin=watcher.trying)
            patches.wrap(module.Lock, "do_release", begin=_Releasing)

        for package in ("redis", "valkey"):
            for module in ("lock", "asyncio.lock"):
                patches.when_imported(f"{package}.{module}", imported)
        self._advisory = AdvisoryLocks()
        recording.subscribe(self._advisory)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None
        if self._advisory is not None:
            recording.unsubscribe(self._advisory)
            self._advisory = None


def _after_fork() -> None:
    global _guard  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _guard = threading.RLock()
    _held.clear()  # the parent releases the locks that it holds


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
