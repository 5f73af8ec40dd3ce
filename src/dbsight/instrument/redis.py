"""redis-py and valkey-py: every command and pipeline, sync and async, single servers, sentinels and clusters.

The methods that send are wrapped on their classes, so that clients are watched that exist already. A command is one
span, a pipeline or transaction one too; an empty pipeline sends nothing and gets none. Replies are counted, never kept.
"""

from __future__ import annotations

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
from dbsight.instrument.redis_clients import LOOK_UPS, WATCHING, database_of, queued, running, transforms
from dbsight.instrument.redis_running import Running
from dbsight.instrument.wrap import Patches
from dbsight.model import Operation
from dbsight.statement.redis.reader import read_command, read_pipeline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Hook
    from dbsight.statement.redis.command import Command

_UPSTREAM: Final = "opentelemetry.instrumentation.redis"
_TEXT_LIMIT: Final = 8_192


class Watcher:
    """The hooks of one instrumentor.

    Args:
        system: ``redis`` or ``valkey``.
        provider: Where spans go, None for the global one.
    """

    def __init__(self, system: str, provider: TracerProvider | None) -> None:
        self.system = system
        self.pipeline = span.Pipeline(provider)

    def command(self, *, asynchronous: bool, keeps: bool = False) -> Hook:
        """The hook around a method that sends one command.

        Args:
            asynchronous: It is awaited.
            keeps: It keeps its connection after the reply.
        """
        live, start, system = self.pipeline.live, self._start, self.system

        def begin(client: Any, args: Any) -> Running | None:
            if not args or not (bus.listeners or live()):
                return None
            return start(client, read_command(args, system), 0, args, asynchronous, keeps)

        return begin

    def batch(self, *, asynchronous: bool) -> Hook:
        """The hook around a method that sends a pipeline; an empty one sends nothing."""

        def begin(pipe: Any) -> Running | None:
            if not (bus.listeners or self.pipeline.live()):
                return None
            commands, transaction = queued(pipe)
            if not commands and not (transaction and getattr(pipe, "watching", False)):
                return None
            command = read_pipeline(commands, self.system, transaction=transaction)
            batch = len(commands) if len(commands) > 1 else 0
            return self._start(pipe, command, batch, None, asynchronous, False)

        return begin

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
        if command.effect in LOOK_UPS or command.parts:
            sending.transformed = transforms(client, command)
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


def _attempt_failed(client: Any) -> None:
    """A connection is closed before the next attempt: count the attempt that failed."""
    sending = running.get()
    if sending is not None and not sending.over:
        sending.failures += 1


def _closed_for(client: Any, connection: Any, error: Any) -> None:
    """The same where the error is passed on; without one it is no failure but a reconnection that was due."""
    if error is not None:
        _attempt_failed(client)


_COMMANDS: Final = (
    ("client", "Redis", "execute_command"),
    ("client", "Pipeline", "immediate_execute_command"),
    ("client", "PubSub", "execute_command"),
    ("cluster", "RedisCluster", "execute_command"),
    ("cluster", "TransactionStrategy", "_immediate_execute_command"),
    ("cluster", "ClusterPubSub", "execute_command"),
)
"""Module, class and method of everything that sends a command; asynchronous ones are called the same."""

_BATCHES: Final = (
    ("client", "Pipeline", "execute"),
    ("cluster", "ClusterPipeline", "execute"),
)
"""The same for what sends a pipeline."""

_CLOSING: Final = tuple(
    ("client", name, method)
    for name in ("Redis", "Pipeline")
    for method in (
        "_close_connection",  # redis-py 6 and newer
        "_disconnect_raise",  # redis-py 5
        "_disconnect_raise_on_watching",
        "_disconnect_reset_raise",
        "_disconnect_raise_reset",
        "_disconnect_reset_raise_on_watching",
    )
)
"""The same for what closes a connection after a failed attempt; where a release has it."""


class _ClientInstrumentor(BaseInstrumentor):
    """The common part; a base of its own, because an instrumentor is one object a class, inherited by subclasses."""

    package = ""
    requirement = ""
    _patches: Patches | None = None
    _pools: PoolWatch | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """The versions that this works with."""
        return (self.requirement,)

    def _instrument(self, **kwargs: Any) -> None:
        watcher = Watcher(self.package, kwargs.get("tracer_provider"))
        patches = self._patches = Patches()
        for asynchronous in (False, True):
            for owner, method in self._methods(_COMMANDS, asynchronous):
                keeps = method in WATCHING
                patches.wrap(owner, method, begin=watcher.command(asynchronous=asynchronous, keeps=keeps))
            for owner, method in self._methods(_BATCHES, asynchronous):
                patches.wrap(owner, method, begin=watcher.batch(asynchronous=asynchronous))
            for owner, method in self._methods(_CLOSING, asynchronous):
                told = "error" in inspect.signature(vars(owner)[method]).parameters
                patches.wrap(owner, method, before=_closed_for if told else _attempt_failed)
        self._pools = PoolWatch(self.package, self._named)
        self._pools.observe(kwargs.get("meter_provider"))
        redis_server.poll(kwargs.get("meter_provider"))

    def _methods(self, methods: Sequence[tuple[str, str, str]], asynchronous: bool) -> Iterator[tuple[Any, str]]:
        """Those that a class of this release defines itself; one that it inherits is wrapped where it is defined."""
        package = f"{self.package}.asyncio" if asynchronous else self.package
        for module, name, method in methods:
            try:
                owner = getattr(importlib.import_module(f"{package}.{module}"), self._named(name), None)
            except ImportError:
                continue
            if owner is not None and method in vars(owner):
                yield owner, method

    @staticmethod
    def _named(name: str) -> str:
        return name

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.undo()
            self._patches = None
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
