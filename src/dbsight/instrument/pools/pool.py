"""What a connection pool is to us: its state, which it is asked for, and what happens in it, which it tells.

A pool library's file subclasses ``Pool`` and answers for the state; around the library's own functions it calls

    held = pool.ask()                          before a connection is asked for
    pool.got(held, connection)                 it was given one            } one of
    pool.gave_up(held, timed_out=…)            it was not                  } these
    pool.gave_back(connection)                 it is in the pool again
    pool.connecting(…) / connected(…)          around making a connection
    pool.closed(connection, reason, age)       one is gone

None of them raises. ``Pool`` keeps no reference to the library's object but a weak one, and is itself kept by it.
"""

from __future__ import annotations

import asyncio
import sys
from threading import get_ident
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from opentelemetry.trace import get_current_span

from dbsight import config, recording, scope
from dbsight.config import process
from dbsight.instrument import callsite
from dbsight.instrument.outcomes import error_type
from dbsight.instrument.pools import registry
from dbsight.instrument.pools.checkout import Checkout, held_by_connection
from dbsight.model import PoolEvent
from dbsight.recording import consumers
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from dbsight.model import CallSite

WAITED: Final = 0.001
"""s; a request that took longer at an exhausted pool, and was served by what another gave back, has waited.

A pool with a connection left serves within 5 µs.
"""

MAX_HOLDERS: Final = 20
"""Holders that a snapshot or a timeout names."""

MAX_HELD: Final = 10_000
"""Connections of one pool that are remembered while they are out."""


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
        again: Whether it replaces another pool without being created by the application.

    Attributes:
        library: Name of the library.
        asynchronous: Tasks use it.
        held: The connections that are out, by identity.
        requests: Those that were made and not served yet.
        making: When each connection that is being made was begun, on ``perf_counter``, and for which library while
                another one is made, as that of a sentinel.
        settling: It was in use when it began to be watched.
        most: The most connections that were out at once.
        counts: Connections made and closed; outlives the pool.
        depth: How deep in the stack the place was that asked last; ``callsite.py``'s.
        moves: How often that changed.
        touched: When a connection was last given back, or else the pool was made, on ``perf_counter``.
    """

    library: ClassVar[str] = ""

    __slots__ = (
        "__weakref__",
        "_loop",
        "_reference",
        "asynchronous",
        "configuration",
        "counts",
        "depth",
        "held",
        "kind",
        "making",
        "most",
        "moves",
        "name",
        "requests",
        "settling",
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
        self.configure(configuration)
        self.site = site
        self.held: dict[int, Checkout] = {}
        self.requests: dict[Checkout, None] = {}
        self.making: dict[float, str] = {}
        self.settling = False
        self.touched = perf_counter()
        self.depth = self.moves = self.most = 0
        self.wrong_loop = 0
        self.asynchronous = asynchronous
        self._loop: ref[Any] | None = None
        self.counts = registry.Counts(self.name, opened)
        counts = self.counts
        self._reference = ref(pool, lambda _: registry.collected(counts))
        registry.add(self, again=again)

    def configure(self, configuration: Any) -> None:
        """Remember what two pools that could be one have in common."""
        self.configuration = hash((self.library, self.kind, configuration))

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
        """Requests that wait for a connection; one for which a connection is being made does not."""
        return sum(not request.making for request in tuple(self.requests))

    def clients(self) -> int:
        """Engines or clients that use it."""
        return 1

    def retired(self) -> bool:
        """Whether another pool took its place, and it only waits for its last connections to come back."""
        return False

    def blocks_loop(self) -> bool:
        """Whether it is used by tasks but waits as threads do, which stops their event loop."""
        return False

    def unknown_back(self, connection: Any) -> None:
        """A connection was given back that was taken before the pool was watched, or before this process forked."""

    def look(self) -> None:
        """Bring up to date when the connections that are out ran their latest query, where only asking tells."""

    def open_now(self) -> int:
        """Open connections, without those that are being made."""
        return self.used() + self.idle()

    def settle(self) -> None:
        """Count what is open, until a moment comes at which nothing is out: it was in use when it was wrapped."""
        if self.settling and not self.making:
            number = self.open_now()
            registry.recount(self, number)
            busy = self.requests or self.making or self.used()
            self.settling = bool(busy) or self.open_now() != number

    def forked(self) -> None:
        """In a forked child: forget what the parent's threads asked for and have taken."""
        self.requests.clear()
        self.making.clear()
        self.held.clear()
        self.most = 0

    def inherited(self) -> int:
        """Open connections that a forked child begins with."""
        return self.used() + self.idle()

    def loop_id(self) -> int | None:
        """Identity of the event loop that its connections belong to, None for none."""
        loop = self._loop() if self._loop is not None else None
        return id(loop) if loop is not None else None

    # -- What happens ---------------------------------------------------------------------------------------------

    def ask(self) -> Checkout:
        """A connection is asked for."""
        return Checkout(self)

    def got(
        self, held: Checkout, connection: Any, key: int = 0, site: CallSite | None = None, thread: int = 0
    ) -> Checkout | None:
        """A connection was given out.

        Args:
            held: What ``ask`` gave.
            connection: The object that will be given back; its identity is remembered.
            key: Identity under which queries on it are reported, 0 when they are not by us.
            site: Where in the application, where that is known already.
            thread: Identity of the thread, where that is known already.
        """
        held.began = held.last = now = perf_counter()
        try:
            out = self.held
            if len(out) < MAX_HELD:
                out[id(connection)] = held
            self.requests.pop(held, None)  # not before: a pool that is counted in this moment must see one of both
            held.served = served = now - held.asked - held.creating
            if site is not None:
                held.site = site
            elif consumers.awake and (process.in_force or config.current()).code_location != "off":
                held.site = callsite.find_near(self)
            allowed = scope.allowed()
            if allowed:
                held.allowed = allowed
            if len(out) > self.most:  # noqa: PLR1730 - without a call
                self.most = len(out)
            if key:
                held.connection = key
                held_by_connection[key] = held
            if self.asynchronous:
                self.look_at_loop(held)
            else:
                held.requester = thread or get_ident()
            if served >= WAITED and not held.suppressed:
                self.waited(held)
        except Exception:
            failed("pools.got")
            return None
        return held

    def waited(self, held: Checkout) -> None:
        """A request waited for its connection: report it if the pool had none left."""
        if self._had_none_left(held):
            held.wait = held.waited = held.served
            about = {"allowed": held.allowed, "requester": held.requester}
            self._tell("checkout", held.served, held.site, parent=current_parent(), **about)

    def _had_none_left(self, held: Checkout) -> bool:
        """Whether a request had to wait until a connection came back, rather than for a busy machine.

        Decided by what was ahead of it when it began: when it ends, several may have come back together.
        """
        limit = self.max()
        if limit is None or self.touched <= held.asked:
            return False
        unseen = max(0, self.used() - len(self.held))  # out since before the pool was watched
        return held.ahead + unseen >= limit

    def look_at_loop(self, held: Checkout) -> None:
        """Note which task has it, and whether that runs on the pool's event loop."""
        loop = asyncio._get_running_loop()
        if loop is None:
            return
        task = asyncio.current_task(loop)
        held.requester = hash(task.get_name()) if task is not None else 0
        if self._loop is None:
            self._loop = ref(loop)
        elif self._loop() is not loop and not held.suppressed:
            self.wrong_loop += 1

    def gave_up(self, held: Checkout, *, timed_out: bool) -> None:
        """No connection was given out; when the time was over, an event says who holds them."""
        waited = perf_counter() - held.asked - held.creating
        self.requests.pop(held, None)
        if timed_out and not held.suppressed:
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
            requester=get_ident(),
        )

    def gave_back(self, connection: Any) -> None:
        """A connection is in the pool again; one that was taken before it was watched is ignored."""
        held = self.held.pop(id(connection), None)
        if held is None:
            self.touched = perf_counter()
            self.unknown_back(connection)
        else:
            self.over(held)

    def over(self, held: Checkout) -> None:
        """A checkout, which is not in ``held`` any more, ended."""
        self.touched = now = perf_counter()
        if held.overdue and not held.collected:
            self._tell("returned", now - held.began, held.site, session=held.session)
        if held.transaction is not None:
            held.transaction.abandoned(held)
        if held.connection:
            held_by_connection.pop(held.connection, None)
        if held.suppressed:
            return
        held.ended = now
        if held.alone:
            recording.record(held, recording.loose)  # it belongs to the pool, not to a unit of work

    def lost(self, identity: int, reason: str = "collected") -> None:
        """A checked-out connection, by its identity, was garbage collected without a check-in."""
        held = self.held.get(identity)
        if held is None or held.suppressed or held.is_meant():
            return
        known = held.overdue
        held.overdue = True
        held.collected = held.collected or reason == "collected"
        if known:
            return
        self._tell(
            "leak",
            perf_counter() - held.began,
            held.site,
            reason=reason,
            requester=held.requester,
            session=held.session,
        )

    def connecting(self, request: Checkout | None) -> float:
        """A connection is about to be opened; not counted as waiting. Returns the start time for ``connected``."""
        if request is not None:
            request.making = True
        began = perf_counter()
        self.making[began] = scope.connecting.get()
        scope.connecting.set(self.library or "pool")
        return began

    def connected(
        self, began: float, error: BaseException | None, request: Checkout | None, *, cancelled: bool = False
    ) -> None:
        """A connection was made, could not be made (``error``), or was given up while it was made (``cancelled``)."""
        seconds = perf_counter() - began
        scope.connecting.set(self.making.pop(began, ""))
        if request is not None:
            request.creating += seconds
            request.early = True
            request.making = False
        if error is not None:
            self._tell_here("failure", seconds, None, error_type=error_type(error))
        elif not cancelled:
            registry.opened(self.counts)
            if self.asynchronous and self.counts.left() == 1:
                loop = asyncio._get_running_loop()
                self._loop = ref(loop) if loop is not None else None
            self._tell_here("create", seconds, None)

    def closed(self, reason: str, age: float = 0.0) -> None:
        """A connection is gone; ``age`` in s."""
        registry.gone(self.counts, reason=reason)
        self._tell_here("close", age, None, reason=reason)

    def _tell_here(self, kind: Any, seconds: float, site: CallSite | None, **more: Any) -> None:
        """Report what no request carries, unless instrumentation is suppressed."""
        if not scope.suppressed():
            self._tell(kind, seconds, site, **more)

    def _tell(self, kind: Any, seconds: float, site: CallSite | None, **more: Any) -> None:
        if not consumers.awake:
            return
        about = (kind, self.name, time_ns(), seconds)
        event = PoolEvent(*about, call_site=site, library=self.library, asynchronous=self.asynchronous, **more)
        recording.record(event)


def current_parent() -> SpanContext | None:
    """The span that something happens in: the current one, or the root drawn for work outside spans."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        return context
    root = scope.root.get()
    return root.context if root is not None and not root.closed else None
