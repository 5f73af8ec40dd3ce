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

from dbsight import bus, config, scope, span
from dbsight.instrument import callsite, redis_server
from dbsight.instrument.pools.redis_watch import PoolWatch
from dbsight.instrument.redis_clients import WATCHING, database_of, queued, running
from dbsight.instrument.redis_running import Running
from dbsight.model import Operation
from dbsight.safety import failed
from dbsight.statement.redis import read_command, read_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.context import Context
    from opentelemetry.trace import TracerProvider

    from dbsight.statement.redis_command import Command

    Wrapper = Callable[["Watcher", Any], Any]

_UPSTREAM: Final = "opentelemetry.instrumentation.redis"
_TEXT_LIMIT: Final = 8_192


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
        sending.pipeline = self.pipeline
        sending.command = command
        database = database_of(client, self.system)
        sending.prepared = prepared = span.prepare(command, database)
        if database.several:
            kept = getattr(client, "connection", None) or getattr(client, "_transaction_connection", None)
            sending.connections = (kept,) if kept is not None else ()
        sending.operation = operation = Operation(command, database, time_ns(), 0.0)
        current = scope.current_context()
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
        operation.thread = get_ident()
        operation.allowed = scope.allowed()
        if batch:
            operation.batch_size = batch
        if settings.code_location == "on":
            operation.call_site = callsite.find_near(prepared)
        if asynchronous:
            operation.asynchronous = True
        elif _get_running_loop() is not None:
            operation.blocked_loop = True
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
        prepared = sending.prepared
        known = prepared.known(sending.command)
        sending.started = self.pipeline.start(prepared.name, known, sending.operation.start_ns, current)


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
