"""What a connection pool is to us: its state, which it is asked for, and what happens in it, which it tells.

A pool library's file subclasses ``Pool`` and answers for the state; around the library's own functions it calls

    request = pool.ask()                       before a connection is asked for
    held = pool.got(request, connection)       it was given one            } one of
    pool.gave_up(request, timed_out=…)         it was not                  } these
    pool.gave_back(connection)                 it is in the pool again
    pool.connecting() / connected(…)           around making a connection
    pool.closed(connection, reason, age)       one is gone

None of them raises. ``Pool`` keeps no reference to the library's object but a weak one, and is itself kept by it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import ContextVar
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from opentelemetry.trace import get_current_span

from dbsight import bus, config, scope
from dbsight.instrument import callsite
from dbsight.instrument.pools import registry
from dbsight.model import Holder, PoolEvent
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.trace import SpanContext
    from typing_extensions import Self

    from dbsight.model import CallSite, Operation

WAITED: Final = 0.001
"""s; a request that took longer at an exhausted pool has waited. A pool with a connection left serves within 5 µs."""

MAX_HOLDERS: Final = 20
"""Holders that a snapshot or a timeout names."""

_MAX_HELD = 10_000
_WRITES = frozenset({"insert", "update", "delete", "ddl"})


class Request:
    """A thread or task that asks for a connection.

    Attributes:
        began: On ``perf_counter``.
        creating: s of it in which a connection was made for it, which is no waiting.
        pool: Whose.
    """

    __slots__ = ("__weakref__", "began", "creating", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.creating = 0.0
        self.began = perf_counter()


class Held:
    """A connection that is out.

    Attributes:
        pool: Whose.
        began: When it was taken, on ``perf_counter``.
        site: Where in the application.
        wait: s that were waited for it at an exhausted pool; taken away by the first query, on whose span it stands.
        untold: s until it was given out, until an event told it; None from then on.
        requester: Thread or task.
        connection: What identifies the connection to whoever runs queries on it, 0 when that is nobody of ours.
        session: It was taken by an ORM session.
        overdue: It was reported as never given back.
        last: When its latest query ended, on ``perf_counter``.
        busy: s of queries on it.
        queries: How many.
        writes: How many of these wrote.
        failures: How many failed.
        transaction: The one that is open on it; ``transactions.py``'s.
    """

    __slots__ = (
        "began",
        "busy",
        "connection",
        "failures",
        "last",
        "overdue",
        "pool",
        "queries",
        "requester",
        "session",
        "site",
        "transaction",
        "untold",
        "wait",
        "writes",
    )

    def __init__(self, pool: Pool, began: float, wait: float, site: CallSite | None, connection: int) -> None:
        self.pool = pool
        self.began = self.last = began
        self.wait = wait
        self.untold: float | None = wait
        self.site = site
        self.connection = connection
        self.requester = 0
        self.session = False
        self.overdue = False
        self.busy = 0.0
        self.queries = 0
        self.writes = 0
        self.failures = 0
        self.transaction: Any = None

    def ran(self, operation: Operation, last: float) -> None:
        """A query on it is over: add it up, and tell the operation its pool and what it waited for the connection.

        Args:
            operation: Not yet published.
            last: When its last driver call returned, on ``perf_counter``.
        """
        operation.pool = self.pool.name
        if self.wait:
            operation.pool_wait = self.take_wait()
        self.last = last
        self.busy += operation.duration
        kind = operation.statement.kind
        if kind != "transaction":
            self.queries += 1
        if kind in _WRITES:
            self.writes += 1
        if operation.error_type is not None:
            self.failures += 1

    def take_wait(self) -> float:
        """What the first query after the checkout waited for its connection, s; 0 when it did not."""
        wait, self.wait = self.wait, 0.0
        return wait

    def holder(self, now: float) -> Holder:
        """As a record."""
        return Holder(self.site, now - self.began, now - self.last, self.queries, self.session)


held_by_connection: dict[int, Held] = {}
"""Connections that are out, by what identifies them to whoever runs queries on them."""

asking: ContextVar[Request | None] = ContextVar("dbsight_pool_request", default=None)
"""What the current thread or task asks a pool for; ContextVars follow greenlets."""


class Pool:
    """One pool of a pool library.

    Args:
        pool: The library's object; a weak reference is kept.
        name: ``db.client.connection.pool.name``: the target, ``host:port/namespace``.
        system: ``db.system.name``.
        configuration: What two pools that could be one have in common; hashed, never exported as it is.
        site: Where it was made; found by default.
        opened: Connections that it has already, because it was made before it was watched.
        asynchronous: Tasks use it.
        again: It takes the place of another without anybody having made it.

    Attributes:
        library: Name of the library.
        held: The connections that are out, by identity.
        requests: Those who wait.
        counts: Connections made and closed; outlives the pool.
    """

    library: ClassVar[str] = ""

    __slots__ = (
        "__weakref__",
        "_asynchronous",
        "_loop",
        "_reference",
        "configuration",
        "counts",
        "held",
        "kind",
        "name",
        "requests",
        "site",
        "system",
        "touched",
        "wrong_loop",
    )

    def __init__(
        self,
        pool: Any,
        name: str,
        *,
        system: str,
        configuration: Any = None,
        site: CallSite | None = None,
        opened: int = 0,
        asynchronous: bool = False,
        again: bool = False,
    ) -> None:
        self.name = registry.bounded(name)
        self.kind = type(pool).__name__
        self.system = system
        self.configuration = hash((self.library, self.kind, configuration))
        self.site = site
        self.held: dict[int, Held] = {}
        self.requests: dict[int, Request] = {}
        self.touched = perf_counter()
        self.wrong_loop = 0
        self._asynchronous = asynchronous
        self._loop: ref[Any] | None = None
        self.counts = registry.Counts(self.name, opened)
        counts = self.counts
        self._reference = ref(pool, lambda _: registry.collected(counts))
        registry.add(self, again=again)

    # -- The state: what the library's object is asked for -------------------------------------------------------

    @property
    def pool(self) -> Any:
        """The library's object, None once it is gone."""
        return self._reference()

    def used(self) -> int:
        """Connections that are out."""
        return len(self.held)

    def idle(self) -> int:
        """Open connections that wait in the pool."""
        return 0

    def max(self) -> int | None:
        """Connections that it may open at most, None for no limit."""
        return None

    def idle_max(self) -> int | None:
        """Connections that it keeps open at most, None for no limit."""
        return None

    def idle_min(self) -> int:
        """Connections that it keeps open at least; 0 where the library has no such thing."""
        return 0

    def overflow(self) -> int:
        """Open connections beyond those that it keeps."""
        return 0

    def pending(self) -> int:
        """Requests that wait for a connection."""
        return len(self.requests)

    def exhausted(self) -> bool:
        """Whether all connections that it may have are out."""
        limit = self.max()
        return limit is not None and self.used() >= limit

    def clients(self) -> int:
        """Engines or clients that use it."""
        return 1

    def retired(self) -> bool:
        """Whether another pool took its place, and it only waits for its last connections to come back."""
        return False

    def blocks_loop(self) -> bool:
        """Whether it is used by tasks but waits as threads do, which stops their event loop."""
        return False

    def loop_id(self) -> int | None:
        """Identity of the event loop that its connections belong to, None for none."""
        loop = self._loop() if self._loop is not None else None
        return id(loop) if loop is not None else None

    # -- What happens ---------------------------------------------------------------------------------------------

    def ask(self) -> Request:
        """A connection is asked for."""
        request = Request(self)
        self.requests[id(request)] = request
        return request

    def got(self, request: Request, connection: Any, key: int = 0) -> Held | None:
        """A connection was given out.

        Args:
            request: What ``ask`` gave.
            connection: The object that will be given back; its identity is remembered.
            key: Identity under which queries on it are reported, 0 when they are not by us.
        """
        now = perf_counter()
        self.requests.pop(id(request), None)
        try:
            return self._got(request, id(connection), key, now)
        except Exception:
            failed("pools.got")
            return None

    def _got(self, request: Request, identity: int, key: int, now: float) -> Held:
        wait = now - request.began - request.creating
        site = callsite.find(sys._getframe(2)) if config.current().code_location != "off" else None
        held = Held(self, now, max(0.0, wait), site, key)
        if len(self.held) < _MAX_HELD:
            self.held[identity] = held
        if key:
            held_by_connection[key] = held
        if self._asynchronous:
            self._look_at_loop(held)
        else:
            held.requester = threading.get_ident()
        if wait < WAITED or not self.exhausted():
            held.wait = 0.0  # connections were left: it was the machine that was busy, or one was being made
        else:
            held.untold = None
            parent, allowed = current_parent(), scope.allowed()
            self._tell("checkout", wait, site, parent=parent, allowed=allowed, requester=held.requester)
        return held

    def _look_at_loop(self, held: Held) -> None:
        loop = asyncio._get_running_loop()
        if loop is None:
            return
        task = asyncio.current_task(loop)
        held.requester = hash(task.get_name()) if task is not None else 0
        if self._loop is None:
            self._loop = ref(loop)
        elif self._loop() is not loop:
            self.wrong_loop += 1

    def gave_up(self, request: Request, *, timed_out: bool) -> None:
        """No connection was given out; when the time was over, an event says who holds them."""
        waited = perf_counter() - request.began - request.creating
        self.requests.pop(id(request), None)
        if timed_out:
            self._timed_out(waited)

    @guard
    def _timed_out(self, waited: float) -> None:
        now = perf_counter()
        held = list(self.held.values())  # one step: other threads come and go
        held.sort(key=lambda each: each.began)
        self._tell(
            "timeout",
            waited,
            callsite.find(sys._getframe(2)),
            parent=current_parent(),
            allowed=scope.allowed(),
            holders=tuple((each.site, now - each.began) for each in held[:MAX_HOLDERS]),
            requester=threading.get_ident(),
        )

    def gave_back(self, connection: Any) -> None:
        """A connection is in the pool again; one that was taken before it was watched is ignored."""
        held = self.held.pop(id(connection), None)
        if held is None:
            return
        self.touched = now = perf_counter()
        if held.transaction is not None:
            held.transaction.abandoned(held)
        if held.connection:
            held_by_connection.pop(held.connection, None)
        bus.observe(
            PoolEvent(
                "checkin",
                self.name,
                time_ns(),
                now - held.began,
                waited=held.untold,
                requester=held.requester,
                call_site=held.site,
            )
        )

    def lost(self, identity: int, reason: str = "collected") -> None:
        """A connection that is out, by its identity, was found by the garbage collector: nobody gave it back."""
        held = self.held.get(identity)
        if held is None or held.overdue:
            return
        held.overdue = True
        self._tell(
            "leak",
            perf_counter() - held.began,
            held.site,
            reason=reason,
            requester=held.requester,
            session=held.session,
        )

    def connecting(self) -> float:
        """A connection is about to be made: whoever asked does not wait meanwhile. Gives ``connected`` its begin."""
        request = asking.get()
        if request is not None:
            request.pool.requests.pop(id(request), None)
        return perf_counter()

    def connected(self, began: float, error: BaseException | None = None, *, cancelled: bool = False) -> None:
        """A connection was made, could not be made (``error``), or was given up while it was made (``cancelled``)."""
        seconds = perf_counter() - began
        request = asking.get()
        if request is not None:
            request.creating += seconds
            if error is None and not cancelled:
                request.pool.requests[id(request)] = request
        if error is not None:
            kind = type(error)
            self._tell("failure", seconds, None, error_type=f"{kind.__module__}.{kind.__qualname__}")
        elif not cancelled:
            registry.opened(self.counts)
            if self._asynchronous and self.counts.opened - self.counts.gone == 1:
                loop = asyncio._get_running_loop()
                self._loop = ref(loop) if loop is not None else None
            self._tell("create", seconds, None)

    def closed(self, reason: str, age: float = 0.0) -> None:
        """A connection is gone; ``age`` in s."""
        registry.gone(self.counts)
        self._tell("close", age, None, reason=reason)

    def _tell(self, kind: Any, seconds: float, site: CallSite | None, **more: Any) -> None:
        bus.observe(PoolEvent(kind, self.name, time_ns(), seconds, call_site=site, **more))


def current_parent() -> SpanContext | None:
    """The span that something happens in: the current one, or the root drawn for work outside spans."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        return context
    root = scope.root.get()
    return root.context if root is not None and not root.closed else None


class Asking:
    """Around a library's function that gives out a connection, sync or async: ``with Asking(pool) as asked: …``.

    ``asked.got(connection)`` is called once there is one; leaving without it means that there was none.

    Args:
        pool: Whose function it is.
        timeouts: Exceptions by which it says that the time was over.
    """

    __slots__ = ("_pool", "_request", "_served", "_timeouts", "_token")

    def __init__(self, pool: Pool, *timeouts: type[BaseException]) -> None:
        self._pool = pool
        self._timeouts = timeouts
        self._served = False

    def __enter__(self) -> Self:
        self._request = self._pool.ask()
        self._token = asking.set(self._request)
        return self

    def got(self, connection: Any) -> Held | None:
        """It was given a connection."""
        self._served = True
        return self._pool.got(self._request, connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asking.reset(self._token)
        if not self._served:
            self._pool.gave_up(self._request, timed_out=kind is not None and issubclass(kind, self._timeouts))


class Making:
    """Around a library's function that makes a connection, sync or async."""

    __slots__ = ("_began", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Self:
        self._began = self._pool.connecting()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = error if isinstance(error, Exception) else None
        self._pool.connected(self._began, failure, cancelled=error is not None and failure is None)
