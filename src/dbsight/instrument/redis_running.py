"""One command or pipeline of Redis from its call to its span; told together with others where that can wait."""

from __future__ import annotations

import sys
from copy import copy
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dbsight import bus, config, semconv, span
from dbsight.instrument.outcomes import was_cancelled, was_handled
from dbsight.instrument.redis_clients import error_of, measuring_themselves, server_of
from dbsight.instrument.redis_replies import count, items, looks
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import SpanContext

    from dbsight.instrument.caches import Look
    from dbsight.instrument.pools.held import Held
    from dbsight.model import Operation, Verdict
    from dbsight.statement.redis.command import Command


class Running:
    """One command or pipeline between its call and its reply, and until it is told.

    ``redis_clients.Sending`` says what others see. Not slots: most of it stands on the class nearly always.

    Attributes:
        pipeline: Where its span goes.
        command: What was sent.
        prepared: What its span has in common with others.
        operation: The same as a record, filled until it is told.
        began: When it was sent, on ``perf_counter``, s.
        started: Where its span belongs; None for one that can be started later, until it is.
        parent: Of such a one.
        unit: The unit of work that keeps such a one until it is told.
        text: The whole command, where the settings ask for it.
        looks: What the reply tells of caches.
        keeps: It keeps its connection after the reply, because it watches keys.
        request: The connection that it asks a pool for at the moment.
        connections: Those that it used, where its database has several servers.
        failures: Attempts to send it that failed.
        transformed: The application makes something of its own of the reply, which may hide that there was none.
        local: The client's own cache answered, and no server was asked.
        over: The reply is there.
    """

    pipeline: span.Pipeline
    command: Command
    prepared: span.Prepared
    operation: Operation
    began: float
    started: span.Started | None = None
    parent: SpanContext | None = None
    unit: Any = None
    text = ""
    looks: Sequence[Look] = ()
    keeps = False
    request: Held | None = None
    connections: Sequence[Any] = ()
    failures = 0
    transformed = False
    local = False
    over = False

    def given(self, request: Held, connection: Any) -> None:
        """What was asked for is here. Never raises."""
        try:
            pool, operation = request.pool, self.operation
            if operation.database.several:
                self.reached(connection)
            held = pool.got(request, connection, site=operation.call_site, thread=operation.thread)
            if held is not None:
                held.kept = not self.keeps
                operation.pool = pool.name
                if held.wait:
                    operation.pool_wait = held.take_wait()
        except Exception:
            failed("redis.given")

    def reached(self, connection: Any) -> None:
        """It is sent on this connection, of one of several servers."""
        self.connections = (*self.connections, connection)

    def _name_server(self) -> None:
        """Say which of several servers answered."""
        connections, self.connections = self.connections, ()
        # What has a key is answered by one server, the last after redirections; a pipeline may be by several.
        redirected = self.command.keys > 0 and not self.command.parts
        database = server_of(self.operation.database, connections, redirected=redirected)
        self.operation.database = database
        self.prepared = span.prepare(self.command, database)
        if self.started is not None and self.started.span is not None:
            self.started.span.set_attributes(self.prepared.attributes)

    def returned(self, reply: Any) -> None:
        """It is over, and this came back. Never raises."""
        duration = perf_counter() - self.began
        command = self.command
        try:
            if command.collection:
                self.operation.rows = items(command, reply)
            if (command.effect or command.parts) and not self.transformed and not self.local:
                self.looks = looks(command, reply)
        except Exception:  # what an application makes of replies may be anything
            failed("redis.returned")
        self._end(duration)

    def raised(self, error: BaseException) -> None:
        """It is over, and this was raised. Never raises."""
        duration = perf_counter() - self.began
        try:
            if not was_cancelled(error) and not was_handled(error, sys._getframe(1)):
                self.operation.error_type, self.operation.error_code = error_of(error)
        except Exception:
            failed("redis.raised")
        self._end(duration)

    def _end(self, duration: float) -> None:
        """Leave it with the unit of work, to be told with others, or tell it. Never raises."""
        self.over = True
        if self.local and (self.started is None or self.started.span is None):
            return  # it is no call of a database
        operation = self.operation
        operation.duration = duration
        operation.end_ns = operation.start_ns + int(duration * 1e9)
        unit = self.unit
        try:
            if self.connections:
                self._name_server()
            kept = unit is not None and unit.keep(self)
        except Exception:  # no thread can be started any more: nobody would tell it later
            failed("redis.end")
            kept = False
        if not kept:
            self.tell()

    def tell(self) -> None:
        """Publish it and make its span. Never raises."""
        try:
            (operation,) = _complete((self,))
            self._told(bus.observe(operation))
        except Exception:
            failed("redis.tell")

    @staticmethod
    def tell_all(untold: Sequence[Running]) -> None:
        """The same for several of one local root: step by step, which costs half of one after the other."""
        try:
            operations = _complete(untold)
            verdicts = bus.observe_all(operations) or (None,) * len(untold)
        except Exception:
            failed("redis.tell_all")
            for each in untold:
                each.tell()
            return
        for each, verdict in zip(untold, verdicts, strict=True):
            try:
                each._told(verdict)
            except Exception:  # noqa: PERF203 - the others are told all the same
                failed("redis.tell_all")

    def _told(self, verdict: Verdict | None) -> None:
        assert self.started is not None
        span.emit(self.started, self.operation, verdict, self.prepared)
        if self.looks:
            count(self.looks, self.operation)

    def add(self, started: span.Started) -> None:
        """Add to what its span begins with what hardly any other has: the whole command, and attempts that failed."""
        if self.text:
            started.extra = {**started.extra, semconv.DB_QUERY_TEXT: self.text}
        # Attempts failed before; the last one that failed, where all did, is the error itself.
        retries = self.failures - (self.operation.error_type is not None)
        if retries > 0 and started.span is not None:
            started.span.set_attribute(semconv.QUERY_RETRIES, retries)
        elif retries > 0:
            started.extra = {**started.extra, semconv.QUERY_RETRIES: retries}


def _complete(untold: Sequence[Running]) -> list[Operation]:
    """Start the spans that were left to be started later, and put on the records what is known by now.

    Settings and parents are asked once for all that share them.
    """
    parameters = config.current().parameters != "off"
    measuring = measuring_themselves()
    operations = []
    later: span.Started | None = None
    for each in untold:
        operation = each.operation
        started = each.started
        if started is None:
            parent = each.parent
            assert parent is not None
            if later is None or later.parent is not parent or later.pipeline is not each.pipeline:
                later = each.pipeline.start_later(parent)
                context = each.pipeline.contexts(later)
            started = later
            operation.context = context()
        elif started.context is not None:  # else it is not made, or was started here before
            operation.context = started.context
        if each.text or each.failures:
            started = copy(started)
            each.add(started)
        each.started = started
        operation.parent = started.parent
        operation.origin = started.origin
        if parameters:
            operation.parameters = each.command.parameters
        if measuring and operation.database.system in measuring:
            operation.measured = True
        operations.append(operation)
    return operations
