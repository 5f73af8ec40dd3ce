"""psycopg 3: connections and cursors, sync and async; client-side, raw and server-side cursors, pipelines and COPY.

Methods of its classes are wrapped. ``stream`` and ``copy`` are generators, of which each step is timed. In pipeline
mode a statement ends when it was sent: its rows are not known then. Private: ``Cursor._conn``, ``_rowcount`` and the
``gen`` of what ``copy`` returns, psycopg 3.1 to 3.3.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight.instrument.dbapi import Driver, DriverInstrumentor
from dbsight.instrument.driver_call import WRITES, DriverCall, Fetch
from dbsight.instrument.pools.drivers import libpq
from dbsight.model import Database
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Patches

_TUPLES: Final = 2
"""libpq's status of a result with rows."""

_COPY_OUT: Final = 3
"""The same of one whose rows are copied to the client."""

_OPEN: Final = frozenset((1, 2, 3))
"""Its states of a connection in a transaction: a statement runs, none does, one failed."""


class _Psycopg(Driver):
    system = "postgresql"
    upstream = ("opentelemetry.instrumentation.psycopg", "PsycopgInstrumentor")

    def where(self, connection: Any) -> Database:
        address, port, namespace = libpq(connection)
        return Database("postgresql", namespace, address, port)

    def in_transaction(self, connection: Any) -> bool:
        return connection.pgconn.transaction_status in _OPEN

    def look(self, call: DriverCall, cursor: Any, result: Any) -> None:
        received = cursor.pgresult
        if received is None:
            return  # a pipeline
        count = cursor._rowcount
        if received.status == _TUPLES:
            call.rows = count if count >= 0 else None
            if call.statement.kind in WRITES and call.many:
                call.affected = call.rows
        elif call.statement.kind in WRITES and count >= 0:
            call.affected = count
            if call.many and not call.noted("batch_size") and count >= 2:
                call.have(batch_size=count)

    def render(self, text: Any, cursor: Any) -> str:
        if hasattr(text, "as_string"):
            return str(text.as_string(cursor))
        return _template_text(text)

    # -- The hooks ----------------------------------------------------------------------------------------------

    def executing_many(self, cursor: Any, query: Any, params_seq: Any) -> DriverCall | None:
        """One statement with several sets of parameters."""
        return self.begin(cursor._conn, cursor, query, params_seq, many=True)

    def declaring(self, cursor: Any, query: Any, params: Any = None) -> DriverCall | None:
        """One statement of a server-side cursor: its rows are fetched later."""
        call = self.begin(cursor._conn, cursor, query, params)
        if call is not None:
            call.keep_open_early(cursor)
        return call

    def copying(self, cursor: Any, statement: Any, params: Any = None) -> _Copying:
        """COPY: what is returned runs it."""
        return _Copying(self, cursor, statement, params)

    def moving(self, copy: Any) -> _Moving | None:
        """A step of COPY in either direction."""
        call = self.open.get(id(copy.cursor)) if self.open else None
        return _Moving(call) if call is not None else None

    def left(self, transaction: Any, exc_type: Any) -> Any:
        """The end of a ``connection.transaction()``."""
        return self.ending("commit" if exc_type is None else "rollback")(transaction._conn)


class _AsyncPsycopg(_Psycopg):
    asynchronous = True


def _template_text(text: Any) -> str:
    """The text of a template string, with a placeholder for each value."""
    parts = getattr(text, "strings", None)
    return " %s ".join(parts) if parts else str(text)


class _Moving(Fetch):
    """A step of COPY: its time counts, rows are counted at the end."""

    __slots__ = ()

    def returned(self, result: Any) -> None:
        self._call.fetched(self._began, 0, over=False)

    def raised(self, error: BaseException) -> None:
        """COPY itself ends with it."""
        self._call.fetched(self._began, 0, over=False)


class _Copying:
    """One call of ``copy``: the generator of the context manager that it returned is followed."""

    __slots__ = ("_arguments", "_cursor", "_driver")

    def __init__(self, driver: _Psycopg, cursor: Any, statement: Any, params: Any) -> None:
        self._driver = driver
        self._cursor = cursor
        self._arguments = (statement, params)

    def returned(self, manager: Any) -> None:
        """Nothing has run yet."""
        steps = _copy_async if inspect.isasyncgen(manager.gen) else _copy
        manager.gen = steps(manager.gen, self._driver, self._cursor, *self._arguments)

    def raised(self, _: BaseException) -> None:
        """There is nothing to follow."""


@guard
def _begin(driver: _Psycopg, cursor: Any, statement: Any, params: Any) -> DriverCall | None:
    return driver.begin(cursor._conn, cursor, statement, params)


@guard
def _started(call: DriverCall | None, cursor: Any) -> None:
    """The server has accepted it; what is moved is counted from now on."""
    if call is not None:
        received = cursor.pgresult is not None and cursor.pgresult.status == _COPY_OUT
        call.keep_open_early(cursor)
        call.returned(None)
        call.many = received


@guard
def _ended(call: DriverCall | None, cursor: Any, began: float, error: BaseException | None = None) -> None:
    if call is None or call.over:
        return
    if not call.key:
        call.raised(error or GeneratorExit())
        return
    call.last = now = perf_counter()
    call.duration += now - began
    count = cursor._rowcount if error is None else -1
    call.rows = call.affected = None
    if count >= 0 and call.many:
        call.rows = count
    elif count >= 0:
        call.affected = count
    call.finish(error)


def _copy(steps: Any, driver: _Psycopg, cursor: Any, statement: Any, params: Any) -> Iterator[Any]:
    """The generator behind ``copy``, followed."""
    call = _begin(driver, cursor, statement, params)
    began = perf_counter()
    try:
        copy = next(steps)
        _started(call, cursor)
        try:
            yield copy
        except BaseException as error:
            began = perf_counter()
            with contextlib.suppress(StopIteration):
                steps.throw(error)
                raise RuntimeError("generator didn't stop after throw()") from error
        else:
            began = perf_counter()
            for _ in steps:
                raise RuntimeError("generator didn't stop")
    except BaseException as error:
        _ended(call, cursor, began, error)
        raise
    _ended(call, cursor, began)


async def _copy_async(steps: Any, driver: _Psycopg, cursor: Any, statement: Any, params: Any) -> AsyncIterator[Any]:
    """The same of an asynchronous cursor."""
    call = _begin(driver, cursor, statement, params)
    began = perf_counter()
    try:
        copy = await steps.__anext__()
        _started(call, cursor)
        try:
            yield copy
        except BaseException as error:
            began = perf_counter()
            with contextlib.suppress(StopAsyncIteration):
                await steps.athrow(error)
                raise RuntimeError("generator didn't stop after athrow()") from error
        else:
            began = perf_counter()
            async for _ in steps:
                raise RuntimeError("generator didn't stop")
    except BaseException as error:
        _ended(call, cursor, began, error)
        raise
    _ended(call, cursor, began)


class _Streaming:
    """One ``stream`` from its first step."""

    __slots__ = ("_began", "_call")

    def __init__(self, driver: _Psycopg, cursor: Any, query: Any, params: Any) -> None:
        self._call = driver.begin(cursor._conn, cursor, query, params)
        if self._call is not None:
            self._call.keep_open_early(cursor)
        self._began = perf_counter()

    def step(self) -> None:
        """The consumer wants the next row."""
        self._began = perf_counter()

    def row(self) -> None:
        """A row was received."""
        call = self._call
        if call is None or call.over:
            return
        if not call.executed:
            call.returned(None)
            call.rows = 1
        else:
            call.fetched(self._began, 1, over=False)

    def end(self, error: BaseException | None = None) -> None:
        """There are no more rows, or the consumer wants none."""
        call = self._call
        if call is None or call.over:
            return
        if not call.executed:  # no row was received
            if error is not None:
                call.raised(error)
                return
            call.returned(None)
        if error is not None:
            call.fetch_failed(self._began, error)
        else:
            call.fetched(self._began, 0, over=True)


def _guarded(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception:
        failed("psycopg.stream")
        return None


def _streaming(original: Any, driver: _Psycopg) -> Any:
    """The replacement of ``Cursor.stream``."""

    @functools.wraps(original)
    def stream(self: Any, query: Any, params: Any = None, *, binary: Any = None, size: int = 1) -> Iterator[Any]:
        following = _guarded(_Streaming, driver, self, query, params)
        rows = original(self, query, params, binary=binary, size=size)
        try:
            for row in rows:
                if following is not None:
                    _guarded(following.row)
                yield row
                if following is not None:
                    following.step()
        except BaseException as error:
            rows.close()
            if following is not None:
                _guarded(following.end, error)
            raise
        if following is not None:
            _guarded(following.end)

    return stream


def _streaming_async(original: Any, driver: _Psycopg) -> Any:
    """The replacement of ``AsyncCursor.stream``."""

    @functools.wraps(original)
    async def stream(
        self: Any, query: Any, params: Any = None, *, binary: Any = None, size: int = 1
    ) -> AsyncIterator[Any]:
        following = _guarded(_Streaming, driver, self, query, params)
        rows = original(self, query, params, binary=binary, size=size)
        try:
            async for row in rows:
                if following is not None:
                    _guarded(following.row)
                yield row
                if following is not None:
                    following.step()
        except BaseException as error:
            await rows.aclose()
            if following is not None:
                _guarded(following.end, error)
            raise
        if following is not None:
            _guarded(following.end)

    return stream


class PsycopgInstrumentor(DriverInstrumentor):
    """Instruments psycopg 3; ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one."""

    library = "psycopg"

    def install(self, module: Any, patches: Patches, provider: TracerProvider | None) -> None:
        """Wrap its classes, sync and async."""
        for prefix, driver in (("", _Psycopg(provider)), ("Async", _AsyncPsycopg(provider))):
            driver.watch(patches)
            _wrap(module, prefix, driver, patches)


def _wrap(library: Any, prefix: str, driver: _Psycopg, patches: Patches) -> None:
    cursor = getattr(library, f"{prefix}Cursor")
    patches.wrap(cursor, "execute", begin=driver.begin, of="_conn")
    patches.wrap(cursor, "executemany", begin=driver.executing_many)
    streaming = _streaming_async if driver.asynchronous else _streaming
    if "size" in (cursor.stream.__kwdefaults__ or {}):  # psycopg 3.2 and newer
        patches.replace(cursor, "stream", streaming(cursor.stream, driver))
    patches.wrap(cursor, "copy", begin=driver.copying)
    copy = getattr(library, f"{prefix}Copy")
    for name in ("read", "read_row", "write", "write_row"):
        patches.wrap(copy, name, begin=driver.moving)
    server = getattr(library, f"{prefix}ServerCursor")
    patches.wrap(server, "execute", begin=driver.declaring)
    next_ = "__anext__" if driver.asynchronous else "__next__"
    for name in ("fetchone", "fetchmany", next_):
        if name in vars(server):  # 3.1: ``__iter__`` is a generator that calls no other
            patches.wrap(server, name, begin=driver.fetching)
    patches.wrap(server, "fetchall", begin=driver.fetching_all)
    patches.wrap(server, "close", before=driver.closing)
    connection = getattr(library, f"{prefix}Connection")
    patches.wrap(connection, "commit", begin=driver.ending("commit"))
    patches.wrap(connection, "rollback", begin=driver.ending("rollback"))
    patches.wrap(connection, "close", begin=driver.ending("rollback"))
    leave = "__aexit__" if driver.asynchronous else "__exit__"
    patches.wrap(getattr(library, f"{prefix}Transaction"), leave, begin=driver.left)
