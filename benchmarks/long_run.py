"""Whether memory stays flat over millions of operations.

    python benchmarks/long_run.py                          # ten million, some minutes
    python benchmarks/long_run.py --operations 1000000

Each operation goes the whole way through the analyzer: rules, windows, totals, metrics, findings. Everything that could
grow without a bound does: every twentieth request has a route, a statement, a database and an error that nobody saw
before, every request a cache key; one trace in a hundred never ends, another opens several windows; and each request
has an N+1 or row-by-row writes to tell of.
Metrics are collected as often as a reader would. The last line says by how much resident memory grew from the first
third of the run, in which the bounds fill, to its end; the exit code is 1 when that is more than ``--allowed``.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time

import psutil
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanContext, TraceFlags

from dbsight import safety, statement
from dbsight.analyzer import Analyzer
from dbsight.config import Settings
from dbsight.model import CacheEvent, CallSite, Database, Operation

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SHAPES = (
    "SELECT name FROM customers WHERE id = ?",
    "INSERT INTO events (kind) VALUES (?)",
    "UPDATE orders SET state = ? WHERE id = ?",
    "SELECT id FROM orders WHERE customer_id = ? LIMIT 10",
)
PER_WINDOW = 50


class Run:
    """An analyzer and the traffic that it gets; the clock is the traffic's own, a millisecond an operation."""

    def __init__(self) -> None:
        self.now = time.time_ns()
        self.reader = InMemoryMetricReader()
        settings = Settings(process_metrics=False, max_windows=1000)
        meters, logs = MeterProvider([self.reader]), LoggerProvider()
        self.analyzer = Analyzer(settings, meters, logs, lambda: self.now)
        self.analyzer._start_sweeper = lambda: None
        self.sites = [CallSite("app.py", line, "list_orders") for line in range(40)]
        self.done = 0

    def window(self, number: int) -> None:
        """One request: fifty operations from one line, and what else happens in it."""
        root = SpanContext(number + 1, number + 1, is_remote=False, trace_flags=SAMPLED)
        fresh = number % 20 == 0
        route = f"GET /orders/{number}" if fresh else f"GET /orders/{number % 7}"
        window = self.analyzer.windows.open(route, root, self.now, request=True)
        system = ("sqlite", "postgresql")[number % 2]
        database = Database(system, f"tenant{number}" if fresh else "shop")
        shape = SHAPES[number % len(SHAPES)]
        text = shape.replace("id", f"id{number}", 1) if fresh else shape
        read = statement.read(text, system)
        for turn in range(PER_WINDOW):
            self.now += 1_000_000
            self.analyzer.observe(
                Operation(
                    read,
                    database,
                    self.now - 1_000_000,
                    2.0 if turn == 7 and fresh else 0.0005,
                    call_site=self.sites[number % len(self.sites)],
                    context=SpanContext(root.trace_id, number * 64 + turn + 2, is_remote=False, trace_flags=SAMPLED),
                    parent=root,
                    parameters=turn,
                    rows=1,
                    thread=number % 16,
                    error_type=f"app.Error{number}" if fresh and turn == 9 else None,
                )
            )
        self.analyzer.observe(CacheEvent("redis", self.now, misses=1, key_prefix=f"user:{number}:{{}}", parent=root))
        if number % 100 == 3:
            return  # its span never ends
        if number % 100 == 4:
            child = SpanContext(root.trace_id, number * 64 + 1, is_remote=False, trace_flags=SAMPLED)
            self.analyzer.windows.open("GET /inner", child, self.now, request=True)
            self.analyzer.windows.adopt(number * 64 + 63, child)
        self.analyzer.close(window, self.now, route)

    def go(self, operations: int) -> list[float]:
        """Resident memory in MB after each twentieth of the run."""
        process, sizes, number = psutil.Process(), [], 0
        began = time.perf_counter()
        print(f"{'operations':>12} {'RSS MB':>8} {'µs each':>8} {'objects':>9}")
        for part in range(1, 21):
            while self.done < operations * part // 20:
                self.window(number)
                number += 1
                self.done += PER_WINDOW
                if number % 1000 == 0:
                    self.analyzer.sweep()
                    self.reader.get_metrics_data()
            gc.collect()
            sizes.append(process.memory_info().rss / 2**20)
            each = (time.perf_counter() - began) / self.done * 1e6
            print(f"{self.done:>12,} {sizes[-1]:>8.1f} {each:>8.1f} {len(gc.get_objects()):>9,}", flush=True)
        return sizes


def main() -> int:
    """Run, print, and compare the end with the first third."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--operations", type=int, default=10_000_000)
    parser.add_argument("--allowed", type=float, default=10.0, help="MB that memory may grow after the first third")
    options = parser.parse_args()
    run = Run()
    sizes = run.go(options.operations)
    grown = max(sizes[-3:]) - max(sizes[:7])
    print(f"grown by {grown:.1f} MB; dropped by bounds: {safety.drops()}; failed: {safety.errors()}")
    return int(grown > options.allowed or bool(safety.errors()))


if __name__ == "__main__":
    sys.exit(main())
