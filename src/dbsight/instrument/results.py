"""Following a result until it is over: how many rows it gave, and how long the driver took for them.

A driver that steps lazily (sqlite3) and a server-side cursor do much of their work inside the fetch calls. SQLAlchemy
gives those to the result's fetch strategy; ours counts and times what another one does.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbsight.instrument.sqlalchemy_call import StatementCall

_NO_SLOTS: tuple[str, ...] = ()

_NAMES: Final = ("_soft_close", "BaseException", "handle_exception")
"""What ``CursorFetchStrategy`` refers to after the cursor's method of the same name, in SQLAlchemy 1.4 to 2.1."""

COVERING: Final = 1
"""Flag of a statement: drivers report nothing while it runs."""
QUIET: Final = 2
"""Flag of a statement: spans of the driver are suppressed."""

kinds: dict[tuple[type, bool], type[TimedFetchStrategy]] = {}
"""By the class of the strategy that is followed, of which SQLAlchemy has four, and whether the statement is quiet."""


def follow(inner: Any, call: StatementCall) -> TimedFetchStrategy:
    """A fetch strategy around another one, and an instance of the same class.

    Args:
        inner: The other one.
        call: The statement whose result it is. Where it is quiet, the fetches call an instrumented driver, whose spans
            are suppressed as those of the execution were.
    """
    kind = following(type(inner), quiet=call.aside >= QUIET)
    followed = kind.__new__(kind)
    followed._inner = inner
    followed._call = call
    return followed


def following(base: type, *, quiet: bool = False) -> type[TimedFetchStrategy]:
    """The class of the strategies that follow those of another class, for statements that are quiet or not."""
    kind = kinds.get((base, quiet))
    if kind is None:
        kind = kinds[base, quiet] = _following(base, TimedFetchStrategy if quiet else _CursorStrategy)
    return kind


def _following(base: type, asking: type[TimedFetchStrategy]) -> type[TimedFetchStrategy]:
    """Make such a class; the other one's own slots and attributes are read there."""
    names: dict[str, Any] = {
        slot: _of_inner(slot) for kind in base.__mro__ for slot in vars(kind).get("__slots__", ()) if slot != "__dict__"
    }
    if base.__dictoffset__:
        names["__getattr__"] = _of_any
    names |= {
        "__slots__": ("_call", "_inner"),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (asking if _asks_cursor(base) else TimedFetchStrategy, base), names)


def _asks_cursor(base: type) -> bool:
    """Whether its methods do what those of ``_CursorStrategy`` do: call the cursor's, and close what is exhausted."""
    if base.__name__ != "CursorFetchStrategy":
        return False
    codes = {name: getattr(getattr(base, name), "__code__", None) for name in ("fetchone", "fetchall")}
    return all(getattr(code, "co_names", ()) == (name, *_NAMES) for name, code in codes.items())


def _of_inner(name: str) -> property:
    return property(lambda strategy: getattr(strategy._inner, name))


def _of_any(strategy: Any, name: str) -> Any:
    return getattr(object.__getattribute__(strategy, "_inner"), name)


class TimedFetchStrategy:
    """What ``follow`` adds to ``sqlalchemy.engine.cursor.ResultFetchStrategy``.

    The consumer's own time between fetches is not counted. A fetch that closes the result closes the query after its
    rows were counted. There is no ``__getattr__`` here: with it, each attribute would be searched for.
    """

    __slots__ = _NO_SLOTS  # a class cannot inherit from several classes that have slots

    _inner: Any
    _call: StatementCall

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """As the inner strategy's; one row, or None at the end."""
        return self._fetch(self._inner.fetchone, True, result, dbapi_cursor, hard_close)

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """As the inner strategy's; a list of rows."""
        return self._fetch(self._inner.fetchmany, False, result, dbapi_cursor, size)

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """As the inner strategy's; a list of rows."""
        return self._fetch(self._inner.fetchall, False, result, dbapi_cursor)

    def _fetch(self, fetch: Callable[..., Any], single: bool, result: Any, *arguments: Any) -> Any:
        """Call the inner strategy, with spans of the driver suppressed as those of the execution were.

        What it raises passes, once the query is finished with it.
        """
        call = self._call
        inner = self._inner
        ours = result.cursor_strategy is self
        if ours:
            result.cursor_strategy = inner  # where this fetch closes the result, it is not over before its rows counted
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if call.aside >= QUIET else None
        began = perf_counter()
        try:
            fetched = fetch(result, *arguments)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            if token is not None:
                detach(token)
        closed = ours and result.cursor_strategy is not inner
        if ours and not closed:
            result.cursor_strategy = self
        try:
            if not call.over:
                call.last = now = perf_counter()
                call.duration += now - began
                call.rows = (int(fetched is not None) if single else len(fetched)) + (call.rows or 0)
                if closed:
                    call.finish()
        except Exception:
            failed("instrument.results.fetched")
        return fetched

    @guard
    def _failed(self, error: BaseException) -> None:
        self._call.last = perf_counter()
        self._call.finish(getattr(error, "orig", None) or error)

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        """The result is exhausted or was given up."""
        if not self._call.over:
            self._finish()
        self._inner.soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        """The result was closed."""
        if not self._call.over:
            self._finish()
        self._inner.hard_close(result, dbapi_cursor)

    @guard
    def _finish(self) -> None:
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
        result.cursor_strategy = follow(result.cursor_strategy, self._call)


class _CursorStrategy(TimedFetchStrategy):
    """What follows SQLAlchemy's own strategy, which only asks the cursor: so does this one, without another call.

    For statements that are not quiet. Results are read row by row, and each small query of the ORM comes here.
    """

    __slots__ = _NO_SLOTS

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """As the inner strategy's; one row, or None at the end."""
        call = self._call
        began = perf_counter()
        try:
            row = dbapi_cursor.fetchone()
            if row is None:
                if result.cursor_strategy is self:
                    result.cursor_strategy = self._inner
                result._soft_close(hard=hard_close)
        except BaseException as error:
            self._failed(error)
            self._inner.handle_exception(result, dbapi_cursor, error)
            raise
        try:
            if not call.over:
                call.last = now = perf_counter()
                call.duration += now - began
                if row is not None:
                    call.rows += 1  # type: ignore[operator]
                else:
                    call.finish()
        except Exception:
            failed("instrument.results.fetched")
        return row

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """As the inner strategy's; a list of rows."""
        call = self._call
        began = perf_counter()
        try:
            rows = dbapi_cursor.fetchall()
            if result.cursor_strategy is self:
                result.cursor_strategy = self._inner
            result._soft_close()
        except BaseException as error:
            self._failed(error)
            self._inner.handle_exception(result, dbapi_cursor, error)
            raise
        try:
            if not call.over:
                call.last = now = perf_counter()
                call.duration += now - began
                call.rows += len(rows)  # type: ignore[operator]
                call.finish()
        except Exception:
            failed("instrument.results.fetched")
        return rows
