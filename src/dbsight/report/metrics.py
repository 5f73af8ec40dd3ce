"""Metrics derived from observations and findings; those of a state are recorded where it can be asked for.

Attributes that can grow without bound are capped: once a metric has seen ``CAP`` values, further ones are ``other``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation as Measurement
from opentelemetry.metrics import get_meter_provider

from dbsight import safety, semconv
from dbsight.report.bound import BoundCounter, BoundHistogram
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider

    from dbsight.model import Database, Finding, Operation, Verdict, WindowSummary

    Record = Callable[[float, Context | None], None]

CAP: Final = 500
"""Different values of an unbounded attribute (summaries, routes) before the rest is ``other``."""

_MAX_BOUND = 5000


class Capped:
    """The first ``limit`` values as they are, every further one as ``other``."""

    def __init__(self, limit: int = CAP) -> None:
        self._limit = limit
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        """Give back ``value``, or ``other`` once there are too many."""
        if value in self._values:
            return value
        if len(self._values) >= self._limit:
            safety.dropped("metric attribute values")
            return semconv.OTHER
        self._values.add(value)
        return value


class Metrics:
    """Instruments of one meter provider.

    Args:
        provider: None follows the global one; its instruments start to work when it is set.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = (provider or get_meter_provider()).get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
        self._duration = BoundHistogram(
            meter.create_histogram(
                semconv.METRIC_OPERATION_DURATION,
                unit="s",
                description="Duration of database client operations.",
                explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
            )
        )
        self._rows = BoundHistogram(
            meter.create_histogram(
                semconv.METRIC_RETURNED_ROWS,
                unit="{row}",
                description="The actual number of records returned by the database operation.",
                explicit_bucket_boundaries_advisory=semconv.ROWS_BUCKETS,
            )
        )
        self._queries = BoundCounter(
            meter.create_counter(
                semconv.METRIC_QUERIES, unit="{query}", description="Queries by type and by how slow they were."
            )
        )
        self._findings = meter.create_counter(
            semconv.METRIC_FINDINGS, unit="{finding}", description="Findings by rule and severity."
        )
        self._request_queries = meter.create_histogram(
            semconv.METRIC_REQUEST_QUERIES,
            unit="{query}",
            description="Queries in one request.",
            explicit_bucket_boundaries_advisory=semconv.ROWS_BUCKETS,
        )
        _create_self_metrics(meter)
        self._summaries = Capped()
        self._routes = Capped()
        self._durations: dict[Any, Record] = {}
        self._returned: dict[Any, Record] = {}
        self._counted: dict[Any, Record] = {}

    def record(self, operation: Operation, verdict: Verdict | None, context: Context | None) -> None:
        """Record one operation.

        Args:
            operation: What happened.
            verdict: Gives the class.
            context: Carries the operation's own span, for exemplars.
        """
        statement = operation.statement
        database = operation.database
        key = (database, statement.summary, operation.error_type)
        duration = self._durations.get(key)
        if duration is None:
            duration = _keep(self._durations, key, self._duration.bind(self._attributes(operation)))
        duration(operation.duration, context)
        rows = operation.rows
        if rows is not None and statement.kind == "select":
            returned = self._returned.get(key)
            if returned is None:
                returned = _keep(self._returned, key, self._rows.bind(self._attributes(operation)))
            returned(rows, context)
        query_class = verdict.query_class if verdict is not None else None
        counted = self._counted.get((statement.kind, query_class, database.system))
        if counted is None:
            counted = _keep(
                self._counted,
                (statement.kind, query_class, database.system),
                self._queries.bind(
                    {
                        semconv.DB_SYSTEM_NAME: database.system,
                        semconv.QUERY_TYPE: statement.kind,
                        semconv.QUERY_CLASS: query_class or "normal",
                    }
                ),
            )
        counted(1, context)

    def close(self, summary: WindowSummary) -> None:
        """Record one window that is over."""
        if summary.request:
            self._request_queries.record(summary.calls, {semconv.HTTP_ROUTE: self._routes(summary.route)})
        for found in summary.findings:
            self._findings.add(
                found.count if found.rule == "slow_query" else 1,
                {
                    semconv.FINDING_RULE: found.rule,
                    semconv.FINDING_SEVERITY: found.severity,
                    semconv.FINDING_CATEGORY: found.category,
                },
            )

    def finding(self, found: Finding) -> None:
        """Record a finding that belongs to no window."""
        self._findings.add(
            1,
            {
                semconv.FINDING_RULE: found.rule,
                semconv.FINDING_SEVERITY: found.severity,
                semconv.FINDING_CATEGORY: found.category,
            },
        )

    def _attributes(self, operation: Operation) -> dict[str, Any]:
        database: Database = operation.database
        attributes: dict[str, Any] = {semconv.DB_SYSTEM_NAME: database.system}
        if operation.statement.summary:
            attributes[semconv.DB_QUERY_SUMMARY] = self._summaries(operation.statement.summary)
        if database.namespace is not None:
            attributes[semconv.DB_NAMESPACE] = database.namespace
        if database.address is not None:
            attributes[semconv.SERVER_ADDRESS] = database.address
        if database.port is not None:
            attributes[semconv.SERVER_PORT] = database.port
        if operation.error_type is not None:
            attributes[semconv.ERROR_TYPE] = operation.error_type
            if operation.error_code is not None:
                attributes[semconv.DB_RESPONSE_STATUS_CODE] = operation.error_code
        return attributes


def _keep(bound: dict[Any, Record], key: Any, record: Record) -> Record:
    if len(bound) >= _MAX_BOUND:
        bound.clear()
    bound[key] = record
    return record


def _create_self_metrics(meter: Meter) -> None:
    def dropped(_: CallbackOptions) -> Iterable[Measurement]:
        return [Measurement(count, {"dbsight.reason": reason}) for reason, count in safety.drops().items()]

    def errors(_: CallbackOptions) -> Iterable[Measurement]:
        return [Measurement(count, {"dbsight.place": place}) for place, count in safety.errors().items()]

    meter.create_observable_counter(
        semconv.METRIC_SELF_DROPPED,
        [dropped],
        unit="{item}",
        description="What dbsight did not remember because a bound was reached.",
    )
    meter.create_observable_counter(
        semconv.METRIC_SELF_ERRORS,
        [errors],
        unit="{error}",
        description="Failures inside dbsight that were kept from the application.",
    )
