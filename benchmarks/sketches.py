"""Quantiles of durations: dbsight's histogram beside the sketches that are on PyPI.

    pip install ddsketch hdrhistogram pytdigest
    python benchmarks/sketches.py
    python benchmarks/sketches.py --values 200000 --rounds 11

Each takes the same durations, fifty at a time, as the drain hands them over; lognormal, from microseconds to seconds.
Printed are the time per value (median of interleaved rounds, as a ratio to dbsight's), the size of one sketch, pickled,
and the largest error at the 50th, 95th and 99th percentile, before and after a merge of four.
"""

from __future__ import annotations

import argparse
import math
import pickle
import random
import statistics
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from dbsight.monitor import quantiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PARTS = (0.5, 0.95, 0.99)
BATCH = 50
PARTS_MERGED = 4


class _Ours:
    """``dbsight.monitor.quantiles``."""

    def __init__(self) -> None:
        self.buckets = quantiles.empty()
        self.maximum = 0.0

    def add(self, values: list[float]) -> None:
        quantiles.count_all(self.buckets, values)
        self.maximum = max(self.maximum, *values)

    def merge(self, other: _Ours) -> None:
        self.maximum = max(self.maximum, other.maximum)
        for index, count in enumerate(other.buckets):
            self.buckets[index] += count

    def ask(self) -> Sequence[float]:
        return quantiles.quantiles(self.buckets, self.maximum, *PARTS)


class _DDSketch:
    """Datadog's, with the same relative error."""

    def __init__(self) -> None:
        from ddsketch import DDSketch as Sketch

        self.sketch = Sketch(quantiles.RELATIVE_ERROR)

    def add(self, values: list[float]) -> None:
        for value in values:
            self.sketch.add(value)

    def merge(self, other: _DDSketch) -> None:
        self.sketch.merge(other.sketch)

    def ask(self) -> Sequence[float]:
        return [self.sketch.get_quantile_value(part) for part in PARTS]


class _HDR:
    """HdrHistogram, microseconds to an hour with two digits."""

    def __init__(self) -> None:
        from hdrh.histogram import HdrHistogram

        self.histogram = HdrHistogram(1, 3_600_000_000, 2)

    def add(self, values: list[float]) -> None:
        for value in values:
            self.histogram.record_value(int(value * 1e6))

    def merge(self, other: _HDR) -> None:
        self.histogram.add(other.histogram)

    def __getstate__(self) -> bytes:
        return bytes(self.histogram.encode())

    def ask(self) -> Sequence[float]:
        return [self.histogram.get_value_at_percentile(100 * part) / 1e6 for part in PARTS]


class _TDigest:
    """A t-digest in C, which has no bound of its error in between."""

    def __init__(self) -> None:
        from pytdigest import TDigest as Digest

        self.digest = Digest(compression=200)

    def add(self, values: list[float]) -> None:
        import numpy as np

        self.digest.update(np.asarray(values))

    def merge(self, other: _TDigest) -> None:
        self.digest = self.digest + other.digest

    def __getstate__(self) -> Any:
        return self.digest.get_centroids()

    def ask(self) -> Sequence[float]:
        return [float(self.digest.inverse_cdf(part)) for part in PARTS]


KINDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "dbsight": ("dbsight", _Ours),
    "ddsketch": ("ddsketch", _DDSketch),
    "hdrhistogram": ("hdrh", _HDR),
    "pytdigest": ("pytdigest", _TDigest),
}


def fill(make: Callable[[], Any], batches: list[list[float]]) -> Any:
    """A sketch with these durations."""
    sketch = make()
    for batch in batches:
        sketch.add(batch)
    return sketch


def error(estimates: Sequence[float], values: list[float]) -> float:
    """The largest error of the estimates, as a part of the true value."""
    ordered = sorted(values)
    true = [ordered[math.ceil(part * len(ordered)) - 1] for part in PARTS]
    return max(abs(got - wanted) / wanted for got, wanted in zip(estimates, true, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=50_000, help="durations (50 000)")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (9)")
    options = parser.parse_args()
    chance = random.Random(1)
    values = [chance.lognormvariate(-6, 1.5) for _ in range(options.values)]
    batches = [values[start : start + BATCH] for start in range(0, len(values), BATCH)]
    kinds = {name: make for name, (module, make) in KINDS.items() if find_spec(module)}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(options.rounds):
        for name, make in kinds.items():
            began = time.process_time()
            fill(make, batches)
            seconds[name].append(time.process_time() - began)
    table = Table("sketch", "µs per value", "÷ dbsight", "bytes", "largest error", "after a merge")
    for name, make in kinds.items():
        whole = fill(make, batches)
        parts = [fill(make, batches[number::PARTS_MERGED]) for number in range(PARTS_MERGED)]
        for part in parts[1:]:
            parts[0].merge(part)
        each = statistics.median(seconds[name])
        ratio = statistics.median(mine / ours for mine, ours in zip(seconds[name], seconds["dbsight"], strict=True))
        table.add_row(
            name,
            f"{each / len(values) * 1e6:.2f}",
            f"{ratio:.1f}",
            str(len(pickle.dumps(whole))),
            f"{error(whole.ask(), values):.2%}",
            f"{error(parts[0].ask(), values):.2%}",
        )
    console = Console()
    console.print(table)
    for name in KINDS.keys() - kinds.keys():
        console.print(f"skipped {name}: it is not installed")


if __name__ == "__main__":
    main()
