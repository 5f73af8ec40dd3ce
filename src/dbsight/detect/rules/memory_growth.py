"""Steady growth of the process's memory."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from dbsight.detect.median import median
from dbsight.detect.rule import SnapshotRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbsight.model import Category, Finding, MemorySample, Snapshot

_MB = 1e6


class MemoryGrowth(SnapshotRule):
    """The memory of the process grows steadily and is not released.

        [ GET / --- ] 210 MB … [ GET / --- ] 260 MB … [ GET / --- ] 310 MB

    Anti-pattern:
        seen = {}
        def show(order):
            seen[order.id] = order

    Best practice:
        from functools import lru_cache
        @lru_cache(maxsize=1000)
        def show(order_id):
            ...

    Severity:
        warning: By a fifth and by 50 MB within a quarter of an hour (``memory_growth_samples_threshold``) or longer,
        with growth in seven of ten minutes (``memory_growth_rising_threshold``).
    """

    name: ClassVar[str] = "memory_growth"
    category: ClassVar[Category] = "memory"
    settings: ClassVar[tuple[str, ...]] = (
        "memory_growth_threshold",
        "memory_growth_share_threshold",
        "memory_growth_samples_threshold",
        "memory_growth_rising_threshold",
    )

    def examine(self, snapshot: Snapshot) -> Iterable[Finding]:
        """Check the growth of resident memory, sampled once per minute."""
        points = snapshot.memory
        if len(points) < self.configuration.memory_growth_samples_threshold:
            return
        first, last = points[0].rss, points[-1].rss
        rising = sum(later.rss > earlier.rss for earlier, later in pairwise(points))
        slope = _slope(points)
        span = (points[-1].at_ns - points[0].at_ns) / 1e9
        grown = slope * span
        share = self.configuration.memory_growth_share_threshold
        least = max(self.configuration.memory_growth_threshold, share * first)
        steps = self.configuration.memory_growth_rising_threshold * (len(points) - 1)
        if grown < least or rising < steps:
            return
        yield self.finding(
            ("mg",),
            severity="warning",
            title="The memory of the process keeps growing",
            description=f"From {first / _MB:.0f} to {last / _MB:.0f} MB in {span / 60:.0f} min, "
            f"{slope * 60 / _MB:.2g} MB a minute.",
            suggestion="",
            effort="high",
            metric="rss",
            current_value=float(last),
            threshold=float(first) * (1 + share),
        )


def _slope(points: Sequence[MemorySample]) -> float:
    """Bytes per second: the median slope of all pairs of points (Theil and Sen), which a single peak does not move."""
    slopes = [
        (later.rss - earlier.rss) / ((later.at_ns - earlier.at_ns) / 1e9)
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later.at_ns > earlier.at_ns
    ]
    return median(slopes) if slopes else 0.0
