"""Context managers around what a pool library does: giving out a connection, and making one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.instrument.pools.held import asking

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from dbsight.instrument.pools.held import Held
    from dbsight.instrument.pools.pool import Pool


class Asking:
    """Around a library's function that gives out a connection, sync or async: ``with Asking(pool) as asked: …``.

    ``asked.got(connection)`` is called once there is one; leaving without it means that there was none.

    Args:
        pool: Whose function it is.
        timeouts: Exceptions by which it says that the time was over.
    """

    __slots__ = ("_held", "_pool", "_served", "_timeouts", "_token")

    def __init__(self, pool: Pool, *timeouts: type[BaseException]) -> None:
        self._pool = pool
        self._timeouts = timeouts
        self._served = False

    def __enter__(self) -> Self:
        self._held = self._pool.ask()
        self._token = asking.set(self._held)
        return self

    def got(self, connection: Any) -> Held | None:
        """It was given a connection."""
        self._served = True
        return self._pool.got(self._held, connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asking.reset(self._token)
        if not self._served:
            self._pool.gave_up(self._held, timed_out=self.timed_out(error))

    def timed_out(self, error: BaseException | None) -> bool:
        """Whether this is how the library says that the time was over."""
        return isinstance(error, self._timeouts)


class Making:
    """Around a library's function that makes a connection, sync or async.

    Args:
        pool: Whose connection it will be.
        request: For whom, where that is known; else it is whoever asks.
    """

    __slots__ = ("_began", "_pool", "_request")

    def __init__(self, pool: Pool, request: Held | None = None) -> None:
        self._pool = pool
        self._request = request

    def __enter__(self) -> Self:
        if self._request is None:
            self._request = asking.get()
        self._began = self._pool.connecting(self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = error if isinstance(error, Exception) else None
        self._pool.connected(self._began, failure, self._request, cancelled=error is not None and failure is None)
