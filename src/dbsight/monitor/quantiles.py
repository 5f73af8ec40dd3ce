"""Quantiles of durations in a fixed amount of memory.

A histogram whose buckets grow by a constant factor answers every quantile with a known relative error and merges by
adding counts: Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees",
PVLDB 12(12), 2019, section 2. Ours has a fixed range instead of collapsing buckets: durations have one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from math import ceil, isnan, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RELATIVE_ERROR = 0.05
"""How far an estimate may lie from the true value, as a part of it, between LOWEST and HIGHEST."""

LOWEST = 1e-6
"""s; shorter durations share the first bucket: there the error is at most 1 µs instead."""

HIGHEST = 3600.0
"""s; longer durations share the last bucket, which answers with the maximum."""

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
BUCKETS = ceil(log(HIGHEST / LOWEST) / log(_GROWTH)) + 1
"""220 for the range and one for what lies above it: 1.8 kB."""

_SCALE = 1 / log(_GROWTH)
_OFFSET = -log(LOWEST) * _SCALE

_EMPTY = bytes(8 * BUCKETS)
_MANY = 20
"""Durations from which on it pays to count the buckets apart."""


def empty() -> array[int]:
    """Buckets without counts."""
    return array("Q", _EMPTY)


def bucket(duration: float) -> int:
    """The index of the bucket that counts ``duration`` (s); NaN and what is below the range go to the first."""
    if LOWEST < duration < HIGHEST:
        return int(log(duration) * _SCALE + _OFFSET)
    return BUCKETS - 1 if duration >= HIGHEST else 0


def count_all(buckets: array[int], durations: Sequence[float]) -> None:
    """Count many durations (s): ``bucket`` written out, for a call would cost as much again."""
    inside = durations
    if not durations or isnan(sum(durations)) or min(durations) <= LOWEST or max(durations) >= HIGHEST:
        # Most waits for a connection are below the range.
        inside = [duration for duration in durations if LOWEST < duration < HIGHEST]
        above = sum([duration >= HIGHEST for duration in durations])
        buckets[BUCKETS - 1] += above
        buckets[0] += len(durations) - len(inside) - above
    indexes = [int(log(duration) * _SCALE + _OFFSET) for duration in inside]
    if len(indexes) > _MANY:
        for index, count in Counter(indexes).items():
            buckets[index] += count
        return
    for index in indexes:
        buckets[index] += 1


def quantiles(buckets: array[int], maximum: float, *parts: float) -> tuple[float, ...]:
    """Estimate the durations below which the given parts of all lie.

    Args:
        buckets: Counts, as ``bucket`` indexes them.
        maximum: s; the longest duration counted. No estimate is above it.
        parts: In (0, 1]; 0.95 asks for the smallest duration that at least 95 % do not exceed.

    Returns:
        One estimate (s) for each part, within RELATIVE_ERROR of the true one; exact where only the longest duration
        qualifies. Zeros when nothing was counted.
    """
    running = list(accumulate(buckets))
    count = running[-1]
    if not count:
        return (0.0,) * len(parts)
    return tuple(_at(running, ceil(part * count), maximum) for part in parts)


def _at(running: list[int], rank: int, maximum: float) -> float:
    if rank >= running[-1]:
        return maximum
    return _middle(bisect_left(running, rank), maximum)


def _middle(index: int, maximum: float) -> float:
    """The point of a bucket with the same relative distance to both of its ends, s."""
    if index == BUCKETS - 1:
        return maximum
    return min(maximum, LOWEST * _GROWTH**index * (1 + RELATIVE_ERROR))


def durations(buckets: array[int], maximum: float) -> tuple[tuple[float, int], ...]:
    """The durations that were counted, s, each with its count; within RELATIVE_ERROR of the true ones."""
    return tuple((_middle(index, maximum), count) for index, count in enumerate(buckets) if count)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of an ordered sequence do not exceed, exactly; 0.0 of an empty one."""
    return ordered[max(0, ceil(percent * len(ordered) / 100) - 1)] if ordered else 0.0
