"""A program that ran to its end, and everything that arrived from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2e import runner
from otlp.records import Received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from otlp.client import Receiver
    from otlp.records import Event, LogRecord, Span

MADE_BY_THE_CLOCK = (
    *("dbsight.finding.impact", "dbsight.finding.current_value"),
    *("dbsight.query.fetch_time", "dbsight.query.connect_time"),
)
"""Attributes that no two runs share; severities depend on them."""


@dataclass(frozen=True)
class Observed(Received):
    """What a run did and told; nothing of it changes any more.

    Attributes:
        run: Exit code and output.
        ended: When it was over, s since the epoch.
        protocols: By which something came: ``grpc``, ``http/protobuf``.
    """

    run: runner.CompletedRun
    ended: float
    protocols: frozenset[str] = frozenset()
    _traces: tuple[ExportTraceServiceRequest, ...] = field(default=(), repr=False)
    _metrics: tuple[ExportMetricsServiceRequest, ...] = field(default=(), repr=False)
    _logs: tuple[ExportLogsServiceRequest, ...] = field(default=(), repr=False)

    def trace_requests(self) -> list[ExportTraceServiceRequest]:
        """Export requests with spans, in the order in which they came."""
        return list(self._traces)

    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """Export requests with metrics, in the order in which they came."""
        return list(self._metrics)

    def log_requests(self) -> list[ExportLogsServiceRequest]:
        """Export requests with log records, in the order in which they came."""
        return list(self._logs)

    def queries(self) -> list[Span]:
        """The query spans that dbsight made, by their start."""
        spans = [span for span in self.spans() if span.kind == "CLIENT" and span.scope.name == "dbsight"]
        return sorted(spans, key=lambda span: span.start_ns)

    def everything(self) -> str:
        """All that left the process, for those who look for what should not have."""
        told = [*self._traces, *self._metrics, *self._logs]
        return "\n".join([self.run.stdout, self.run.stderr, *(str(request) for request in told)])


def observe(program: str | Sequence[str], receiver: Receiver | None, **options: Any) -> Observed:
    """Run a program by ``runner.run_instrumented``, and keep what arrived.

    Args:
        program: As for ``run_instrumented``.
        receiver: Emptied before; None for a program that has nowhere to export to.
        options: Of ``run_instrumented``.
    """
    if receiver is None:
        run = runner.run_instrumented(program, **options)
        return Observed(run, time.time())
    receiver.clear()
    run = runner.run_instrumented(program, receiver=receiver, **options)
    return arrived(run, receiver)


def arrived(run: runner.CompletedRun, receiver: Receiver) -> Observed:
    """What a receiver holds now, with the run that it came from."""
    ended = time.time()
    return Observed(
        run,
        ended,
        frozenset(receiver.protocols()),
        tuple(receiver.trace_requests()),
        tuple(receiver.metric_requests()),
        tuple(receiver.log_requests()),
    )


def finding_of(record: Event | LogRecord) -> dict[str, Any]:
    """The attributes of a finding's event but for those that the clock makes, its severity and priority among them."""
    unsteady = (*MADE_BY_THE_CLOCK, "dbsight.finding.severity", "dbsight.finding.priority")
    return {name: value for name, value in record.attributes.items() if name not in unsteady}


def line_of(program: str, marker: str) -> int:
    """The number of the line of a program, as ``run_instrumented`` writes it, that ends with a marker."""
    lines = program.lstrip("\n").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))
    return number
