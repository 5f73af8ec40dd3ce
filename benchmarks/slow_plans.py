"""What plans in the background cost a request: its latency with ``EXPLAIN=slow`` next to ``off``.

    python benchmarks/slow_plans.py
    python benchmarks/slow_plans.py --rounds 60 --requests 40

Both variants run in one process, in interleaved rounds, and every query is slow by the setting. The plan of the
statement is requested before each round is measured, and not again within the interval: as in a service that has run
for a while. Which variant comes first changes from round to round, and the ratio is the median of the rounds' ratios:
other work on the machine falls on both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import dbsight
from dbsight.config import Settings


def main() -> None:
    """Measure, and print the two medians and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--requests", type=int, default=20, help="per round, each of one query that reads 20 000 rows")
    options = parser.parse_args()
    provider = TracerProvider(shutdown_on_exit=False)
    processor = dbsight.DbsightSpanProcessor()
    provider.add_span_processor(processor)
    dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    tracer = provider.get_tracer("benchmark")
    with tempfile.TemporaryDirectory() as directory:
        engine = sa.create_engine(f"sqlite:///{Path(directory) / 'shop.db'}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, note TEXT)")
            connection.execute(
                sa.text("INSERT INTO orders VALUES (:id, :customer, 'a note')"),
                [{"id": number, "customer": number % 5000} for number in range(20_000)],
            )
        query = sa.text("SELECT * FROM orders WHERE customer_id = :customer")

        def request(customer: int) -> None:
            with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER), engine.connect() as connection:
                connection.execute(query, {"customer": customer}).all()

        taken: dict[str, list[float]] = {"off": [], "slow": []}
        for number in range(options.rounds * 2):
            explain = ("off", "slow", "slow", "off")[number % 4]
            settings = Settings(slow_query_threshold=0.0, very_slow_query_threshold=99.0, explain=explain)  # type: ignore[arg-type]
            if processor.analyzer.settings.explain != explain:
                processor.analyzer.use(settings)
            for _ in range(2):  # the plan is requested here, and nothing else is measured until it is there
                request(1)
            processor.analyzer.plans.wait(30.0)
            for _ in range(options.requests):  # the caches of the processor are those of requests again
                request(1)
            began = time.perf_counter()
            for customer in range(options.requests):
                request(customer)
            taken[explain].append((time.perf_counter() - began) / options.requests)
        engine.dispose()
    medians = {name: statistics.median(values) for name, values in taken.items()}
    for name, value in medians.items():
        print(f"EXPLAIN={name:<5} {value * 1e6:8.1f} µs per request")
    ratios = [slow / off for slow, off in zip(taken["slow"], taken["off"], strict=True)]
    print(f"ratio {statistics.median(ratios):.4f}")


if __name__ == "__main__":
    main()
