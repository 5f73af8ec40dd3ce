"""What runs around the functions of a pool library: those that give out a connection, and those that make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.instrument.pools.checkout import asking

if TYPE_CHECKING:
    from typing import Any

    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.instrument.pools.pool import Pool


class Asking:
    """One call of a function that gives out a connection; what a ``begin`` hook returns.

    Args:
        pool: Whose function it is.
        timeouts: Exceptions by which it says that the time was over.
    """

    __slots__ = ("_timeouts", "_token", "held", "pool")

    def __init__(self, pool: Pool, *timeouts: type[BaseException]) -> None:
        self.pool = pool
        self._timeouts = timeouts
        self.held = pool.ask()
        self._token = asking.set(self.held)

    def returned(self, connection: Any) -> None:
        """It was given a connection."""
        asking.reset(self._token)
        self.pool.got(self.held, connection)

    def raised(self, error: BaseException) -> None:
        """There was none."""
        asking.reset(self._token)
        self.pool.gave_up(self.held, timed_out=self.timed_out(error))

    def timed_out(self, error: BaseException | None) -> bool:
        """Whether this is how the library says that the time was over."""
        return isinstance(error, self._timeouts)


class Making:
    """One call of a function that makes a connection; what a ``begin`` hook returns.

    Args:
        pool: Whose connection it will be.
        request: The request it is for, if known; else the current one.
    """

    __slots__ = ("_began", "_pool", "_request")

    def __init__(self, pool: Pool, request: Checkout | None = None) -> None:
        self._pool = pool
        self._request = request if request is not None else asking.get()
        self._began = pool.connecting(self._request)

    def returned(self, _: Any) -> None:
        """It was made."""
        self._pool.connected(self._began, None, self._request)

    def raised(self, error: BaseException) -> None:
        """It could not be made, or was given up."""
        failure = error if isinstance(error, Exception) else None
        self._pool.connected(self._began, failure, self._request, cancelled=failure is None)
