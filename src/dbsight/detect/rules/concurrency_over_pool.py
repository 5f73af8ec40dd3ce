"""More tasks or threads that want a connection at once than the pool has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.pool_advice import resized
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.model import Borrowing, CallSite, Category, Finding, PoolSnapshot, Snapshot


class ConcurrencyOverPool(SnapshotRule):
    """More tasks or threads want a connection at once than the pool may open.

        [ GET /report -------------------------------------------- ]   50 tasks, 15 connections
          [ SELECT a ] [ SELECT b ] …  × 15
          [ wait ----- ] [ SELECT p ] …  × 35

    Anti-pattern:
        async def report():
            await asyncio.gather(*[load(number) for number in range(50)])  # pool_size=5, max_overflow=10

    Best practice:
        limit = asyncio.Semaphore(10)
        async def load_one(number):
            async with limit:
                return await load(number)

    Severity:
        warning: Twice as many wanted one as there are (``concurrency_warning_factor``), or more.
        info: More than there are, and some waited (1 ms or more: ``concurrency_wait_threshold``).

    Not reported:
        Pools without a limit, one request at a time, and waits that a leak causes: those who hold a connection of the
        pool for good are not counted, ``connection_leak`` names them.
    """

    name: ClassVar[str] = "concurrency_over_pool"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = ("concurrency_warning_factor", "concurrency_wait_threshold")
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Replay the latest requests for a connection of each pool."""
        for pool in snapshot.pools:
            most = pool.state.max
            if most and pool.state.pools and pool.totals.waits + pool.totals.timeouts and not pool.totals.leaks:
                wanted = _most_at_once(pool.uses)
                least = self.configuration.concurrency_wait_threshold
                waited = [use for use in pool.uses if use.waited >= least]
                if waited and wanted > most:
                    yield self._finding(pool, waited, wanted, most)

    def _finding(self, pool: PoolSnapshot, waited: list[Borrowing], wanted: int, most: int) -> Finding:
        state = pool.state
        site = _usual(waited)
        who = "tasks" if state.asynchronous else "threads"
        size = resized(state, -(-wanted // max(1, state.pools)))
        fewer = (
            f"limit = asyncio.Semaphore({most})" if state.asynchronous else f"ThreadPoolExecutor(max_workers={most})"
        )
        return self.finding(
            ("cp", state.name),
            severity="warning" if wanted >= self.configuration.concurrency_warning_factor * most else "info",
            title=f"More {who} want a connection of {state.name} at once than it has",
            description=f"{wanted} {who} wanted one of {counted(most, 'connection')} at the same time;"
            f" {counted(len(waited), 'request')} waited {seconds(sum(use.waited for use in waited))} in all.",
            suggestion=f"{fewer}  # around the work; or, if the server can take it, {size}" if size else fewer,
            impact=sum(use.waited for use in waited),
            count=len(waited),
            metric="concurrency",
            current_value=float(wanted),
            threshold=float(most),
            call_site=site or state.call_site,
        )


def _most_at_once(uses: Sequence[Borrowing]) -> int:
    """How many wanted or held a connection at the same moment; each thread or task counts once."""
    changes = [(use.asked, 1, use.requester) for use in uses]
    changes += [(use.asked + use.waited + use.used, 0, use.requester) for use in uses]
    changes.sort(key=lambda change: change[:2])  # given back before another one asks
    inside: Counter[int] = Counter()
    anonymous = most = 0
    for _, comes, requester in changes:
        if not requester:
            anonymous += 1 if comes else -1
        elif comes:
            inside[requester] += 1
        else:
            inside[requester] -= 1
            if not inside[requester]:
                del inside[requester]
        most = max(most, len(inside) + anonymous)
    return most


def _usual(uses: Sequence[Borrowing]) -> CallSite | None:
    """The line from which most of them came."""
    sites = {str(use.site): use.site for use in uses if use.site is not None}
    if not sites:
        return None
    usual, _ = Counter(str(use.site) for use in uses if use.site is not None).most_common(1)[0]
    return sites[usual]
