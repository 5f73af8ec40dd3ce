"""What the current thread or task is doing: its window, the synthetic root of work outside spans, and what is allowed.

ContextVars follow ``await``, ``asyncio.gather`` and ``asyncio.to_thread`` by themselves; a new thread starts empty, and
is told what it needs to know by ``instrument/threads.py``.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from opentelemetry import context as context_api
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_current

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.context import Context
    from typing_extensions import Self

_F = TypeVar("_F", bound="Callable[..., Any]")


_held = getattr(getattr(context_api, "_RUNTIME_CONTEXT", None), "_current_context", None)
current_context: Callable[[], Context] = _held.get if isinstance(_held, ContextVar) else get_current
"""As ``get_current``, without two calls where the context is kept in a ContextVar, as by default."""

window: ContextVar[Any] = ContextVar("dbsight_window", default=None)
"""The open window of this unit of work (``recording.OpenWindow``); the processor sets it."""

root: ContextVar[Any] = ContextVar("dbsight_root", default=None)
"""What operations that run outside any span are below: a synthetic root (``span.SyntheticRoot``), or where a unit of
work submitted them to this thread (``instrument.threads.CarriedRoot``)."""

connecting: ContextVar[str] = ContextVar("dbsight_connecting", default="")
"""The library that is opening a connection for its pool, empty while none is: statements sent meanwhile are setup, not
queries of the unit of work."""

watch: ContextVar[Any] = ContextVar("dbsight_watch", default=None)
"""What is told of each window that is opened here (``toolbar.Watch``), None nearly always."""

covered: ContextVar[int] = ContextVar("dbsight_covered", default=False)
"""Whether a library above a driver reports what the driver is asked here, or has it set up a connection; where
SQLAlchemy does, the identity of its execution context."""

_NOTHING: frozenset[str] = frozenset()

# What is allowed, and the sets that make it up. No tokens: those of an instance that two tasks share,
# or that a generator leaves in another context than it entered, cannot be reset, and resetting them raises.
_allowed: ContextVar[frozenset[str]] = ContextVar("dbsight_allowed", default=_NOTHING)
_allowing: ContextVar[tuple[frozenset[str], ...]] = ContextVar("dbsight_allowing", default=())

allowed: Callable[[], frozenset[str]] = _allowed.get
"""The suppressed rules; ``all`` suppresses every rule. Read for every query, therefore without a function."""

allowing: Callable[[], tuple[frozenset[str], ...]] = _allowing.get
"""The sets that these are made of, the outermost first."""


_profiles: ContextVar[tuple[Any, ...]] = ContextVar("dbsight_profiles", default=())

carried_profiles: Callable[[], tuple[Any, ...]] = _profiles.get
"""The profiles that were opened here, outermost first: a thread that is started here has them, too."""

_everywhere: tuple[Any, ...] = ()

profiling = 0
"""How many profiles are open in the process; without any, no query asks for ``profiles``."""


_finders: tuple[tuple[Any, Callable[[], Any]], ...] = ()


def profiles() -> tuple[Any, ...]:
    """The profiles that a query that begins here is reported to: those of the whole process come first."""
    found = (*_everywhere, *_profiles.get())
    for _, find in _finders:
        also = find()
        if also is not None:
            found = (*found, also)
    return found


def profile(profile: Any, *, everywhere: bool = False, find: Callable[[], Any] | None = None) -> None:
    """Have queries reported to ``profile``: those that begin here, or everywhere in the process.

    Args:
        profile: What ``stop_profiling`` takes, too.
        everywhere: In any context and thread.
        find: Asked for one more profile where a query begins, anywhere in the process; it must not raise.
    """
    global profiling, _everywhere, _finders  # noqa: PLW0603 - read for every query, without a call
    if find is not None:
        _finders = (*_finders, (profile, find))
    if everywhere:
        _everywhere = (*_everywhere, profile)
    else:
        _profiles.set((*_profiles.get(), profile))
    profiling += 1


def stop_profiling(profile: Any) -> None:
    """Undo ``profile``, also in another context than it was entered in."""
    global profiling, _everywhere, _finders  # noqa: PLW0603 - as above
    _everywhere = tuple(each for each in _everywhere if each is not profile)
    _finders = tuple(each for each in _finders if each[0] is not profile)
    open_here = list(_profiles.get())
    if profile in open_here:
        open_here.reverse()
        open_here.remove(profile)  # the innermost
        open_here.reverse()
        _profiles.set(tuple(open_here))
    profiling -= 1


def carry_profiles(open_profiles: tuple[Any, ...]) -> Token[tuple[Any, ...]]:
    """Report queries that begin in this thread to profiles that were opened in another one; gives the token to undo."""
    return _profiles.set(open_profiles)


def enter(open_window: Any, carried: Any, allowing: tuple[frozenset[str], ...]) -> list[tuple[ContextVar[Any], Any]]:
    """Work in this thread for a unit of work of another one.

    Args:
        open_window: Its window.
        carried: The root of what runs outside any span here.
        allowing: What is allowed there.

    Returns:
        The variables that were set, and the tokens that set them back.
    """
    values: tuple[tuple[ContextVar[Any], Any], ...] = (
        (window, open_window),
        (root, carried),
        (_allowed, _NOTHING.union(*allowing)),
        (_allowing, allowing),
    )
    return [(variable, variable.set(value)) for variable, value in values]


says_nothing: Final = frozenset((_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")).isdisjoint
"""Whether a context does not say whether instrumentation is suppressed; asked for each row, without a function."""


def suppressed() -> bool:
    """Whether instrumentation is suppressed here: ``opentelemetry.instrumentation.utils.suppress_instrumentation``.

    Asked where something begins: what began outside is reported when it ends, wherever that is, and what began inside
    is not.
    """
    current = current_context()
    return bool(current and (current.get(_SUPPRESS_INSTRUMENTATION_KEY) or current.get("suppress_instrumentation")))


class Block:
    """A context manager that is asynchronous and a decorator, too; subclasses enter and leave as for ``with``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo."""

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _again(self) -> Block:
        """What one call of a decorated function enters; one that keeps something for its end makes a new one."""
        return self

    def __call__(self, function: _F) -> _F:
        """Decorate a function or a coroutine function; of a generator it covers the making, not the steps."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return cast("_F", coroutine)

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return cast("_F", plain)


allowed_names: set[str] = set()
"""Names that were passed to ``allow``, to be compared with those of the rules, which are loaded later."""

_MAX_NAMES = 1000


class allow(Block):  # noqa: N801 - reads as a statement: with allow("n_plus_one", reason="…")
    """Say that a finding is known and wanted here: a context manager and a decorator, for sync and async code.

    Args:
        rules: Names of rules; ``all`` stands for every rule. A name that no rule has is logged once.
        reason: Why; required, because the next reader will ask.

    Raises:
        ValueError: No rule or no reason was given.

    Example:
        >>> with allow("n_plus_one", reason="three rows at most"):
        ...     pass
    """

    def __init__(self, *rules: str, reason: str) -> None:
        if not rules:
            raise ValueError('allow() needs at least one rule: allow("n_plus_one", reason="…")')
        if not reason:
            raise ValueError("allow() needs a reason")
        self.rules = frozenset(rules)
        if not self.rules <= allowed_names and len(allowed_names) < _MAX_NAMES:
            allowed_names.update(rules)
        self.reason = reason

    def __enter__(self) -> Self:
        _allowed.set(_allowed.get() | self.rules)
        _allowing.set((*_allowing.get(), self.rules))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        parts = list(_allowing.get())
        if self.rules in parts:  # always, but where it is left in another context than it was entered in
            parts.remove(self.rules)
            _allowed.set(_NOTHING.union(*parts))
            _allowing.set(tuple(parts))
