"""Traces as applications under dbsight send them, made directly: a root and two queries, in two exports."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector.services import ask

SPANS = 3
"""How many each trace has."""

BATCH = 100
"""Traces in an export."""

KINDS = {
    "finding": (("dbsight.findings.max_severity", "warning"), None),
    "grave finding": (("dbsight.findings.max_severity", "error"), None),
    "slow": (None, ("dbsight.query.class", "slow")),
    "very slow": (None, ("dbsight.query.class", "very_slow")),
    "error": (None, None),
    "hint": (("dbsight.findings.max_severity", "info"), None),
    "ordinary": (None, None),
}
"""What stands on the root and on the second query."""


@dataclass(frozen=True)
class Trace:
    """One trace.

    Attributes:
        kind: One of ``KINDS``.
        id: Its 16 bytes.
    """

    kind: str
    id: bytes

    def spans(self) -> list[Span]:
        """Two queries and the root, which ends last."""
        on_root, on_query = KINDS[self.kind]
        now = time.time_ns()
        root, *queries = (self.id[:7] + bytes([number]) for number in range(SPANS))
        made = [
            Span(
                trace_id=self.id,
                span_id=query,
                parent_span_id=root,
                name="SELECT customers",
                kind=Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=now - 3_000_000,
                end_time_unix_nano=now - 1_000_000,
                attributes=attributes(("db.system.name", "postgresql"), ("db.query.summary", "SELECT customers")),
            )
            for query in queries
        ]
        if on_query:
            made[-1].attributes.extend(attributes(on_query))
        if self.kind == "error":
            made[-1].status.code = Status.STATUS_CODE_ERROR
        made.append(
            Span(
                trace_id=self.id,
                span_id=root,
                name="GET /orders",
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=now - 5_000_000,
                end_time_unix_nano=now,
                attributes=attributes(*([on_root] if on_root else [])),
            )
        )
        return made


def attributes(*pairs: tuple[str, str]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in pairs]


def make_traces(numbers: dict[str, int], seed: int) -> list[Trace]:
    """So many traces of each kind, mixed; the same for the same seed."""
    dice = random.Random(seed)
    traces = [Trace(kind, dice.randbytes(16)) for kind, number in numbers.items() for _ in range(number)]
    dice.shuffle(traces)
    return traces


def send(traces: list[Trace], endpoint: str, service: str) -> None:
    """Export them over OTLP/HTTP; the root of each is in another export than its queries."""
    for first in range(0, len(traces), BATCH):
        spans = [trace.spans() for trace in traces[first : first + BATCH]]
        for export in ([span for each in spans for span in each[:-1]], [each[-1] for each in spans]):
            resource = ResourceSpans(scope_spans=[ScopeSpans(spans=export)])
            resource.resource.attributes.extend(attributes(("service.name", service)))
            ask(f"{endpoint}/v1/traces", ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString())
