"""The connection that a command of Redis asks for, uses and gives back: in place, little more than three times of day.

Most commands do all of this before they return; then the checkout is told when the command is drained. It is an object
of its own nevertheless: while it is out, the pool's state, leaks and the holders of a full pool are told from it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight import config, recording
from dbsight.instrument import callsite
from dbsight.instrument.pools.checkout import Checkout
from dbsight.instrument.pools.pool import MAX_HELD, WAITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbsight.instrument.redis_clients import Sending

_EXHAUSTED: Final = ("No connection available.", "Too many connections")


def timed_out(error: BaseException | None) -> bool:
    """Whether this is how the library says that the time was over: by a text, or by an asynchronous cluster's class."""
    text = str(error.args[0]) if error is not None and error.args else ""
    return text in _EXHAUSTED or type(error).__name__ == "MaxConnectionsError"


class CommandCheckout(Checkout):
    """That of a command, of which it knows where, by whom and below what; what the hook around the request returns.

    Attributes:
        command: Who asks; None once it was answered.
        before: The request in which this one was made; the command's again when it was answered.
        earlier: The connection that the same command was given before.
    """

    alone = False
    kept = True
    wait = creating = 0.0
    command: Sending | None = None
    before: Checkout | None = None
    earlier: CommandCheckout | None = None

    def returned(self, connection: Any) -> None:
        """The command got it."""
        command, self.command = self.command, None  # who is kept by the other from here on is this one
        pool = self.pool
        self.began = now = perf_counter()
        out = pool.held
        if len(out) < MAX_HELD:
            out[id(connection)] = self
        pool.requests.pop(self, None)  # not before: a pool that is counted in this moment must see one of both
        assert command is not None
        command.request = self.before
        self.served = served = now - self.asked - self.creating
        if command.over:  # as of another task, that went on when the command was given up
            self.alone = True
        else:
            if command.held is not None:
                self.earlier = command.held
            command.held = self
        self.site = command.call_site
        if self.site is None and config.current().code_location != "off":
            self.site = callsite.find_near(pool)
        if command.allowed:
            self.allowed = command.allowed
        if len(out) > pool.most:  # noqa: PLR1730 - without a call
            pool.most = len(out)
        if pool.asynchronous:
            pool.look_at_loop(self)
        else:
            self.requester = command.thread
        if command.keeps:
            self.kept = False
        if command.database.several:
            command.reached(connection)
        if served >= WAITED:
            pool.waited(self)

    def raised(self, error: BaseException) -> None:
        """The command did not get it."""
        command, self.command = self.command, None
        assert command is not None
        command.request = self.before
        self.pool.gave_up(self, timed_out=timed_out(error))

    @classmethod
    def flush_all(cls, records: Sequence[Checkout]) -> None:
        """As for others, but for those that were told with their command in the same moment. Never raises."""
        super().flush_all([held for held in records if _claimed(held)])


def tell(commands: Sequence[Sending]) -> None:
    """Publish the uses of connections that commands gave back; those that are still out are told by themselves."""
    ended = []
    for command in commands:
        held, command.held = command.held, None
        if held is not None:
            command.pool = held.pool.name
        while held is not None:
            if held.wait:
                command.pool_wait = held.take_wait()
            if held.creating:
                command.connect_time, held.creating = held.creating, 0.0
            if _is_to_be_told(held):
                ended.append(held)
            held.earlier, held = None, held.earlier
    if ended:
        Checkout.flush_all(ended)


def leave(command: Sending) -> None:
    """Have the connections of a command that is not drained told by themselves."""
    held, command.held = command.held, None
    while held is not None:
        held.alone = True
        if held.ended:
            recording.record(held, recording.loose)
        held.earlier, held = None, held.earlier


def _is_to_be_told(held: CommandCheckout) -> bool:
    if held.ended:
        return True
    held.alone = True
    # It may be given back in this moment, by a thread that saw the one or the other.
    return bool(held.ended) and _claimed(held)


def _claimed(held: Checkout) -> bool:
    """Whether nobody has told it before: asked where two may."""
    mine = object()
    return held.__dict__.setdefault("_teller", mine) is mine
