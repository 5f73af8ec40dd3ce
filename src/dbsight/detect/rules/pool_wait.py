"""Waiting for connections.

The suggested size is the smallest with which no request would have waited: ``monitor/pools.py`` replays the recorded
checkouts without waiting, each with the time that it held its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect.pool_advice import given_back, held_by, resized
from dbsight.detect.rule import SnapshotRule, WindowRule
from dbsight.formatting import counted, seconds
from dbsight.model import Finding, PoolEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.window import Window
    from dbsight.model import CallSite, Category, PoolSnapshot, Snapshot

_SHORTEST: Final = 0.02
"""s; a fifth of a window of a few milliseconds is not a fault."""
_HOG: Final = 0.5
"""Share of the time of all checkouts from which one line is named as the cause; the finding is the same without."""
_LONG_HOLD: Final = 0.25
"""s; a line that holds its connection for shorter than that is not named, whatever its share."""
_SPARE_POINTS: Final = 6
"""Points of the time series, ten seconds apart: the use of the first minute says nothing yet."""


class PoolWait(WindowRule, SnapshotRule):
    """Queries wait because all connections of their pool are checked out.

        [ GET /orders ------------------------------------------ ]
          [ wait for a connection -------------- ][ SELECT orders ]
            held by: export_csv for 31 s · report for 2.1 s

    Anti-pattern:
        engine = create_engine(url, pool_size=2, max_overflow=0)  # for 20 threads

    Best practice:
        engine = create_engine(url, pool_size=20, max_overflow=0)

    Severity:
        error: A checkout timed out, or one unit of work waited for 1 s in total (``pool_wait_error_threshold``).
        warning: One unit of work waited for ``pool_wait_threshold``, or for a fifth of its duration
        (``pool_wait_share_threshold``).
        info: A pool keeps four times as many connections open as are ever checked out (``pool_spare_factor``).

    Not reported:
        The time to open a connection, pre-pings, and suppressed checkouts.
    """

    name: ClassVar[str] = "pool_wait"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = (
        "pool_wait_threshold",
        "pool_wait_share_threshold",
        "pool_wait_error_threshold",
        "connection_leak_after",
        "pool_wait_count_threshold",
        "pool_wait_checkouts_threshold",
        "pool_spare_threshold",
        "pool_spare_factor",
        "pool_spare_checkouts_threshold",
    )
    of_events: ClassVar[bool] = True

    def complete(self, window: Window) -> Iterable[Finding]:
        """Report how long this unit of work waited, and which call sites held the connections."""
        by_pool: dict[str, list[PoolEvent]] = {}
        for event in window.events:
            if not isinstance(event, PoolEvent) or event.allowed & {self.name, "all"}:
                continue
            if event.kind in {"checkout", "timeout"}:
                by_pool.setdefault(event.pool, []).append(event)
        for pool, events in by_pool.items():
            found = self._waited(pool, events, window)
            if found is not None:
                yield found

    def _waited(self, pool: str, events: list[PoolEvent], window: Window) -> Finding | None:
        timeouts = [event for event in events if event.kind == "timeout"]
        waited = sum(event.seconds for event in events)
        limit = self.configuration.pool_wait_threshold
        share = (
            window.duration > 0
            and waited >= self.configuration.pool_wait_share_threshold * window.duration
            and waited >= _SHORTEST
        )
        if not timeouts and waited < limit and not share:
            return None
        longest = max(events, key=lambda event: event.seconds)
        holders = max((event.holders for event in timeouts), key=len, default=())
        text = f"Waited {seconds(waited)} for {_connections(len(events))} of the pool {pool}"
        if timeouts:
            text += f"; {counted(len(timeouts), 'checkout')} timed out"
        if holders:
            text += f". Held by {held_by(holders)}"
        leaked = [site for site, age in holders if age > self.configuration.connection_leak_after]
        return self.finding(
            ("pw", pool, "window"),
            severity="error" if timeouts or waited >= self.configuration.pool_wait_error_threshold else "warning",
            title=f"Waited for a connection of {pool}",
            description=f"{text}.",
            suggestion=_give_back(events[0], leaked, holders),
            impact=waited,
            count=len(events),
            metric="wait",
            current_value=waited,
            threshold=limit,
            call_site=longest.call_site,
            details={"timeouts": len(timeouts), "holders": [(str(site), age) for site, age in holders]},
        )

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the size of each pool with its use: too small, or far too large."""
        few, share = self.configuration.pool_wait_count_threshold, self.configuration.pool_wait_checkouts_threshold
        for pool in snapshot.pools:
            totals = pool.totals
            if not pool.state.library:
                continue
            often = totals.waits >= max(few, share * totals.checkouts)
            if totals.timeouts or (often and totals.wait_total >= self.configuration.pool_wait_threshold):
                yield self._too_small(pool)
            elif self._is_oversized(pool):
                yield self._too_large(pool)

    def _too_small(self, pool: PoolSnapshot) -> Finding:
        state, totals = pool.state, pool.totals
        limit = state.max
        need = max(totals.needed, 1)
        cause, suggestion = self._cause(pool, need)
        text = f"{totals.waits} {'wait' if totals.waits == 1 else 'waits'} (p95 {seconds(totals.wait_p95)})"
        if totals.timeouts:
            text += f", {totals.timeouts} timed out"
        if limit:  # 0 where the pool is closed by now
            text += f" with {_connections(limit)}, held for {seconds(totals.use_p95)} (p95),"
            text += f" {totals.rate:.3g} checkouts per second"
        return self.finding(
            ("pw", state.name, "size"),
            severity="error" if totals.timeouts else "warning",
            title=f"The pool {state.name} is exhausted",
            description=f"{text}. {cause}",
            suggestion=suggestion,
            impact=totals.wait_total,
            count=totals.waits,
            metric="connections",
            current_value=float(limit) if limit else None,
            threshold=float(need),
            call_site=state.call_site,
            details={"needed": need, "timeouts": totals.timeouts, "wait_p95": totals.wait_p95},
        )

    def _cause(self, pool: PoolSnapshot, need: int) -> tuple[str, str]:
        """Return the cause (connections leaked, held for long, or too few) and the suggestion."""
        state, totals = pool.state, pool.totals
        each = -(-need // max(1, state.pools))
        after = self.configuration.connection_leak_after
        kept = [holder for holder in state.holders if not holder.kept and min(holder.age, holder.idle * 2) > after]
        if kept or totals.leaks:
            site = kept[0].call_site if kept else None
            where = f" ({site})" if site is not None else ""
            session = bool(kept and kept[0].session)
            return f"Connections are not returned{where}.", given_back(state, session=session)
        hog = totals.hog
        size = resized(state, each) if not state.max or need > state.max else ""
        if hog is not None and hog[1] >= _HOG and totals.use_p95 >= _LONG_HOLD:
            site, part = hog
            said = f"{part:.0%} of the checkout time is spent at {site}: return the connection earlier."
            return said, size or given_back(state)
        return f"{need} connections would have avoided all waits.", size

    def _is_oversized(self, pool: PoolSnapshot) -> bool:
        state, totals = pool.state, pool.totals
        opened = state.used + state.idle
        most = max(_most(pool), totals.needed)
        return (
            opened >= self.configuration.pool_spare_threshold
            and totals.checkouts >= self.configuration.pool_spare_checkouts_threshold
            and len(pool.series) >= _SPARE_POINTS
            and self.configuration.pool_spare_factor * most <= opened
        )

    def _too_large(self, pool: PoolSnapshot) -> Finding:
        state, totals = pool.state, pool.totals
        opened = state.used + state.idle
        most = _most(pool)
        return self.finding(
            ("po", state.name, "oversized"),
            severity="info",
            title=f"The pool {state.name} is larger than needed",
            description=f"{opened} connections are open; at most {most} were checked out at once.",
            suggestion=resized(state, max(1, -(-max(most, totals.needed) * 2 // max(1, state.pools)))),
            metric="connections",
            current_value=float(opened),
            threshold=float(most),
            call_site=state.call_site,
        )


def _connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number} connections"


def _give_back(
    about: PoolEvent, leaked: list[CallSite | None], holders: tuple[tuple[CallSite | None, float], ...]
) -> str:
    """Suggest code that returns the connections held at the known call sites."""
    known = [site for site in leaked if site is not None]
    if known:
        return f"{given_back(about)}  # {known[0]}"
    sites = [str(site) for site, _ in holders if site is not None]
    if sites and sites.count(sites[0]) > len(holders) / 2:
        return f"{given_back(about)}  # {sites[0]}: hold the connection only while it is needed"
    return ""


def _most(pool: PoolSnapshot) -> int:
    """Return the highest number of connections that were checked out at the same time."""
    return max([pool.state.most, *(point.used for point in pool.series)])
