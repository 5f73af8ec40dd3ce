"""redis-py and valkey-py: every command and pipeline, sync and async, single servers, sentinels and clusters.

The methods that send are wrapped on their classes, so that clients are watched that exist already. A command is one
span, a pipeline or transaction one too; an empty pipeline sends nothing and gets none. Replies are counted, never kept.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from asyncio import _get_running_loop
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import bus, config, scope, semconv, span
from dbsight.instrument import callsite, redis_server
from dbsight.instrument.pools.redis_watch import PoolWatch
from dbsight.instrument.redis_clients import WATCHING, database_of, error_of, measures_itself, queued, running
from dbsight.instrument.redis_replies import count, items, looks
from dbsight.model import Operation
from dbsight.safety import failed
from dbsight.statement.redis import read_command, read_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext, TracerProvider

    from dbsight.instrument.redis_replies import Look
    from dbsight.model import CallSite, Database, Verdict
    from dbsight.statement.redis import Command

    Wrapper = Callable[["Watcher", Any], Any]

_UPSTREAM: Final = "opentelemetry.instrumentation.redis"
_TEXT_LIMIT: Final = 8_192


class Running:
    """One command or pipeline between its call and its reply, and until it is told.

    ``redis_clients.Sending`` says what others see. Not slots: most of it stands on the class nearly always.

    Attributes:
        watcher: Who saw it.
        command: What was sent.
        database: Where to.
        started: Where its span belongs; None for one that can be started later.
        parent: Of such a one.
        unit: The unit of work that keeps such a one until it is told.
        start_ns: When it began, ns since the epoch.
        began: The same on ``perf_counter``, s.
        duration: s until the reply.
        thread: Identity of the thread.
        allowed: Rules that are allowed.
        batch: Commands of a pipeline of several.
        text: The whole command, where the settings ask for it.
        rows: Items of the reply.
        looks: What the reply tells of caches.
    """

    watcher: Watcher
    command: Command
    database: Database
    started: span.Started | None = None
    parent: SpanContext | None = None
    unit: Any = None
    start_ns: int
    began: float
    duration: float
    thread: int
    allowed: frozenset[str]
    call_site: CallSite | None = None
    pool: str | None = None
    pool_wait = 0.0
    batch = 0
    text = ""
    rows: int | None = None
    looks: Sequence[Look] = ()
    error_type: str | None = None
    error_code: str | None = None
    asynchronous = False
    blocked_loop = False
    keeps = False
    failures = 0
    over = False

    def replied(self, reply: Any) -> None:
        """It is over, and this came back. Never raises."""
        self.duration = perf_counter() - self.began
        self.over = True
        command = self.command
        try:
            if command.collection:
                self.rows = items(command, reply)
            if command.effect or command.parts:
                self.looks = looks(command, reply)
        except Exception:  # what an application makes of replies may be anything
            failed("redis.replied")
        self._end()

    def raised(self, error: BaseException) -> None:
        """It is over, and this was raised. Never raises."""
        self.duration = perf_counter() - self.began
        self.over = True
        try:
            self.error_type, self.error_code = error_of(error)
        except Exception:
            failed("redis.raised")
        self._end()

    def _end(self) -> None:
        """Leave it with the unit of work, to be told with others, or tell it. Never raises."""
        unit = self.unit
        try:
            kept = unit is not None and unit.keep(self)
        except Exception:  # no thread can be started any more: nobody would tell it later
            failed("redis.end")
            kept = False
        if not kept:
            self.tell()

    def tell(self) -> None:
        """Publish it and make its span. Never raises."""
        try:
            started = self._started()
            operation = self._operation(started)
            self._told(started, operation, bus.observe(operation))
        except Exception:
            failed("redis.tell")

    @staticmethod
    def tell_all(untold: Sequence[Running]) -> None:
        """The same for several of one local root: step by step, which costs half of one after the other."""
        try:
            started = [each._started() for each in untold]
            operations = [each._operation(started[index]) for index, each in enumerate(untold)]
            verdicts = bus.observe_all(operations)
        except Exception:
            failed("redis.tell_all")
            for each in untold:
                each.tell()
            return
        for index, each in enumerate(untold):
            try:
                each._told(started[index], operations[index], verdicts[index] if verdicts else None)
            except Exception:  # noqa: PERF203 - the others are told all the same
                failed("redis.tell_all")

    def _started(self) -> span.Started:
        started = self.started
        if started is None:
            assert self.parent is not None
            started = self.watcher.pipeline.start_later(self.parent)
        if self.text:
            started.extra = {**started.extra, semconv.DB_QUERY_TEXT: self.text}
        retries = self.failures - (self.error_type is not None)
        if retries > 0:  # attempts failed before; the last one that failed, where all did, is the error itself
            if started.span is not None:
                started.span.set_attribute(semconv.QUERY_RETRIES, retries)
            else:
                started.extra = {**started.extra, semconv.QUERY_RETRIES: retries}
        return started

    def _operation(self, started: span.Started) -> Operation:
        operation = Operation(
            self.command,
            self.database,
            self.start_ns,
            self.duration,
            end_ns=self.start_ns + int(self.duration * 1e9),
            rows=self.rows,
            batch_size=self.batch,
            error_type=self.error_type,
            error_code=self.error_code,
            call_site=self.call_site,
            context=started.context,
            parent=started.parent,
            origin=started.origin,
            pool_wait=self.pool_wait,
            pool=self.pool,
            thread=self.thread,
            allowed=self.allowed,
            asynchronous=self.asynchronous,
            blocked_loop=self.blocked_loop,
        )
        if config.current().parameters != "off":
            operation.parameters = self.command.parameters
        if measures_itself(self.database.system):
            operation.measured = True
        return operation

    def _told(self, started: span.Started, operation: Operation, verdict: Verdict | None) -> None:
        span.emit(started, operation, verdict, span.prepare(self.command, self.database))
        if self.looks:
            count(self.looks, operation)


class Watcher:
    """What the wrappers share.

    Args:
        system: ``redis`` or ``valkey``.
        provider: Where spans go, None for the global one.
    """

    def __init__(self, system: str, provider: TracerProvider | None) -> None:
        self.system = system
        self.pipeline = span.Pipeline(provider)

    def begin(self, client: Any, args: Any, *, asynchronous: bool, keeps: bool = False) -> Running | None:
        """A command is about to be sent; None when nobody watches it. Never raises.

        Args:
            client: Whose.
            args: The command and its arguments.
            asynchronous: It is awaited.
            keeps: It keeps its connection after the reply.
        """
        try:
            if not bus.listeners and not self.pipeline.live():
                return None
            return self._start(client, read_command(args, self.system), 0, args, asynchronous, keeps)
        except Exception:
            failed("redis.begin")
            return None

    def begin_pipeline(self, pipe: Any, *, asynchronous: bool) -> Running | None:
        """A pipeline is about to be sent; None when it is empty, or when nobody watches. Never raises."""
        try:
            if not bus.listeners and not self.pipeline.live():
                return None
            commands, transaction = queued(pipe)
            if not commands and not (transaction and getattr(pipe, "watching", False)):
                return None
            command = read_pipeline(commands, self.system, transaction=transaction)
            batch = len(commands) if len(commands) > 1 else 0
            return self._start(pipe, command, batch, None, asynchronous, False)
        except Exception:
            failed("redis.begin_pipeline")
            return None

    @staticmethod
    def _unseen(current: Context) -> bool:
        if current.get(_SUPPRESS_INSTRUMENTATION_KEY) or current.get("suppress_instrumentation"):
            return True
        upstream = sys.modules.get(_UPSTREAM)  # another distribution switched it on: its span is enriched
        return upstream is not None and upstream.RedisInstrumentor().is_instrumented_by_opentelemetry

    def _start(
        self,
        client: Any,
        command: Command,
        batch: int,
        raw: Any,
        asynchronous: bool,
        keeps: bool,
    ) -> Running | None:
        sending = Running()
        sending.watcher = self
        sending.command = command
        sending.database = database_of(client, self.system)
        sending.start_ns = time_ns()
        current = span.current_context()
        unit = scope.window.get()
        place = unit.place if unit is not None else None
        # In the same context as the latest, everything is as it was then; to find it out costs as much as all the rest.
        if place is not None and place[0] is current and place[1] is self:
            sending.unit = unit
            sending.parent = place[2]
        elif self._unseen(current):
            return None
        else:
            self._place(sending, current, unit)
        settings = config.current()
        sending.thread = get_ident()
        sending.allowed = scope.allowed()
        if batch:
            sending.batch = batch
        if settings.code_location == "on":
            sending.call_site = callsite.find_near(span.prepare(command, sending.database))
        if asynchronous:
            sending.asynchronous = True
        elif _get_running_loop() is not None:
            sending.blocked_loop = True
        if raw is not None and settings.query_text == "raw":
            sending.text = " ".join(map(str, raw))[:_TEXT_LIMIT]
        if keeps:
            sending.keeps = True
        running.set(sending)
        sending.began = perf_counter()
        return sending

    def _place(self, sending: Running, current: Context, unit: Any) -> None:
        """Find out where its span belongs, and whether it can wait for the end of the unit of work."""
        parent = self.pipeline.parent_of_later(current) if unit is not None else None
        if parent is not None and parent.trace_id == unit.trace_id:
            sending.unit = unit
            sending.parent = parent
            if not unit.sealed:
                unit.place = (current, self, parent)
            return
        prepared = span.prepare(sending.command, sending.database)
        sending.started = self.pipeline.start(prepared.name, prepared.known(sending.command), sending.start_ns, current)


# -- The wrappers -------------------------------------------------------------------------------------------------
def _command(watcher: Watcher, send: Any) -> Any:
    keeps = send.__name__ in WATCHING

    @functools.wraps(send)
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        sending = watcher.begin(self, args, asynchronous=False, keeps=keeps)
        if sending is None:
            return send(self, *args, **options)
        try:
            reply = send(self, *args, **options)
        except BaseException as error:
            sending.raised(error)
            raise
        sending.replied(reply)
        return reply

    return execute_command


def _async_command(watcher: Watcher, send: Any) -> Any:
    keeps = send.__name__ in WATCHING

    @functools.wraps(send)
    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        sending = watcher.begin(self, args, asynchronous=True, keeps=keeps)
        if sending is None:
            return await send(self, *args, **options)
        try:
            reply = await send(self, *args, **options)
        except BaseException as error:
            sending.raised(error)
            raise
        sending.replied(reply)
        return reply

    return execute_command


def _pipeline(watcher: Watcher, send: Any) -> Any:
    @functools.wraps(send)
    def execute(self: Any, *args: Any, **options: Any) -> Any:
        sending = watcher.begin_pipeline(self, asynchronous=False)
        if sending is None:
            return send(self, *args, **options)
        try:
            reply = send(self, *args, **options)
        except BaseException as error:
            sending.raised(error)
            raise
        sending.replied(reply)
        return reply

    return execute


def _async_pipeline(watcher: Watcher, send: Any) -> Any:
    @functools.wraps(send)
    async def execute(self: Any, *args: Any, **options: Any) -> Any:
        sending = watcher.begin_pipeline(self, asynchronous=True)
        if sending is None:
            return await send(self, *args, **options)
        try:
            reply = await send(self, *args, **options)
        except BaseException as error:
            sending.raised(error)
            raise
        sending.replied(reply)
        return reply

    return execute


def _failure(watcher: Watcher, close: Any) -> Any:
    """A connection is closed before the next attempt: count the attempt that failed."""
    # Where it may be told of an error, without one it is no failure but a reconnection that was due.
    always = "error" not in inspect.signature(close).parameters

    @functools.wraps(close)
    def closing(self: Any, *args: Any, **options: Any) -> Any:
        if always or len(args) > 1 or "error" in options:
            sending = running.get()
            if sending is not None and not sending.over:
                sending.failures += 1
        return close(self, *args, **options)

    return closing


_SENDING: Final[tuple[tuple[str, str, str, Wrapper], ...]] = (
    ("client", "Redis", "execute_command", _command),
    ("client", "Pipeline", "immediate_execute_command", _command),
    ("client", "Pipeline", "execute", _pipeline),
    ("client", "PubSub", "execute_command", _command),
    ("cluster", "RedisCluster", "execute_command", _command),
    ("cluster", "ClusterPipeline", "execute", _pipeline),
    ("cluster", "TransactionStrategy", "_immediate_execute_command", _command),
    ("cluster", "ClusterPubSub", "execute_command", _command),
    ("asyncio.client", "Redis", "execute_command", _async_command),
    ("asyncio.client", "Pipeline", "immediate_execute_command", _async_command),
    ("asyncio.client", "Pipeline", "execute", _async_pipeline),
    ("asyncio.client", "PubSub", "execute_command", _async_command),
    ("asyncio.cluster", "RedisCluster", "execute_command", _async_command),
    ("asyncio.cluster", "ClusterPipeline", "execute", _async_pipeline),
    ("asyncio.cluster", "TransactionStrategy", "_immediate_execute_command", _async_command),
    ("asyncio.cluster", "ClusterPubSub", "execute_command", _async_command),
    *(
        (module, name, method, _failure)
        for module in ("client", "asyncio.client")
        for name in ("Redis", "Pipeline")
        for method in (
            "_close_connection",  # redis-py 6 and newer
            "_disconnect_raise",  # redis-py 5
            "_disconnect_raise_on_watching",
            "_disconnect_reset_raise",
            "_disconnect_raise_reset",
            "_disconnect_reset_raise_on_watching",
        )
    ),
)
"""Module, class and method of everything that sends, with what it becomes; where a release has it."""


class _ClientInstrumentor(BaseInstrumentor):
    """The common part; a base of its own, because an instrumentor is one object a class, inherited by subclasses."""

    package = ""
    requirement = ""
    _wrapped: tuple[tuple[Any, str, Any], ...] = ()
    _pools: PoolWatch | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """The versions that this works with."""
        return (self.requirement,)

    def _instrument(self, **kwargs: Any) -> None:
        watcher = Watcher(self.package, kwargs.get("tracer_provider"))
        wrapped = []
        for module, name, method, wrap in _SENDING:
            try:
                owner = getattr(importlib.import_module(f"{self.package}.{module}"), self._named(name), None)
            except ImportError:
                continue
            # Its own method alone: one that it inherits is wrapped where it is.
            original = vars(owner).get(method) if owner is not None else None
            if original is not None:
                setattr(owner, method, wrap(watcher, original))
                wrapped.append((owner, method, original))
        self._wrapped = tuple(wrapped)
        self._pools = PoolWatch(self.package, self._named)
        self._pools.observe(kwargs.get("meter_provider"))
        redis_server.poll(kwargs.get("meter_provider"))

    @staticmethod
    def _named(name: str) -> str:
        return name

    def _uninstrument(self, **kwargs: Any) -> None:
        for owner, method, original in reversed(self._wrapped):
            setattr(owner, method, original)
        self._wrapped = ()
        if self._pools is not None:
            self._pools.stop()
            self._pools = None
        redis_server.stop()


class RedisInstrumentor(_ClientInstrumentor):
    """Watches every redis-py client of the process; see ``opentelemetry.instrumentation`` for the interface.

    ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one.
    """

    package = "redis"
    requirement = "redis >= 5"


class ValkeyInstrumentor(_ClientInstrumentor):
    """The same for valkey-py."""

    package = "valkey"
    requirement = "valkey >= 6"

    @staticmethod
    def _named(name: str) -> str:
        return name.replace("Redis", "Valkey")
