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

kinds: dict[type, type[TimedFetchStrategy]] = {}
"""By the class of the strategy that is followed; SQLAlchemy has four."""


def follow(inner: Any, call: StatementCall) -> TimedFetchStrategy:
    """A fetch strategy around another one, and an instance of the same class.

    Args:
        inner: The other one.
        call: The statement whose result it is. Where it is quiet, the fetches call an instrumented driver, whose spans
            are suppressed as those of the execution were.
    """
    kind = kinds.get(type(inner))
    if kind is None:
        kind = kinds[type(inner)] = _following(type(inner))
    followed = kind.__new__(kind)
    followed._inner = inner
    followed._call = call
    return followed


def _following(base: type) -> type[TimedFetchStrategy]:
    """The class of the strategies that follow those of another class, whose own slots and attributes are read there."""
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
    return type(base.__name__, (TimedFetchStrategy, base), names)


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
        call = self._call
        inner = self._inner
        if call.quiet:
            return self._fetch(inner.fetchone, True, result, dbapi_cursor, hard_close)
        # ``_fetch`` written out: results are read row by row, and its calls cost as much as the driver's.
        call.reading = True
        began = perf_counter()
        try:
            row = inner.fetchone(result, dbapi_cursor, hard_close)
        except BaseException as error:
            self._failed(error)
            raise
        try:
            call.reading = False
            if not call.over:
                call.last = now = perf_counter()
                call.duration += now - began
                if row is not None:
                    call.rows += 1  # type: ignore[operator]
                if call.closing:
                    call.finish()
        except Exception:
            failed("instrument.results.fetched")
        return row

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """As the inner strategy's; a list of rows."""
        return self._fetch(self._inner.fetchmany, False, result, dbapi_cursor, size)

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """As the inner strategy's; a list of rows."""
        call = self._call
        inner = self._inner
        if call.quiet:
            return self._fetch(inner.fetchall, False, result, dbapi_cursor)
        call.reading = True  # written out, as above: each small query of the ORM comes here
        began = perf_counter()
        try:
            rows = inner.fetchall(result, dbapi_cursor)
        except BaseException as error:
            self._failed(error)
            raise
        try:
            call.reading = False
            if not call.over:
                call.last = now = perf_counter()
                call.duration += now - began
                call.rows += len(rows)  # type: ignore[operator]
                if call.closing:
                    call.finish()
        except Exception:
            failed("instrument.results.fetched")
        return rows

    def _fetch(self, fetch: Callable[..., Any], single: bool, *arguments: Any) -> Any:
        """Call the inner strategy, with spans of the driver suppressed as those of the execution were.

        What it raises passes, once the query is finished with it.
        """
        call = self._call
        call.reading = True
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)) if call.quiet else None
        began = perf_counter()
        try:
            fetched = fetch(*arguments)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            if token is not None:
                detach(token)
        try:
            call.reading = False
            if not call.over:
                call.last = now = perf_counter()
                call.duration += now - began
                call.rows = (int(fetched is not None) if single else len(fetched)) + (call.rows or 0)
                if call.closing:
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
        call = self._call
        if call.reading:
            call.closing = True
        elif not call.over:
            self._finish()
        self._inner.soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        """The result was closed."""
        call = self._call
        if call.reading:
            call.closing = True
        elif not call.over:
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
