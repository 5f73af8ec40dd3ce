"""Following a result until it is over: how many rows it gave, and how long the driver took for them.

A driver that steps lazily (sqlite3) and a server-side cursor do much of their work inside the fetch calls. SQLAlchemy
gives those to the result's fetch strategy; ours counts and times what another one does.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.instrument.sqlalchemy_call import StatementCall

_NO_SLOTS: tuple[str, ...] = ()

_kinds: dict[type, type[TimedFetchStrategy]] = {}
"""By the class of the strategy that is followed; SQLAlchemy has four."""


def follow(inner: Any, call: StatementCall, *, quiet: bool = False) -> TimedFetchStrategy:
    """A fetch strategy around another one, and an instance of the same class.

    Args:
        inner: The other one.
        call: The statement whose result it is.
        quiet: The fetches call an instrumented driver, whose spans are suppressed as those of the execution were.
    """
    kind = _kinds.get(type(inner))
    if kind is None:
        base = type(inner)
        names = {
            "__slots__": ("_began", "_call", "_closing", "_fetching", "_inner", "_quiet"),
            "__module__": base.__module__,
            "__qualname__": base.__qualname__,
            "__doc__": base.__doc__,
        }
        kind = _kinds[base] = type(base.__name__, (TimedFetchStrategy, base), names)
    followed = kind.__new__(kind)
    followed._inner = inner
    followed._call = call
    followed._closing = followed._fetching = False
    followed._quiet = quiet
    return followed


class TimedFetchStrategy:
    """What ``follow`` adds to ``sqlalchemy.engine.cursor.ResultFetchStrategy``.

    The consumer's own time between fetches is not counted. A fetch that closes the result closes the query after its
    rows were counted.
    """

    __slots__ = _NO_SLOTS  # a class cannot inherit from several classes that have slots

    _began: float
    _closing: bool
    _fetching: bool
    _inner: Any
    _quiet: bool
    _call: StatementCall

    def __getattr__(self, name: str) -> Any:
        # The slots of the strategy's own class are empty here.
        return getattr(object.__getattribute__(self, "_inner"), name)

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """As the inner strategy's; one row, or None at the end."""
        return self._fetch(True, self._inner.fetchone, result, dbapi_cursor, hard_close)

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """As the inner strategy's; a list of rows."""
        return self._fetch(False, self._inner.fetchmany, result, dbapi_cursor, size)

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """As the inner strategy's; a list of rows."""
        return self._fetch(False, self._inner.fetchall, result, dbapi_cursor)

    def _fetch(self, single: bool, fetch: Callable[..., Any], *arguments: Any) -> Any:
        """Call the inner strategy; what it raises passes, once the query is finished with it."""
        self._fetching = True
        self._began = perf_counter()
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if self._quiet else None
        try:
            fetched = fetch(*arguments)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            if token is not None:
                detach(token)
        try:
            self._fetched(int(fetched is not None) if single else len(fetched))
        except Exception:
            failed("instrument.results.fetched")
        return fetched

    def _fetched(self, rows: int) -> None:
        self._fetching = False
        call = self._call
        if not call.over:
            call.last = now = perf_counter()
            call.duration += now - self._began
            call.rows = rows + (call.rows or 0)
            if self._closing:
                call.finish()

    @guard
    def _failed(self, error: BaseException) -> None:
        self._call.last = perf_counter()
        self._call.finish(getattr(error, "orig", None) or error)

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        """The result is exhausted or was given up."""
        self._close()
        self._inner.soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        """The result was closed."""
        self._close()
        self._inner.hard_close(result, dbapi_cursor)

    @guard
    def _close(self) -> None:
        if self._fetching:
            self._closing = True
        elif not self._call.over:
            self._call.finish()

    def handle_exception(self, result: Any, dbapi_cursor: Any, err: BaseException) -> Any:
        """Hand on the driver's exception."""
        self._failed(err)
        return self._inner.handle_exception(result, dbapi_cursor, err)

    def yield_per(self, result: Any, dbapi_cursor: Any, num: int) -> None:
        """Change to buffered fetching, which may put another strategy into our place."""
        self._inner.yield_per(result, dbapi_cursor, num)
        if result.cursor_strategy is not self:
            self._replace(result)

    @guard
    def _replace(self, result: Any) -> None:
        result.cursor_strategy = follow(result.cursor_strategy, self._call, quiet=self._quiet)
