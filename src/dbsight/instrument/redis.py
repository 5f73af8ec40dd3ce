"""redis-py and valkey-py: all commands and pipelines, sync and async, single servers, sentinels and clusters.

The methods that send commands are wrapped on their classes, so that existing clients are instrumented, too. Each
command, pipeline or transaction is one span; an empty pipeline has none. Replies are counted, never stored.
"""

from __future__ import annotations

import inspect
import sys
from asyncio import _get_running_loop
from functools import partial
from operator import itemgetter
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import catalog, config, scope, semconv, span
from dbsight.config import process
from dbsight.instrument import callsite, redis_server
from dbsight.instrument.pools.redis_watch import PoolWatch
from dbsight.instrument.redis_call import CommandCall
from dbsight.instrument.redis_clients import LOOK_UPS, PLAIN, WATCHING, database_of, queued, running, transforms
from dbsight.instrument.threads import carry_windows
from dbsight.instrument.wrap import Patches
from dbsight.statement.redis.reader import read_command, read_pipeline

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import ModuleType

    from opentelemetry.trace import TracerProvider

    from dbsight.instrument.wrap import Hook

_UPSTREAM: Final = "opentelemetry.instrumentation.redis"
_TEXT_LIMIT: Final = 8_192
_keys = dict.keys
_new = object.__new__
_window = scope.window.get
_current_context = scope.current_context
_allowed = scope.allowed
_getframe = sys._getframe
_near = callsite.near.get
_FIRST: Final = itemgetter(0)


class Watcher:
    """The hooks of one instrumentor.

    Args:
        system: ``redis`` or ``valkey``.
        provider: The tracer provider, None for the global one.
    """

    def __init__(self, system: str, provider: TracerProvider | None) -> None:
        self.system = system
        self.factory = span.SpanFactory(provider)

    def hook(self, *, asynchronous: bool, keeps: bool = False, batch: bool = False) -> Hook:  # noqa: C901, PLR0915
        """The hook around a method that sends a command, or a pipeline.

        Args:
            asynchronous: Whether it is awaited.
            keeps: Whether it keeps its connection after the reply.
            batch: Whether it sends a pipeline; an empty one sends nothing.
        """
        factory, system = self.factory, self.system

        # One function, with what others do for nearly all commands: each further one costs more than it does.
        def begin(client: Any, args: Any) -> CommandCall | None:  # noqa: C901, PLR0912, PLR0915
            about = client.__dict__
            if batch:
                stack = about.get("command_stack")
                if not stack or type(stack[0]) is not tuple or "_execution_strategy" in about:
                    args, transaction = queued(client)
                    if not args and not (transaction and getattr(client, "watching", False)):
                        return None
                else:  # as there, for all but clusters
                    args = tuple(map(_FIRST, stack))
                    transaction = about.get("is_transaction", about.get("transaction"))
                    transaction = bool(transaction or about.get("explicit_transaction"))
            elif not args:
                return None
            if _UPSTREAM in sys.modules and _is_upstreams():
                return None
            call: CommandCall = _new(CommandCall)
            # The constructor and ``locate`` written out.
            call.factory = factory
            call.rare = call.rows = call.request = call.held = call.size = None
            call.looks = ()
            call.over = False
            call.start_ns = time_ns()
            window = _window()
            if (
                window is not None
                and (place := window.place) is not None
                and place[0] is _current_context()
                and place[1] is factory
            ):
                call.current, _, call.parent = place
                call.queue = window
                if scope.profiling:
                    call.have(profiles=scope.profiles())
            elif not call.is_located(factory):
                return None
            settings = process.in_force or config.current()
            if batch:
                command = read_pipeline(args, system, transaction=transaction)
                size = len(args)
                call.batch_size = size if size > 1 else 0
            else:
                command = read_command(args, system)
                call.batch_size = 0
                if settings.query_text == "raw":
                    call.add({semconv.DB_QUERY_TEXT: " ".join(map(str, args))[:_TEXT_LIMIT]})
            call.statement = command
            try:
                database = about["connection_pool"].__dict__["_dbsight_database"]
            except (AttributeError, KeyError):
                database = database_of(client, system)
            call.database = database
            call.template = template = command.prebuilt.get(database) or span.template_of(command, database)
            if database.several:
                kept = getattr(client, "connection", None) or getattr(client, "_transaction_connection", None)
                if kept is not None:
                    call.reached(kept)
            call.thread = get_ident()
            call.allowed = _allowed()
            site = None
            if settings.code_location == "on":
                depth = template.depth
                if depth:  # ``find_near`` written out, for a place that is known; it counts itself
                    try:
                        at = _getframe(depth - 1)
                        above: Any = at.f_back
                        site = _near((depth, id(at.f_code), at.f_lasti, id(above.f_code), above.f_lasti))
                    except (ValueError, AttributeError):
                        pass  # the stack is not so deep
                if site is None:
                    site = callsite.find_near(template)
            call.call_site = site
            call.asynchronous = asynchronous
            call.blocked_loop = not asynchronous and _get_running_loop() is not None
            call.keeps = keeps
            if command.effect in LOOK_UPS or command.parts:
                callbacks = about.get("response_callbacks")
                # The library itself has none for these. Asked of ``dict``: its class's method takes twice as long.
                if isinstance(callbacks, dict) and not _keys(callbacks).isdisjoint(PLAIN):
                    call.have(transformed=transforms(callbacks, command))
            running.set(call)
            call.began = perf_counter()
            return call

        return begin


def _is_upstreams() -> bool:
    """Whether another distribution enabled upstream's instrumentor, whose spans are enriched."""
    return bool(sys.modules[_UPSTREAM].RedisInstrumentor().is_instrumented_by_opentelemetry)


def _attempt_failed(client: Any) -> None:
    """A connection is closed before the next attempt: count the attempt that failed."""
    sending = running.get()
    if sending is not None and not sending.over:
        sending.have(failures=1 + (sending.noted("failures") or 0))


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
    _patches: Patches | None = None
    _pools: PoolWatch | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """The supported versions."""
        return catalog.requirements(self.package)

    def _instrument(self, **kwargs: Any) -> None:
        watcher = Watcher(self.package, kwargs.get("tracer_provider"))
        patches = self._patches = Patches()
        carry_windows(patches)
        for asynchronous in (False, True):
            for name in ("client", "cluster"):
                module = f"{self.package}.asyncio.{name}" if asynchronous else f"{self.package}.{name}"
                patches.when_imported(module, partial(self._wrap, watcher, patches, name, asynchronous))
        self._pools = PoolWatch(self.package, self._named)
        self._pools.install(kwargs.get("meter_provider"))

    def _wrap(self, watcher: Watcher, patches: Patches, name: str, asynchronous: bool, module: ModuleType) -> None:
        """Wrap the sending methods of an imported module."""
        for owner, method in self._methods(_COMMANDS, name, module):
            keeps = method in WATCHING
            patches.wrap(owner, method, begin=watcher.hook(asynchronous=asynchronous, keeps=keeps))
        for owner, method in self._methods(_BATCHES, name, module):
            patches.wrap(owner, method, begin=watcher.hook(asynchronous=asynchronous, batch=True))
        for owner, method in self._methods(_CLOSING, name, module):
            told = "error" in inspect.signature(vars(owner)[method]).parameters
            patches.wrap(owner, method, before=_closed_for if told else _attempt_failed)

    def _methods(
        self, methods: Sequence[tuple[str, str, str]], name: str, module: ModuleType
    ) -> Iterator[tuple[Any, str]]:
        """Those that a class of this release defines itself; one that it inherits is wrapped where it is defined."""
        for home, kind, method in methods:
            owner = getattr(module, self._named(kind), None) if home == name else None
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
    """Instruments all redis-py clients of the process; see ``opentelemetry.instrumentation`` for the interface.

    ``instrument(tracer_provider=…)`` sends spans to that provider, else to the global one.
    """

    package = "redis"


class ValkeyInstrumentor(_ClientInstrumentor):
    """The same for valkey-py."""

    package = "valkey"

    @staticmethod
    def _named(name: str) -> str:
        return name.replace("Redis", "Valkey")
