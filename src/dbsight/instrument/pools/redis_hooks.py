"""What runs around the functions of redis-py's and valkey-py's pools that give out and take back connections."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight import recording
from dbsight.instrument.pools.checkout import asking
from dbsight.instrument.pools.redis import PACKAGES, watched
from dbsight.instrument.pools.redis_checkout import CommandCheckout, timed_out
from dbsight.instrument.redis_clients import WATCHING, running

if TYPE_CHECKING:
    from types import FrameType

    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.instrument.pools.redis import RedisPool
    from dbsight.instrument.redis_clients import Sending

_SHARED_POOLS: Final = "dbsight.redis_pools"

_new = object.__new__


class _Others:
    """Who asks for a connection without a command that is recorded."""

    def given(self, request: Checkout, connection: Any) -> None:
        """As ``Sending.given``; called by a hook around a pool's method, for it looks who called that."""
        held = request.pool.got(request, connection)
        if held is not None:
            held.kept = gives_back(sys._getframe(3))


_OTHERS: Final = _Others()


def asker() -> Sending | _Others:
    """Return the requester of a connection: the command that is being sent, or other code."""
    sending = running.get()
    return sending if sending is not None and not sending.over else _OTHERS


def gives_back(frame: FrameType | None) -> bool:
    """Whether redis-py itself asked: it gives back, or keeps what subscriptions and clients of one connection need."""
    while frame is not None and frame.f_globals.get("__name__") == _SHARED_POOLS:
        frame = frame.f_back
    if frame is None or frame.f_code.co_name in WATCHING:
        return False
    return str(frame.f_globals.get("__name__")).startswith(PACKAGES)


class _Asking:
    """One call of ``get_connection`` without a command."""

    __slots__ = ("_before", "_pool", "_request")

    def __init__(self, pool: RedisPool) -> None:
        self._pool = pool
        self._before = asking.get()
        self._request = pool.ask()
        asking.set(self._request)

    def returned(self, connection: Any) -> None:
        asking.set(self._before)
        _OTHERS.given(self._request, connection)

    def raised(self, error: BaseException) -> None:
        asking.set(self._before)
        self._pool.gave_up(self._request, timed_out=timed_out(error))


class Unwatched:
    """One call of ``get_connection`` of a pool that is not watched, because the library measures it itself."""

    __slots__ = ()

    def returned(self, connection: Any) -> None:
        """A command has this connection."""
        sending = running.get()
        if sending is not None and not sending.over and sending.database.several:
            sending.reached(connection)

    def raised(self, _: BaseException) -> None:
        """It has none."""


UNWATCHED: Final = Unwatched()


class _Disposing:
    """One call of a pool's ``disconnect``."""

    __slots__ = ("_pool",)

    def __init__(self, pool: RedisPool) -> None:
        self._pool = pool
        pool.disposing = True

    def returned(self, _: Any) -> None:
        self._pool.disposing = False

    raised = returned


class PoolHooks:
    """The hooks around the pools and clients of one package, sync and async.

    Args:
        package: ``redis`` or ``valkey``.
    """

    def __init__(self, package: str) -> None:
        self.package = package

    def asking(self, pool: Any) -> CommandCheckout | _Asking | Unwatched:
        """A connection is asked for."""
        about = pool.__dict__.get("_dbsight") or watched(pool, self.package)
        if about is None:
            return UNWATCHED
        command = running.get()
        if command is None or command.over:
            return _Asking(about)
        # A command is recorded, so that instrumentation is not suppressed here. As the constructor of the base class.
        held: CommandCheckout = _new(CommandCheckout)
        held.pool = about
        held.command = command
        held.before = command.request
        requests = about.requests
        held.ahead = len(about.held) + len(requests)
        command.request = held
        held.asked = perf_counter()
        requests[held] = None
        return held

    def releasing(self, pool: Any, connection: Any) -> None:
        """A connection is given back; before the pool has it, because it serves a waiting request at once."""
        about = pool.__dict__.get("_dbsight") or watched(pool, self.package)
        if about is None:
            return
        held = about.held.get(id(connection))
        if held is None or held.alone or held.overdue:
            about.gave_back(connection)
        else:  # a command's own, as nearly always: told with the command
            del about.held[id(connection)]
            about.touched = held.ended = perf_counter()
            if held.alone:  # unless that was drained in this moment
                recording.record(held, recording.loose)

    def disposing(self, pool: Any) -> _Disposing | None:
        """A pool is disconnected as a whole."""
        about = pool.__dict__.get("_dbsight")
        return _Disposing(about) if about is not None else None

    def made(self, _: None, pool: Any) -> None:
        """A pool was made."""
        if not hasattr(type(pool), "get_master_address"):  # a sentinel's learns only later which service it leads to
            watched(pool, self.package)

    def client_made(self, _: None, client: Any) -> None:
        """A client was made."""
        about = watched(client.connection_pool, self.package)
        if about is not None:
            about.users.add(client)
