"""Every pool of the process, weakly: named by target, not by object, because an application may make hundreds."""

from __future__ import annotations

import os
import threading
from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from dbsight import safety, semconv
from dbsight.instrument.pools.checkout import held_by_connection
from dbsight.model import PoolState
from dbsight.safety import failed, guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.instrument.pools.checkout import Checkout
    from dbsight.instrument.pools.pool import Pool
    from dbsight.model import CallSite

MAX_NAMES: Final = 200
"""Names of pools that are told apart; further targets are ``other``."""

_MAX_HOLDERS = 20
_MAX_OPEN = 1000


class Counts:
    """Connections of one pool; outlives it, because what it still had open is gone with it.

    Attributes:
        name: Of the pool.
        opened: Made by this process, or inherited when it was forked.
        gone: Of these, those that are closed, by reason: ``recycle``, ``invalid``, ``collected`` …
    """

    __slots__ = ("gone", "name", "opened")

    def __init__(self, name: str, opened: int) -> None:
        self.name = name
        self.opened = 0
        self.gone: Counter[str] = Counter()
        _opened(self, opened)

    def left(self) -> int:
        """Connections that are open."""
        return self.opened - self.gone.total()


class Totals:
    """The same of all pools of one name, and how many pools there have been, the latest of them described."""

    __slots__ = ("gone", "kind", "library", "made", "opened", "site", "system")

    def __init__(self) -> None:
        self.opened = 0
        self.gone: Counter[str] = Counter()
        self.made = 0
        self.library = self.kind = self.system = ""
        self.site: CallSite | None = None


adopting = threading.RLock()
"""Checkout while a pool begins to be watched: two threads may come to the same one."""

_lock = threading.RLock()  # re-entrant: a pool may be collected while its thread is counting
_pools: WeakSet[Pool] = WeakSet()
_engines: WeakSet[Any] = WeakSet()
_totals: dict[str, Totals] = {}


def bounded(name: str) -> str:
    """The name as it is, or ``other`` once there are too many."""
    with _lock:
        if name in _totals:
            return name
        if len(_totals) >= MAX_NAMES:
            safety.dropped("pool names")
            name = semconv.OTHER
        _totals.setdefault(name, Totals())
        return name


def add(pool: Pool, *, again: bool = False) -> None:
    """A pool was made, or is watched from now on; ``again`` where it takes the place of another by itself."""
    with _lock:
        _pools.add(pool)
        totals = _totals.setdefault(pool.name, Totals())
        totals.made += not again
        totals.library, totals.kind, totals.system = pool.library, pool.kind, pool.system
        totals.site = pool.site


def rename(pool: Pool, name: str) -> None:
    """It turned out where a pool leads: count what it has under the right name."""
    name = bounded(name)
    before = pool.name
    if name == before:
        return
    with _lock:
        if pool not in _pools:  # its library is watched no more
            return
        counts = pool.counts
        left, totals = _totals.setdefault(before, Totals()), _totals[name]
        for each, sign in ((left, -1), (totals, 1)):
            each.made += sign
            each.opened += sign * counts.opened
            for reason, number in counts.gone.items():
                each.gone[reason] += sign * number
        totals.library, totals.kind, totals.system, totals.site = pool.library, pool.kind, pool.system, pool.site
        pool.name = counts.name = name
        if left.made <= 0:
            _totals.pop(before, None)


def recount(pool: Pool, number: int) -> None:
    """A pool has so many open connections: it was in use while its library's functions were wrapped."""
    with _lock:
        counts = pool.counts
        more = number - counts.left()
        if more < 0:
            gone(counts, -more)
        else:
            opened(counts, more)


def describe(name: str, library: str, kind: str, system: str) -> None:
    """A pool that was refused before it was made."""
    with _lock:
        totals = _totals[name]
        if not totals.made:
            totals.made = 1
            totals.library, totals.kind, totals.system = library, kind, system


def _opened(counts: Counts, number: int = 1) -> None:
    number = max(0, number)
    with _lock:
        counts.opened += number
        totals = _totals.get(counts.name)
        if totals is not None:
            totals.opened += number


opened = _opened


def gone(counts: Counts, number: int = 1, reason: str = "unknown") -> None:
    """Connections of a pool are closed; more than were opened cannot be."""
    with _lock:
        number = min(number, counts.left())
        if number <= 0:
            return
        counts.gone[reason] += number
        totals = _totals.get(counts.name)
        if totals is not None:  # forgotten when its library is no longer watched
            totals.gone[reason] += number


@guard  # at the end of the interpreter there may be nothing left to count with
def collected(counts: Counts) -> None:
    """A pool was collected, and with it the connections that it still had."""
    gone(counts, counts.left(), "collected")


def engines() -> WeakSet[Any]:
    """The engines that are alive."""
    return _engines


def pools() -> list[Pool]:
    """The pools that are alive."""
    with _lock:
        return [pool for pool in _pools if pool.pool is not None]


def forget(library: str) -> None:
    """Watch the pools of one library no more."""
    with _lock:
        for pool in [pool for pool in _pools if pool.library == library]:
            _pools.discard(pool)
            collected(pool.counts)
            pool.counts.name = ""  # what a thread is just making counts for nobody, when it is watched again
            for held in pool.held.values():
                held_by_connection.pop(held.connection, None)
            pool.held.clear()
        _forget_names()


def clear() -> None:
    """Forget every pool and engine, and the totals of those that are gone, as in a new process: between tests."""
    with _lock:
        _pools.clear()
        _engines.clear()
        _totals.clear()


def _forget_names() -> None:
    """Forget the totals of targets that have no pool any more."""
    alive = {pool.name for pool in _pools}
    for name in [name for name in _totals if name not in alive]:
        del _totals[name]


def open_connections() -> Iterator[Checkout]:
    """Every connection that is out."""
    for pool in pools():
        yield from tuple(pool.held.values())


def overdue(limit: float) -> None:
    """Report as leaks the connections that are out and without a query for longer than a limit, in s; each once."""
    now = perf_counter()
    for pool in pools():
        pool.look()
        for identity, held in list(pool.held.items()):
            if now - held.began > limit and now - held.last > limit / 2:
                pool.lost(identity, "overdue")


def snapshots(library: str = "", *, gone: bool = False) -> list[PoolState]:
    """The state of all pools, by name.

    Args:
        library: Of one pool library alone.
        gone: Whether to tell of targets too that have no pool any more.
    """
    states = _living(library)
    if gone:
        names = {state.name for state in states}
        with _lock:
            left = [(name, totals) for name, totals in _totals.items() if name not in names and totals.made]
        for name, totals in left:
            state = PoolState(name, totals.library, totals.kind, totals.system, pools=0, same=0, clients=0)
            state.made, state.created, state.closed_by = totals.made, totals.opened, _by_reason(totals)
            state.call_site = totals.site
            states.append(state)
    return states


def _living(library: str) -> list[PoolState]:
    now = perf_counter()
    by_name: dict[str, list[Pool]] = {}
    for pool in pools():
        if not library or pool.library == library:
            by_name.setdefault(pool.name, []).append(pool)
    states = []
    for name in sorted(by_name):
        totals = _totals.get(name)
        if totals is None:  # another thread stops watching this library
            continue
        try:
            states.append(_state(name, by_name[name], totals, now))
        except Exception:  # one pool that cannot be asked must not hide the others
            failed("pools.snapshots")
    return states


def _state(name: str, group: list[Pool], totals: Totals, now: float) -> PoolState:
    live = [pool for pool in group if not pool.retired()]
    configurations = Counter(pool.configuration for pool in live)
    most = max(configurations, key=configurations.__getitem__, default=None)
    alike = [pool for pool in live if pool.configuration == most]
    first = _made_where_most_are(alike or group)
    for pool in group:
        pool.settle()
        pool.look()
    held = sorted((held for pool in group for held in tuple(pool.held.values())), key=lambda each: each.began)
    waiting = [request for pool in group for request in tuple(pool.requests) if not request.began]
    used = sum(max(0, pool.used()) for pool in group)
    return PoolState(
        name,
        first.library,
        first.kind,
        first.system,
        used=used,
        idle=sum(max(0, pool.idle()) for pool in group),
        pending=sum(pool.pending() for pool in group),
        max=_sum([pool.max() for pool in live]),
        idle_max=_sum([pool.idle_max() for pool in live]),
        idle_min=sum(pool.idle_min() for pool in live),
        overflow=sum(max(0, pool.overflow()) for pool in group),
        pools=len(live),
        made=totals.made,
        same=len(alike),
        clients=sum(pool.clients() for pool in live),
        created=totals.opened,
        closed_by=_by_reason(totals),
        idle_time=0.0 if used else min(now - pool.touched for pool in group),
        wrong_loop=sum(pool.wrong_loop for pool in group),
        # Marks that a pool of redis_pools carries itself.
        role=getattr(first.pool, "dbsight_role", ""),
        cleanup_failures=sum(getattr(pool.pool, "dbsight_cleanup_failures", 0) for pool in group),
        asynchronous=first.asynchronous,
        blocks_loop=any(pool.blocks_loop() for pool in live),
        call_site=first.site,
        holders=tuple(each.holder(now) for each in held[:_MAX_HOLDERS]),
        most=max(sum(pool.most for pool in live), len(held)),
        open=tuple(each.use(now) for each in (*held[:_MAX_OPEN], *waiting[:_MAX_OPEN]) if not each.suppressed),
    )


def _by_reason(totals: Totals) -> dict[str, int]:
    return {reason: number for reason, number in totals.gone.items() if number}


def _made_where_most_are(group: list[Pool]) -> Pool:
    """One of the pools that the most common line made: the set of pools has no order, and one line is reported."""
    sites = Counter(str(pool.site) for pool in group)
    return max(group, key=lambda pool: sites[str(pool.site)])


def _sum(limits: Sequence[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None


def infos() -> dict[str, list[dict[str, Any]]]:
    """Of every pool in use the event loop and the configuration that it shares with others, by name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for pool in pools():
        if pool.retired():
            continue
        about = {"loop_id": pool.loop_id(), "config_hash": f"{pool.configuration & 0xFFFFFFFF:08x}"}
        found.setdefault(pool.name, []).append(about)
    return found


def _after_fork() -> None:
    """In a forked child: what is idle was inherited; what is out belongs to threads that only the parent has."""
    global _lock, adopting  # noqa: PLW0603 - one that another thread held at the fork would never be released
    _lock = threading.RLock()
    adopting = threading.RLock()
    held_by_connection.clear()
    for totals in _totals.values():
        totals.opened = totals.made = 0
        totals.gone.clear()
    for pool in list(_pools):
        counts = pool.counts
        counts.opened = 0
        counts.gone.clear()
        totals = _totals.setdefault(pool.name, Totals())
        totals.made += 1
        try:
            pool.forked()
            _opened(counts, pool.inherited())
        except Exception:
            failed("pools.after_fork")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
