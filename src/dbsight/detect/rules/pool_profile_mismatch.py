"""Pools whose size does not suit what the queries do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from dbsight.detect import expectations
from dbsight.detect.pool_advice import resized
from dbsight.detect.repetition import KEY_VALUE
from dbsight.detect.rule import SnapshotRule
from dbsight.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.detect.expectations import PoolProfile
    from dbsight.model import Category, Finding, PoolSnapshot, Snapshot

_WRITES: Final = ("insert", "update", "delete")
_TWICE: Final = 2


class PoolProfileMismatch(SnapshotRule):
    """The pool of an SQL server does not have the size that its workload asks for.

        [ GET /search ------------------------ ]   95 % of the queries read: 20 connections kept, 50 at most
          pool_size=5, max_overflow=0              all 5 in use

    Anti-pattern:
        engine = create_engine(url, pool_size=5, max_overflow=0)

    Best practice:
        engine = create_engine(url, pool_size=20, max_overflow=30)  # the profile ``read``

    Severity:
        info: A pool whose connections were all in use is smaller than the profile of its workload, after 1 000 queries
        (``workload_calls_threshold``). With ``pool_profile``, a pool that has less than half or more than twice of
        what that profile expects.

    Not reported:
        SQLite and key-value stores, pools without a limit, pools for which requests waited (``pool_wait`` computes
        their size), and, unless ``pool_profile`` is set, pools that had connections left.
    """

    name: ClassVar[str] = "pool_profile_mismatch"
    category: ClassVar[Category] = "pool"
    settings: ClassVar[tuple[str, ...]] = ("pool_profile", "workload_calls_threshold")
    withdraws: ClassVar[bool] = True

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Compare the limit of each pool with its profile."""
        declared = self.configuration.pool_profile
        if declared is None and snapshot.calls < self.configuration.workload_calls_threshold:
            return
        name = declared or _workload(snapshot)
        profile = _profile(name)
        for pool in snapshot.pools:
            state, totals = pool.state, pool.totals
            if state.system in KEY_VALUE or state.system == "sqlite" or state.max is None or not state.pools:
                continue
            if profile.most is None or totals.timeouts or totals.waits or not totals.checkouts:
                continue
            each = state.max // state.pools
            if declared is None:
                wrong = each < profile.most and state.most >= state.max
            else:
                wrong = _TWICE * each < profile.most or each > _TWICE * profile.most
            if wrong:
                yield self._finding(pool, name, profile.most)

    def _finding(self, pool: PoolSnapshot, name: str, most: int) -> Finding:
        state = pool.state
        each = (state.max or 0) // state.pools
        used = "all of them were in use at once" if state.most >= (state.max or 0) else f"{state.most} were in use"
        return self.finding(
            ("pp", state.name, name),
            severity="info",
            title=f"The pool {state.name} does not have the size of its profile",
            description=f"It may open {counted(each, 'connection')}, {used}; the profile {name} expects {most}. The"
            " connections of all processes together have to fit into what the server allows.",
            suggestion=resized(state, most),
            metric="connections",
            current_value=float(each),
            threshold=float(most),
            call_site=state.call_site,
        )


def _workload(snapshot: Snapshot) -> expectations.Workload:
    counts = {kind: totals.count for kind, totals in snapshot.kinds.items()}
    return expectations.workload_of(counts.get("select", 0), sum(counts.get(kind, 0) for kind in _WRITES))


def _profile(name: str) -> PoolProfile:
    known: dict[str, PoolProfile] = dict(expectations.SQL.items())
    return known.get(name) or expectations.TEMPLATES[name]["sql"]  # type: ignore[index]
