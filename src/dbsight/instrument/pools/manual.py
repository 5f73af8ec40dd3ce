"""A pool that no library of ours knows: the application reports what happens in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from dbsight.instrument.pools.pool import Pool
from dbsight.safety import guard

if TYPE_CHECKING:
    from dbsight.instrument.pools.checkout import Checkout

ConnectionEvent = Literal["create", "checkout", "checkin", "error", "close"]

_MAX_CONNECTIONS = 10_000


class _Connection:
    """Stands for a connection that is known by its id."""

    __slots__ = ()


class ManualPool(Pool):
    """The pool of one monitor: its state is what was reported last.

    Args:
        owner: It lives as long as this object.
        name: ``db.client.connection.pool.name``.
        system: ``db.system.name``.
    """

    library: ClassVar[str] = "application"

    __slots__ = ("_connections", "_reported")

    def __init__(self, owner: object, name: str, system: str = "other_sql") -> None:
        self._connections: dict[str, _Connection] = {}
        self._reported: tuple[int, int, int, int] | None = None
        super().__init__(owner, name, system=system)

    @guard
    def event(self, kind: ConnectionEvent, connection_id: str, error: BaseException | None = None) -> None:
        """Report what happened to a connection.

        Args:
            kind: ``create``, ``checkout``, ``checkin``, ``close``, or ``error``: it could not be made, or broke.
            connection_id: What the application calls it.
            error: What was raised.
        """
        if kind == "error":
            self._broken(connection_id, error)
            return
        connection = self._connections.get(connection_id)
        if connection is None:
            if kind in {"checkin", "close"} or len(self._connections) >= _MAX_CONNECTIONS:
                return
            connection = self._connections[connection_id] = _Connection()
            self.connected(self.connecting(None), None, None)
        if kind == "checkout":
            self._out(connection)
        elif kind == "checkin":
            self.gave_back(connection)
        elif kind == "close":
            self._gone(connection_id, "closed")

    def _out(self, connection: _Connection) -> Checkout | None:
        if id(connection) in self.held:  # taken twice without coming back
            self.gave_back(connection)
        return self.got(self.ask(), connection)

    def _broken(self, connection_id: str, error: BaseException | None) -> None:
        if connection_id in self._connections:
            self._gone(connection_id, "invalid")
        began = self.connecting(None)
        self.connected(began, error or ConnectionError(), None)

    def _gone(self, connection_id: str, reason: str) -> None:
        connection = self._connections.pop(connection_id)
        if id(connection) in self.held:
            self.gave_back(connection)
        self.closed(reason)

    def update(self, pool_size: int, checked_out: int, checked_in: int, overflow: int) -> None:
        """Report the state of the pool as a whole; from then on it is what the metrics show."""
        self._reported = (pool_size, checked_out, checked_in, overflow)

    # -- The state --------------------------------------------------------------------------------------------------

    def used(self) -> int:
        """Connections that are out."""
        return self._reported[1] if self._reported else len(self.held)

    def idle(self) -> int:
        """Open connections that wait in the pool."""
        return self._reported[2] if self._reported else len(self._connections) - len(self.held)

    def max(self) -> int | None:
        """Connections that it may open: the size, and what it may open beyond it."""
        return self._reported[0] + max(0, self._reported[3]) if self._reported else None

    def idle_max(self) -> int | None:
        """Connections that it keeps open."""
        return self._reported[0] if self._reported else None

    def overflow(self) -> int:
        """Open connections beyond those that it keeps."""
        return max(0, self._reported[3]) if self._reported else 0

    def forked(self) -> None:
        """In a forked child: what the parent reported is the parent's."""
        super().forked()
        self._connections.clear()
        self._reported = None
