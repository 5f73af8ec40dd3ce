"""What watching a connection pool costs: CPU of taking a connection and giving it back, on the caller's thread.

    python benchmarks/pools.py                # seven interleaved rounds of each variant
    python benchmarks/pools.py --rounds 3

Every number comes from a fresh process; the best of its repeats counts, and the median over the rounds is shown.
``plain`` is SQLAlchemy alone; ``watched`` knows the state of the pool: who asks, who holds which connection since when
and by which line, with nobody to record it; ``dbsight`` records each use in histograms and totals as well. The
difference of the last two is the price of the records, which is reported apart. What one ``Histogram.record`` of the
SDK costs on this machine, with five attributes, stands beside them as a yardstick.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VARIANTS = ("plain", "watched", "dbsight")
RECORD = "record"


def prepare(variant: str) -> None:
    """Watch as the variant says."""
    if variant == "plain":
        return
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    import dbsight

    provider, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    if variant == "dbsight":
        provider.add_span_processor(dbsight.DbsightSpanProcessor(meter_provider=meters))
    dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider, meter_provider=meters)


def recording() -> Callable[[], object]:
    """What records one measurement as instrumentors do."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    histogram = MeterProvider([InMemoryMetricReader()]).get_meter("benchmark").create_histogram("duration")
    attributes = {f"key.{number}": f"value {number}" for number in range(5)}
    return lambda: histogram.record(0.5, attributes)


def checking_out(variant: str) -> Callable[[], object]:
    """What takes a connection and gives it back, watched as the variant says."""
    prepare(variant)
    import sqlalchemy
    from sqlalchemy.pool import QueuePool

    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=QueuePool, connect_args={"check_same_thread": False}, pool_reset_on_return=None
    )
    take = engine.pool.connect
    return lambda: take().close()


def measure(variant: str, loops: int, repeats: int) -> float:
    """CPU µs of one checkout and return, or of one record, the best of some repeats."""
    work = recording() if variant == RECORD else checking_out(variant)
    for _ in range(2000):
        work()
    best = float("inf")
    for _ in range(repeats):
        began = time.thread_time()
        for _ in range(loops):
            work()
        best = min(best, time.thread_time() - began)
    return best / loops * 1e6


def run(variant: str, options: argparse.Namespace) -> float:
    """One measurement in a process of its own."""
    words = ["--measure", variant, "--loops", str(options.loops), "--repeats", str(options.repeats)]
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loops", type=int, default=500, help="checkouts in each repeat (500)")
    parser.add_argument("--repeats", type=int, default=400, help="repeats in each process, the best counts (400)")
    parser.add_argument("--measure", choices=(*VARIANTS, RECORD), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.loops, options.repeats)))
        return
    measured = (*VARIANTS, RECORD)
    seen: dict[str, list[float]] = {variant: [] for variant in measured}
    for number in range(options.rounds):
        for offset in range(len(measured)):
            variant = measured[(number + offset) % len(measured)]
            seen[variant].append(run(variant, options))
    plain, watched, whole, record = (statistics.median(seen[variant]) for variant in measured)
    print(f"{'checkout and return':<34}{'CPU µs':>8}{'added':>8}")
    print(f"{'plain SQLAlchemy':<34}{plain:>8.2f}")
    print(f"{'watched':<34}{watched:>8.2f}{watched - plain:>8.2f}")
    print(f"{'watched, histograms and totals':<34}{whole:>8.2f}{whole - plain:>8.2f}")
    print(f"{'of which records':<34}{'':>8}{whole - watched:>8.2f}")
    print(f"{'one Histogram.record of the SDK':<34}{record:>8.2f}")


if __name__ == "__main__":
    main()
