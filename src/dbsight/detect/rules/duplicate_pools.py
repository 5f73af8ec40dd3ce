"""Several pools for the same target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.pool_advice import shared
from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.model import Category, Finding, PoolState, Snapshot

_KEEP_NOTHING = frozenset({"NullPool", "StaticPool"})


class DuplicatePools(SnapshotRule):
    """Several pools have the same target and settings, or one pool is used on several event loops.

        [ GET /orders -------- ] ── engine 1 ── pool of 15 ─┐
        [ GET /customers ----- ] ── engine 2 ── pool of 15 ─┼─ the same database
        [ GET /products ------ ] ── engine 3 ── pool of 15 ─┘

    Anti-pattern:
        def orders():
            engine = create_engine(url)

    Best practice:
        engine = create_engine(url)
        def orders():
            ...

    Severity:
        error: A pool is used on several event loops, or more pools exist than ``pool_count_threshold`` (100).
        warning: Three or more pools with the same settings.
        info: Two pools with the same settings.

    Not reported:
        Pools that keep no connections, in-memory SQLite databases (each is a separate database), and pools with
        different settings.
    """

    name: ClassVar[str] = "duplicate_pools"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = ("pool_count_threshold", "duplicate_pools_warning_threshold")

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Check the pools of each target, then the number of all pools."""
        count = 0
        for pool in snapshot.pools:
            state = pool.state
            count += state.pools
            if state.wrong_loop:
                yield self._wrong_loop(state)
            if state.same >= 2 and state.kind not in _KEEP_NOTHING:
                yield self._same(state)
        limit = self.configuration.pool_count_threshold
        if count > limit:
            yield self.finding(
                ("dp", "count"),
                severity="error",
                title="There are too many connection pools",
                description=f"{count} pools exist in this process (limit {limit}).",
                suggestion="engine = create_engine(url)  # once, at module level",
                metric="pools",
                current_value=float(count),
                threshold=float(limit),
            )

    def _same(self, state: PoolState) -> Finding:
        at_most = f", with up to {state.max} connections" if state.max is not None else ""
        return self.finding(
            ("dp", state.name),
            severity="warning" if state.same >= self.configuration.duplicate_pools_warning_threshold else "info",
            title=f"Several pools connect to {state.name}",
            description=f"{state.same} pools with the same settings exist{at_most}.",
            suggestion=shared(state),
            count=state.same,
            metric="pools",
            current_value=float(state.same),
            threshold=1.0,
            call_site=state.call_site,
        )

    def _wrong_loop(self, state: PoolState) -> Finding:
        return self.finding(
            ("dl", state.name, "loop"),
            severity="error",
            title=f"The pool {state.name} is used on several event loops",
            description="Its connections belong to the event loop that created them; on another one they fail or hang "
            f"({state.wrong_loop} times so far).",
            suggestion="await engine.dispose()  # before the loop ends; or one engine per event loop",
            count=state.wrong_loop,
            metric="loops",
            call_site=state.call_site,
        )
