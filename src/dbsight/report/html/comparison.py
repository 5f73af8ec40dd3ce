"""Two runs side by side, as the HTML report shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dbsight.formatting import seconds
from dbsight.report.html.charts import Box, box
from dbsight.report.layout import summary_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST = 60


class Pair(NamedTuple):
    """One query or route in both runs.

    Attributes:
        name: Its summary or route.
        verdict: ``faster``, ``slower``, ``new``, ``gone``, ``fewer`` or ``more``.
        before: Bar of the base.
        after: Bar of the head.
        before_text: What it measured.
        after_text: The same.
    """

    name: str
    verdict: str
    before: Box | None
    after: Box | None
    before_text: str
    after_text: str


class Difference(NamedTuple):
    """What changed.

    Attributes:
        verdict: One sentence.
        worse: Whether something became worse.
        queries: Means of queries that became faster or slower, or are in one run only.
        routes: Queries per request.
        gone: Findings that are gone, a line each.
        new: Findings that are new.
    """

    verdict: str
    worse: bool
    queries: list[Pair]
    routes: list[Pair]
    gone: Sequence[str]
    new: Sequence[str]


def difference(
    verdict: str, changes: Iterable[Any], routes: Iterable[Any], gone: Sequence[str], new: Sequence[str], *, worse: bool
) -> Difference:
    """Draw a comparison.

    Args:
        verdict: One sentence.
        changes: Queries: name, verdict, means and counts of base and head.
        routes: Routes: queries per request in base and head.
        gone: Findings that are gone.
        new: Findings that are new.
        worse: Whether something became worse.
    """
    shown = [each for each in changes if each.verdict != "no difference"][:_MOST]
    most = max((max(each.base_mean, each.head_mean) for each in shown), default=0.0)
    queries = [
        Pair(
            summary_line(each.name),
            each.verdict,
            box(0.0, each.base_mean, most) if each.base_count else None,
            box(0.0, each.head_mean, most) if each.head_count else None,
            f"{seconds(each.base_mean)} × {each.base_count}" if each.base_count else "–",
            f"{seconds(each.head_mean)} × {each.head_count}" if each.head_count else "–",
        )
        for each in shown
    ]
    routes = list(routes)[:_MOST]
    top = max((max(each.base, each.head) for each in routes), default=0.0)
    return Difference(
        verdict,
        worse,
        queries,
        [
            Pair(
                each.route,
                "fewer" if each.head < each.base else "more",
                box(0.0, each.base, top),
                box(0.0, each.head, top),
                f"{each.base:.4g} queries",
                f"{each.head:.4g} queries",
            )
            for each in routes
        ],
        gone,
        new,
    )
