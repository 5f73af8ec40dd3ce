"""One Redis command or pipeline, from its call to its span."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from dbsight import config, semconv
from dbsight.instrument.outcomes import was_cancelled, was_handled
from dbsight.instrument.pools.redis_checkout import leave, tell
from dbsight.instrument.redis_clients import error_of, measuring_themselves, server_of
from dbsight.instrument.redis_replies import count, found, items, looks
from dbsight.safety import failed
from dbsight.span import PendingQuery, template_of
from dbsight.span.pending import COMPLETED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from dbsight.instrument.caches import Look
    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.instrument.pools.redis_checkout import CommandCheckout
    from dbsight.statement.redis.command import Command

_VALUES: Final = frozenset((bytes, str, type(None)))
_TEXTS: Final = frozenset((bytes, str))


class CommandCall(PendingQuery):
    """A command or pipeline that is running, or that has its reply and is queued.

    Attributes:
        statement: The command or pipeline.
        looks: Cache accesses derived from the reply.
        size: Of a single value that was asked for: its length, -1 where there was none. Of values that a pipeline asked
            for and all found: theirs. None where ``looks`` say more.
        keeps: Whether it keeps its connection after the reply, because it watches keys.
        request: The current request to a pool for a connection.
        held: The connection that a pool gave it last, until that is told.
        connections: Those that it used, where its database has several servers.
        failures: Attempts to send it that failed.
        transformed: Whether a callback of the application transforms the reply, so that misses may be hidden.
        local: Whether the client-side cache answered without the server.
    """

    statement: Command
    keeps: bool
    looks: Sequence[Look]
    size: int | list[int] | None
    request: Checkout | None
    held: CommandCheckout | None
    connections: Sequence[Any]
    failures: int
    transformed: bool
    local: bool

    __slots__ = (
        "connections",
        "failures",
        "held",
        "keeps",
        "local",
        "looks",
        "request",
        "size",
        "transformed",
    )

    # What a command never has otherwise: its parameters are its statement's.
    parameters_hash = values = affected = relationship = load = entity = model = to_many = django = blocker = None
    own_span = True
    streamed = autoflush = False
    flush = 0
    fetch_time = 0.0

    def given(self, request: Checkout, connection: Any) -> None:
        """It got the requested connection. Never raises."""
        try:
            pool = request.pool
            if self.database.several:
                self.reached(connection)
            held = pool.got(request, connection, site=self.call_site, thread=self.thread)
            if held is not None:
                held.kept = not self.keeps
                self.have(pool=pool.name, pool_wait=held.take_wait(), connect_time=held.creating)
                held.creating = 0.0
        except Exception:
            failed("redis.given")

    def reached(self, connection: Any) -> None:
        """It is sent on this connection, of one of several servers."""
        self.have(connections=(*(self.noted("connections") or ()), connection))

    def returned(self, reply: Any) -> None:
        """The reply was received. Never raises."""
        self.duration = duration = perf_counter() - self.began
        command = self.statement
        try:
            if command.collection:
                self.rows = items(command, reply)
            if self.rare is not None and (self.noted("transformed") or self.noted("local")):
                pass
            elif command.effect == "get" and type(reply) in _VALUES:
                self.size = -1 if reply is None else len(reply)  # as below, for what most commands are
            elif command.alike == "get" and type(reply) is list and _TEXTS.issuperset(map(type, reply)):
                self.size = list(map(len, reply))  # and for most pipelines
            elif command.effect or command.parts:
                self.looks = looks(command, reply)
        except Exception:  # callbacks of the application may return anything
            failed("redis.returned")
        if self.rare is not None:
            self._end()
            return
        self.end_ns = self.start_ns + int(duration * 1e9)
        self.over = True  # ``end`` written out
        queue = self.queue
        if queue is None or not queue.append(self):
            self.flush_all((self,))

    def raised(self, error: BaseException) -> None:
        """The client raised. Never raises."""
        self.duration = perf_counter() - self.began
        try:
            if not was_cancelled(error) and not was_handled(error, sys._getframe(1)):
                error_type, error_code = error_of(error)
                self.have(error_type=error_type, error_code=error_code)
        except Exception:
            failed("redis.raised")
        self._end()

    def _end(self) -> None:
        if self.noted("local"):
            self.over = True
            leave(self)
            return  # not a database call
        self.end_ns = self.start_ns + int(self.duration * 1e9)
        connections = self.noted("connections")
        if connections:
            self.have(connections=())
            try:
                self._name_server(connections)
            except Exception:
                failed("redis.end")
        self.end()

    def _name_server(self, connections: Sequence[Any]) -> None:
        """Set which of several servers answered."""
        # What has a key is answered by one server, the last after redirections; a pipeline may be by several.
        redirected = self.statement.keys > 0 and not self.statement.parts
        self.database = server_of(self.database, connections, redirected=redirected)
        self.template = template_of(self.statement, self.database)

    # -- In the drain -------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Fill in what the hook did not."""
        if self.rare is COMPLETED:
            return
        self.parameters = self.error_type = self.error_code = self.extra = self.pool = self.replay = None
        self.pool_wait = self.connect_time = 0.0
        self.failures = 0
        self.profiles = ()
        self.measured = False
        self.fill()
        self.parameters = self.statement.parameters
        if self.failures:
            # Attempts failed before; the last one that failed, where all did, is the error itself.
            retries = self.failures - (self.error_type is not None)
            if retries > 0:
                self.extra = {**(self.extra or {}), semconv.QUERY_RETRIES: retries}

    @classmethod
    def complete_all(cls, records: Sequence[Self], /) -> None:
        """Complete records that are drained together; the uses of connections that ended with them are told."""
        super().complete_all(records)
        try:
            tell(records)
        except Exception:
            failed("redis.tell")
        if config.current().parameters == "off":
            for record in records:
                record.parameters = None
        if measuring := measuring_themselves():
            for record in records:
                record.measured = record.database.system in measuring

    @classmethod
    def reported(cls, records: Sequence[Self], /) -> None:
        """Count what they found in caches. Never raises."""
        try:
            count(
                [
                    (record.looks or found(record.statement, record.size), record)
                    for record in records
                    if record.looks or record.size is not None
                ]
            )
        except Exception:
            failed("redis.reported")
