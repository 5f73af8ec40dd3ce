"""What a finding that recurs costs: a request with an N+1 beside one with as many queries and none.

    python benchmarks/findings.py [queries of a request]

CPU of all threads per request, medians of nine interleaved rounds; SQLite in memory, spans exported to nobody.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from sqlalchemy import create_engine, text

import dbsight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan, Tracer
    from sqlalchemy import Engine, TextClause

ROUNDS = 9
REQUESTS = 60


class Nowhere(SpanExporter):
    """Exports nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans and forget them."""
        return SpanExportResult.SUCCESS


def request(tracer: Tracer, engine: Engine, queries: Sequence[TextClause]) -> None:
    """One unit of work."""
    with tracer.start_as_current_span("GET /"), engine.connect() as connection:
        for number, query in enumerate(queries):
            connection.execute(query, {"id": number}).all()


def main(count: int) -> None:
    """Measure and print both, and their ratio."""
    provider = TracerProvider()
    provider.add_span_processor(dbsight.DbsightSpanProcessor(BatchSpanProcessor(Nowhere())))
    dbsight.SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
    tracer, engine = provider.get_tracer("benchmark"), create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)"))
        connection.execute(text("INSERT INTO items VALUES (:id, 'a')"), [{"id": number} for number in range(count)])
    kinds = {
        "an N+1": [text("SELECT name FROM items WHERE id = :id")] * count,
        "no finding": [text(f"SELECT name AS name_{number} FROM items WHERE id = :id") for number in range(count)],
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(ROUNDS + 1):
        for name, queries in kinds.items():
            began = time.process_time()
            for _ in range(REQUESTS):
                request(tracer, engine, queries)
            if turn:  # the first warms up
                times[name].append((time.process_time() - began) / REQUESTS * 1e3)
    for name, each in times.items():
        print(f"{name}: {statistics.median(each):.3f} ms per request of {count} queries")
    ratios = [fault / none for fault, none in zip(times["an N+1"], times["no finding"], strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
