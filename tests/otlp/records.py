"""What arrives over OTLP, as plain records that tests compare whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Attributes = dict[str, Any]
"""Strings, booleans, integers, floats, bytes; lists and dictionaries of them."""


@dataclass(frozen=True)
class Scope:
    """Who made a record.

    Attributes:
        name: Name of the instrumentation scope.
        version: Empty when there is none.
        schema_url: Empty when there is none.
        attributes: Usually none.
    """

    name: str
    version: str = ""
    schema_url: str = ""
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something that happened during a span; times are ns since the epoch."""

    name: str
    attributes: Attributes
    time_ns: int
    dropped_attributes: int = 0


@dataclass(frozen=True)
class Link:
    """A span that another one points at; ids in hexadecimal digits."""

    trace_id: str
    span_id: str
    attributes: Attributes
    trace_state: str = ""
    flags: int = 0
    dropped_attributes: int = 0


@dataclass(frozen=True)
class Span:
    """A span; ids in hexadecimal digits, times in ns since the epoch.

    Attributes:
        kind: ``INTERNAL``, ``SERVER``, ``CLIENT``, ``PRODUCER`` or ``CONSUMER``.
        parent_span_id: Empty for a root.
        status: ``UNSET``, ``OK`` or ``ERROR``.
        flags: As on the wire: 256 means that 512 says whether the parent is remote. The SDK sends no sampled bit.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: list[Event]
    links: list[Link]
    status: str
    status_description: str
    scope: Scope
    resource: Attributes
    flags: int
    trace_state: str
    dropped_attributes: int
    dropped_events: int
    dropped_links: int

    @property
    def duration(self) -> float:
        """From start to end, s."""
        return (self.end_ns - self.start_ns) / 1e9

    def events_named(self, name: str) -> list[Event]:
        """The events of this name, in order."""
        return [event for event in self.events if event.name == name]


@dataclass(frozen=True)
class Exemplar:
    """One measurement with the span that it belongs to."""

    value: float
    trace_id: str
    span_id: str
    attributes: Attributes
    time_ns: int


@dataclass(frozen=True)
class Point:
    """One value of a metric for one set of attributes.

    Attributes:
        value: Of a sum or gauge; None for a histogram.
        count: Measurements in a histogram.
        sum: Their sum.
        min: The least, None when unknown.
        max: The greatest, None when unknown.
        bounds: Upper bounds of a histogram's buckets, but for the last.
        bucket_counts: Measurements in each bucket; one more than there are bounds.
    """

    attributes: Attributes
    start_ns: int
    time_ns: int
    value: float | None = None
    count: int = 0
    sum: float = 0.0
    min: float | None = None
    max: float | None = None
    bounds: list[float] = field(default_factory=list)
    bucket_counts: list[int] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)


@dataclass(frozen=True)
class Metric:
    """A metric as one export told it.

    Attributes:
        type: ``sum``, ``gauge``, ``histogram``, ``exponential_histogram`` or ``summary``.
        monotonic: Whether a sum only grows.
        temporality: ``CUMULATIVE``, ``DELTA``, or empty for a gauge.
    """

    name: str
    description: str
    unit: str
    type: str
    monotonic: bool
    temporality: str
    points: list[Point]
    scope: Scope
    resource: Attributes


@dataclass(frozen=True)
class LogRecord:
    """A log record or event; ids in hexadecimal digits, empty outside spans; times in ns since the epoch."""

    event_name: str
    body: Any
    severity: int
    severity_text: str
    attributes: Attributes
    trace_id: str
    span_id: str
    flags: int
    time_ns: int
    observed_ns: int
    dropped_attributes: int
    scope: Scope
    resource: Attributes


def value_of(value: Any) -> Any:
    """An ``AnyValue`` as Python's own."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes_of(pairs: Iterable[Any]) -> Attributes:
    """Key-value pairs as a dictionary; a key that comes twice is a fault of the sender."""
    attributes: Attributes = {}
    for pair in pairs:
        assert pair.key not in attributes, f"attribute {pair.key} was sent twice"
        attributes[pair.key] = value_of(pair.value)
    return attributes


def _scope_of(group: Any) -> Scope:
    return Scope(group.scope.name, group.scope.version, group.schema_url, attributes_of(group.scope.attributes))


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """The spans of one export request, in order."""
    for resource in request.resource_spans:
        about = attributes_of(resource.resource.attributes)
        for group in resource.scope_spans:
            scope = _scope_of(group)
            for span in group.spans:
                yield _span_of(span, scope, about)


def _span_of(span: SpanMessage, scope: Scope, resource: Attributes) -> Span:
    return Span(
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=attributes_of(span.attributes),
        events=[
            Event(event.name, attributes_of(event.attributes), event.time_unix_nano, event.dropped_attributes_count)
            for event in span.events
        ],
        links=[
            Link(
                trace_id=link.trace_id.hex(),
                span_id=link.span_id.hex(),
                attributes=attributes_of(link.attributes),
                trace_state=link.trace_state,
                flags=link.flags,
                dropped_attributes=link.dropped_attributes_count,
            )
            for link in span.links
        ],
        status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_description=span.status.message,
        scope=scope,
        resource=resource,
        flags=span.flags,
        trace_state=span.trace_state,
        dropped_attributes=span.dropped_attributes_count,
        dropped_events=span.dropped_events_count,
        dropped_links=span.dropped_links_count,
    )


def metrics_of(request: ExportMetricsServiceRequest, name: str | None = None) -> Iterator[Metric]:
    """The metrics of one export request, in order; only those of one name, if it is given."""
    for resource in request.resource_metrics:
        about = attributes_of(resource.resource.attributes)
        for group in resource.scope_metrics:
            scope = _scope_of(group)
            for metric in group.metrics:
                if name not in (None, metric.name):
                    continue
                kind = metric.WhichOneof("data") or ""
                data = getattr(metric, kind)
                temporality = getattr(data, "aggregation_temporality", 0)
                yield Metric(
                    name=metric.name,
                    description=metric.description,
                    unit=metric.unit,
                    type=kind,
                    monotonic=getattr(data, "is_monotonic", False),
                    temporality=("", "DELTA", "CUMULATIVE")[temporality],
                    points=[_point_of(point) for point in data.data_points],
                    scope=scope,
                    resource=about,
                )


def _point_of(point: Any) -> Point:
    common = {
        "attributes": attributes_of(point.attributes),
        "start_ns": point.start_time_unix_nano,
        "time_ns": point.time_unix_nano,
        "exemplars": [
            Exemplar(
                value=exemplar.as_int if exemplar.WhichOneof("value") == "as_int" else exemplar.as_double,
                trace_id=exemplar.trace_id.hex(),
                span_id=exemplar.span_id.hex(),
                attributes=attributes_of(exemplar.filtered_attributes),
                time_ns=exemplar.time_unix_nano,
            )
            for exemplar in getattr(point, "exemplars", ())
        ],
    }
    if hasattr(point, "as_int"):
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        return Point(value=value, **common)
    return Point(
        count=point.count,
        sum=point.sum,
        min=point.min if hasattr(point, "min") and point.HasField("min") else None,
        max=point.max if hasattr(point, "max") and point.HasField("max") else None,
        bounds=list(getattr(point, "explicit_bounds", ())),
        bucket_counts=list(getattr(point, "bucket_counts", ())),
        **common,
    )


def logs_of(request: ExportLogsServiceRequest) -> Iterator[LogRecord]:
    """The log records of one export request, in order."""
    for resource in request.resource_logs:
        about = attributes_of(resource.resource.attributes)
        for group in resource.scope_logs:
            scope = _scope_of(group)
            for record in group.log_records:
                yield LogRecord(
                    event_name=record.event_name,
                    body=value_of(record.body),
                    severity=record.severity_number,
                    severity_text=record.severity_text,
                    attributes=attributes_of(record.attributes),
                    trace_id=record.trace_id.hex(),
                    span_id=record.span_id.hex(),
                    flags=record.flags,
                    time_ns=record.time_unix_nano,
                    observed_ns=record.observed_time_unix_nano,
                    dropped_attributes=record.dropped_attributes_count,
                    scope=scope,
                    resource=about,
                )


class Received:
    """Everything that was told so far, whoever collects it."""

    def trace_requests(self) -> list[ExportTraceServiceRequest]:
        """Export requests with spans, in the order in which they came."""
        raise NotImplementedError

    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """Export requests with metrics, in the order in which they came."""
        raise NotImplementedError

    def log_requests(self) -> list[ExportLogsServiceRequest]:
        """Export requests with log records, in the order in which they came."""
        raise NotImplementedError

    def spans(self, name: str | None = None) -> list[Span]:
        """The spans in the order in which they came; only those of one name where it is given."""
        spans = [span for request in self.trace_requests() for span in spans_of(request)]
        return [span for span in spans if name in (None, span.name)]

    def span(self, name: str) -> Span:
        """The one span of this name; fails when there is none or more than one."""
        found = self.spans(name)
        assert len(found) == 1, f"{len(found)} spans named {name!r} among {[span.name for span in self.spans()]}"
        return found[0]

    def metrics(self, name: str | None = None) -> list[Metric]:
        """The metrics, once for each export; only those of one name where it is given."""
        return [metric for request in self.metric_requests() for metric in metrics_of(request, name)]

    def points(self, name: str) -> list[Point]:
        """The newest point of a metric for each resource and set of attributes."""
        newest = {}
        for metric in self.metrics(name):
            for point in metric.points:
                newest[repr(sorted(metric.resource.items())), repr(sorted(point.attributes.items()))] = point
        return list(newest.values())

    def logs(self, event_name: str | None = None) -> list[LogRecord]:
        """The log records in the order in which they came; only events of one name where it is given."""
        records = [record for request in self.log_requests() for record in logs_of(request)]
        return [record for record in records if event_name in (None, record.event_name)]
