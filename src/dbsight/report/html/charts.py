"""Shapes of the charts of the HTML report: positions in thousandths of the width, drawn as SVG by the templates."""

from __future__ import annotations

from collections import Counter
from math import log10
from typing import TYPE_CHECKING, Final, NamedTuple

from dbsight.formatting import counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbsight.model import Borrowing, MemorySample, PoolSnapshot, Step, WindowExample

WIDTH: Final = 1000
_LEAST: Final = 2.0
"""Width of the narrowest bar."""

_ROWS: Final = 40
_RUN: Final = 3
"""Executions in a row that are one row of the waterfall."""

_BUCKETS: Final = 250
_WAITED: Final = 0.001  # s


class Box(NamedTuple):
    """A rectangle: position and width in thousandths, a class of the style sheet, and the text of its tooltip."""

    x: float
    width: float
    kind: str = ""
    title: str = ""
    y: float = 0.0
    height: float = 0.0


def box(start: float, duration: float, whole: float, kind: str = "", title: str = "") -> Box:
    """A rectangle for a period.

    Args:
        start: s after the beginning of the chart.
        duration: s.
        whole: s that the chart shows.
        kind: Class of the style sheet.
        title: Tooltip.
    """
    scale = WIDTH / whole if whole > 0 else 0.0
    width = min(WIDTH, max(_LEAST, duration * scale))
    return Box(round(max(0.0, min(start * scale, WIDTH - width)), 1), round(width, 1), kind, title)


# -- N+1 --------------------------------------------------------------------------------------------------------------


class Comb(NamedTuple):
    """A request as a bar with its repeated queries as ticks, and the same request with the fix.

    Attributes:
        ticks: All queries; those that are repeated have the kind ``hot``.
        duration: s of the request.
        repeats: How many queries are repeated.
        fixed: The request with the fix.
        fixed_ticks: Its queries.
        fixed_duration: s, estimated.
    """

    ticks: list[Box]
    duration: float
    repeats: int
    fixed: Box
    fixed_ticks: list[Box]
    fixed_duration: float


def comb(example: WindowExample, fingerprint: str, impact: float) -> Comb | None:
    """Draw repeated queries.

    Args:
        example: A window.
        fingerprint: Of the repeated query.
        impact: s that the fix would save in the window.

    Returns:
        None if the query is not repeated there.
    """
    hot = [step for step in example.steps if step.statement.fingerprint == fingerprint]
    if len(hot) < _RUN:
        return None
    whole = max(example.duration, *(step.end for step in example.steps))
    ticks = [
        box(step.start, step.duration, whole, "hot" if step.statement.fingerprint == fingerprint else "")
        for step in example.steps
    ]
    saved = min(impact, 0.98 * whole)
    fixed_whole = whole - saved
    one = max(step.duration for step in hot)
    others = [step for step in example.steps if step.statement.fingerprint != fingerprint]
    fixed_ticks = [
        box(min(step.start, fixed_whole), step.duration, whole) for step in others if step.start < hot[0].start
    ]
    fixed_ticks.append(box(min(hot[0].start, fixed_whole), one, whole, "hot"))
    last = hot[-1].end
    fixed_ticks += [
        box(min(max(0.0, step.start - saved), fixed_whole), step.duration, whole)
        for step in others
        if step.start > last
    ]
    return Comb(ticks, whole, len(hot), box(0.0, fixed_whole, whole), fixed_ticks, fixed_whole)


# -- Waterfall --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """Executions of one statement that follow each other.

    Attributes:
        summary: Of the statement.
        repeats: How many.
        boxes: Waits, connects, executions and fetches.
        duration: s of all together.
        where: Line of the application.
        rows: Rows returned; None if unknown.
        errors: Executions that failed.
        at: s after the window began.
    """

    summary: str
    repeats: int
    boxes: list[Box]
    duration: float
    where: str
    rows: int | None
    errors: int
    at: float


def waterfall(example: WindowExample) -> tuple[list[Row], int]:
    """Draw the queries of a window; repeated ones share a row.

    Returns:
        The rows, and how many queries are not shown.
    """
    whole = max([example.duration, *(step.end for step in example.steps)])
    rows: list[Row] = []
    shown = 0
    for run in _runs(example.steps):
        if len(rows) >= _ROWS:
            break
        shown += len(run)
        first = run[0]
        known = [step.rows for step in run if step.rows is not None]
        rows.append(
            Row(
                first.statement.summary,
                len(run),
                [each for step in run for each in _phases(step, whole)],
                sum(step.duration for step in run),
                "" if first.call_site is None else str(first.call_site),
                sum(known) if known else None,
                sum(bool(step.error) for step in run),
                first.start,
            )
        )
    return rows, max(0, example.calls - shown)


def _runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    run: list[Step] = []
    for step in steps:
        if run and run[0].statement.fingerprint == step.statement.fingerprint:
            run.append(step)
            continue
        yield from [run] if len(run) >= _RUN else [[each] for each in run]
        run = [step]
    yield from [run] if len(run) >= _RUN else [[each] for each in run]


def _phases(step: Step, whole: float) -> Iterator[Box]:
    before = step.wait + step.connect
    if step.wait > 0:
        yield box(step.start - before, step.wait, whole, "wait", f"waited {seconds(step.wait)} for a connection")
    if step.connect > 0:
        yield box(step.start - step.connect, step.connect, whole, "connect", f"connected {seconds(step.connect)}")
    executed = max(0.0, step.duration - step.fetch)
    title = f"{step.error or 'executed'} {seconds(executed)}"
    yield box(step.start, executed, whole, "failed" if step.error else "execute", title)
    if step.fetch > 0:
        yield box(step.start + executed, step.fetch, whole, "fetch", f"fetched {seconds(step.fetch)}")


# -- Distributions ----------------------------------------------------------------------------------------------------

_BINS: Final = 24
_SHORTEST: Final = -5.0  # 10 µs
_DECADES: Final = 6.0  # to 10 s


def sparkline(durations: Sequence[tuple[float, int]]) -> list[Box]:
    """How long executions took, as bars on one logarithmic axis from 10 µs to 10 s for all statements."""
    counts = [0] * _BINS
    for duration, number in durations:
        place = (log10(max(duration, 1e-9)) - _SHORTEST) / _DECADES * _BINS
        counts[min(_BINS - 1, max(0, int(place)))] += number
    most = max(counts)
    if not most:
        return []
    return [
        Box(place * 4, 3, "", "", round(20 - height, 1), height)
        for place, number in enumerate(counts)
        if number
        for height in (round(max(2.0, 20 * (number / most) ** 0.5), 1),)
    ]


# -- Pools ------------------------------------------------------------------------------------------------------------


class PoolChart(NamedTuple):
    """Connections of a pool over time.

    Attributes:
        used: Points of the area of used connections.
        idle: Points of the area of open connections, idle ones included; empty if unknown.
        waiting: Points of the line of used connections and waiting requests.
        limit: Height of the limit; None without one.
        timeouts: Positions of timeouts.
        holders: Rectangles with tooltips that say who held connections.
        top: Connections at the upper edge.
        seconds: That the chart shows.
        source: What it was drawn from.
    """

    used: str
    idle: str
    waiting: str
    limit: float | None
    timeouts: list[float]
    holders: list[Box]
    top: int
    seconds: float
    source: str


HEIGHT: Final = 100


def pool_chart(pool: PoolSnapshot) -> PoolChart | None:
    """Draw a pool: its samples if they cover more time than the latest uses that are remembered, else the uses."""
    series = pool.series
    recorded = (series[-1].at_ns - series[0].at_ns) / 1e9 if len(series) > 1 else 0.0
    remembered = _span(pool.uses)
    if len(series) >= 6 and recorded > 3 * remembered:
        return _from_series(pool)
    return _from_uses(pool) if pool.uses else None


def _span(uses: Sequence[Borrowing]) -> float:
    if not uses:
        return 0.0
    return max(use.asked + use.waited + use.used for use in uses) - min(use.asked for use in uses)


def _top(pool: PoolSnapshot, most: int) -> int:
    limit = pool.state.max
    return max(1, most, limit if limit is not None and limit <= 3 * max(1, most) else 0)


def _line(values: Sequence[tuple[float, float]], top: int, *, area: bool) -> str:
    """Points of a step line: x in thousandths, y downwards."""
    points = []
    last = 0.0
    for x, value in values:
        points += [f"{x:.1f},{HEIGHT - last / top * HEIGHT:.1f}", f"{x:.1f},{HEIGHT - value / top * HEIGHT:.1f}"]
        last = value
    points.append(f"{WIDTH},{HEIGHT - last / top * HEIGHT:.1f}")
    return " ".join([f"0,{HEIGHT}", *points, f"{WIDTH},{HEIGHT}"] if area else points)


def _from_series(pool: PoolSnapshot) -> PoolChart:
    first, last = pool.series[0].at_ns, pool.series[-1].at_ns
    scale = WIDTH / max(1, last - first)
    at = [((point.at_ns - first) * scale, point) for point in pool.series]
    top = _top(pool, max(point.used + max(point.idle, point.pending) for point in pool.series))
    holders = [
        Box(
            round(x, 1), round(WIDTH / len(at), 1), "", f"{point.used} used, {point.idle} idle, {point.pending} waiting"
        )
        for x, point in at
    ]
    return PoolChart(
        _line([(x, point.used) for x, point in at], top, area=True),
        _line([(x, point.used + point.idle) for x, point in at], top, area=True),
        _line([(x, point.used + point.pending) for x, point in at], top, area=False),
        _limit(pool, top),
        [round(x, 1) for x, point in at if point.timeouts],
        holders,
        top,
        (last - first) / 1e9,
        "samples taken every ten seconds",
    )


def _limit(pool: PoolSnapshot, top: int) -> float | None:
    limit = pool.state.max
    return None if limit is None or limit > top else round(HEIGHT - limit / top * HEIGHT, 1)


def _from_uses(pool: PoolSnapshot) -> PoolChart:
    began = min(use.asked for use in pool.uses)
    whole = max(_span(pool.uses), 1e-3)
    served = [(use.asked + use.waited, use.asked + use.waited + use.used) for use in pool.uses if use.used]
    waited = [(use.asked, use.asked + use.waited) for use in pool.uses if use.waited >= _WAITED]
    used = _concurrent([(start - began, end - began) for start, end in served], whole)
    waiting = _concurrent([(start - began, end - began) for start, end in waited], whole)
    who: list[Counter[str]] = [Counter() for _ in range(_BUCKETS)]
    for use in pool.uses:
        if use.used:
            given = use.asked + use.waited - began
            for place in _places(given, given + use.used, whole):
                who[place][str(use.site) if use.site is not None else "unknown line"] += 1
    step = WIDTH / _BUCKETS
    top = _top(pool, max(a + b for a, b in zip(used, waiting, strict=True)))
    holders = [
        Box(
            round(place * step, 1),
            step,
            "",
            f"{used[place]} used, {waiting[place]} waiting: "
            + ", ".join(f"{site} ({number})" for site, number in who[place].most_common(4)),
        )
        for place in range(_BUCKETS)
        if used[place] or waiting[place]
    ]
    at = [place * step for place in range(_BUCKETS)]
    both = [a + b for a, b in zip(used, waiting, strict=True)]
    return PoolChart(
        _line(list(zip(at, used, strict=True)), top, area=True),
        "",
        _line(list(zip(at, both, strict=True)), top, area=False),
        _limit(pool, top),
        [round((use.asked + use.waited - began) / whole * WIDTH, 1) for use in pool.uses if not use.used],
        holders,
        top,
        whole,
        f"the latest {counted(len(pool.uses), 'request')} for a connection",
    )


def _concurrent(periods: Sequence[tuple[float, float]], whole: float) -> list[int]:
    """The most periods at once in each part of the chart."""
    changes = sorted([(start, 1) for start, _ in periods] + [(end, -1) for _, end in periods])
    most = [0] * _BUCKETS
    now = 0
    place = 0
    for at, change in changes:
        for each in range(place, min(_BUCKETS, int(at / whole * _BUCKETS) + 1)):
            most[each] = max(most[each], now)
        place = min(_BUCKETS - 1, max(0, int(at / whole * _BUCKETS)))
        now += change
        most[place] = max(most[place], now)
    return most


def _places(start: float, end: float, whole: float) -> range:
    first = int(start / whole * _BUCKETS)
    last = int(end / whole * _BUCKETS)
    return range(max(0, min(first, _BUCKETS - 1)), min(last, _BUCKETS - 1) + 1)


# -- Memory -----------------------------------------------------------------------------------------------------------


class MemoryChart(NamedTuple):
    """Resident memory over time.

    Attributes:
        line: Points of the line.
        marks: Large results, with tooltips.
        top: Bytes at the upper edge.
        seconds: That the chart shows.
    """

    line: str
    marks: list[Box]
    top: int
    seconds: float


def memory_chart(samples: Sequence[MemorySample], examples: Sequence[WindowExample], least: int) -> MemoryChart | None:
    """Draw memory, and the queries of the examples that returned at least ``least`` rows; None below two samples."""
    if len(samples) < 2:
        return None
    first, last = samples[0].at_ns, samples[-1].at_ns
    scale = WIDTH / max(1, last - first)
    top = max(sample.rss for sample in samples)
    line = " ".join(
        f"{(sample.at_ns - first) * scale:.1f},{HEIGHT - sample.rss / top * HEIGHT * 0.95:.1f}" for sample in samples
    )
    marks = [
        Box(round(x, 1), 3, "", f"{step.statement.summary}: {counted(step.rows, 'row')}")
        for example in examples
        for step in example.steps
        if step.rows is not None and step.rows >= least
        for x in ((example.start_ns + step.end * 1e9 - first) * scale,)
        if 0 <= x <= WIDTH
    ]
    return MemoryChart(line, marks, top, (last - first) / 1e9)
