"""Metrics derived from observations and findings; metrics of states are recorded where the state is kept.

The cardinality of attributes is limited: after ``CAP`` values, further ones are ``other``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.metrics import Observation as Measurement
from opentelemetry.metrics import get_meter_provider

from dbsight import safety, semconv
from dbsight.report.cache_metrics import CacheMetrics
from dbsight.report.capped import Capped
from dbsight.report.event_metrics import EventMetrics
from dbsight.report.metrics_after_fork import begin_anew
from dbsight.report.model_metrics import ModelMetrics
from dbsight.report.preaggregation import AccumulatedCounter, AccumulatedHistogram, Series, Tally, histogram
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider

    from dbsight.model import Database, Finding, Operation, QueryClass, WindowSummary


class OperationSeries(NamedTuple):
    """What measures operations that are alike; exemplars point at their own spans.

    Attributes:
        durations: Of those that no client library measures by itself.
        returned: Rows; None for what returns none.
        counted: How many.
        blocked: Seconds for which an event loop stood still.
        of_model: Durations of those that the ORM sent for a class.
    """

    durations: Series
    returned: Series | None
    counted: Tally
    blocked: Series
    of_model: Series | None

    def record(self, operations: Sequence[Operation], took: Sequence[float], rows: Sequence[int | None]) -> None:
        """Measure operations, in the order of their ends, but for their number: ``counted`` is told by the caller.

        Args:
            operations: They.
            took: Their durations, s.
            rows: What they returned.
        """
        durations, returned, _, blocked, of_model = self
        if [each for each in operations if each.measured or each.blocked_loop]:  # hardly ever
            for each in operations:
                if not each.measured:
                    durations.record(each.duration, each.context, each.end_ns)
                if each.blocked_loop:
                    blocked.record(each.duration + each.pool_wait, each.context, each.end_ns)
        else:
            durations.record_each(took, operations)
        if returned is not None:
            if None in rows:
                known = [each for each in operations if each.rows is not None]
                returned.record_each([each.rows or 0 for each in known], known)
            else:
                returned.record_each(rows, operations)  # type: ignore[arg-type]
        if of_model is not None:
            of_model.record_each(took, operations)

    def record_one(self, operation: Operation) -> None:
        """The same of a single one, for less."""
        durations, returned, _, blocked, of_model = self
        context, end_ns, rows = operation.context, operation.end_ns, operation.rows
        if not operation.measured:
            durations.record(operation.duration, context, end_ns)
        if returned is not None and rows is not None:
            returned.record(rows, context, end_ns)
        if of_model is not None:
            of_model.record(operation.duration, context, end_ns)
        if operation.blocked_loop:
            blocked.record(operation.duration + operation.pool_wait, context, end_ns)


class Metrics:
    """Instruments of one meter provider.

    Args:
        provider: None follows the global one; its instruments start to work when it is set.
        before: Called before each collection, to flush batched events.
    """

    def __init__(self, provider: MeterProvider | None = None, before: Callable[[], None] | None = None) -> None:
        self._before = before
        meter = (provider or get_meter_provider()).get_meter(semconv.SCOPE, __version__, schema_url=semconv.SCHEMA_URL)
        self._duration = histogram(
            meter,
            semconv.METRIC_OPERATION_DURATION,
            "s",
            "Duration of database client operations.",
            semconv.DURATION_BUCKETS,
        )
        self._rows = histogram(
            meter,
            semconv.METRIC_RETURNED_ROWS,
            "{row}",
            "The actual number of records returned by the database operation.",
            semconv.ROWS_BUCKETS,
        )
        self._queries = AccumulatedCounter(
            meter.create_counter(
                semconv.METRIC_QUERIES, unit="{query}", description="Queries by type and duration class."
            )
        )
        findings = meter.create_counter(
            semconv.METRIC_FINDINGS, unit="{finding}", description="Findings by rule and severity."
        )
        self._any_instrument = findings
        self._findings = AccumulatedCounter(findings)
        self._request_queries = histogram(
            meter, semconv.METRIC_REQUEST_QUERIES, "{query}", "Queries per request.", semconv.ROWS_BUCKETS
        )
        self._concurrency = histogram(
            meter,
            semconv.METRIC_CONCURRENCY,
            "{query}",
            "The most queries that ran at once, per request.",
            semconv.CONCURRENCY_BUCKETS,
        )
        self.events = EventMetrics(meter)
        self.caches = CacheMetrics(meter)
        self.models = ModelMetrics(meter)
        self._blocked = histogram(
            meter,
            semconv.METRIC_EVENTLOOP_BLOCKED,
            "s",
            "Time that a synchronous database call blocked a running event loop.",
            semconv.DURATION_BUCKETS,
        )
        self._accumulated: tuple[AccumulatedHistogram | AccumulatedCounter, ...] = (
            self._duration,
            self._rows,
            self._queries,
            self._findings,
            self._request_queries,
            self._concurrency,
            self._blocked,
            *self.events.accumulated,
            *self.caches.accumulated,
            *self.models.accumulated,
        )
        self._create_self_metrics(meter)
        self._summaries = Capped()
        self._namespaces = Capped()
        self._routes = Capped()
        self._addresses = Capped()
        self._errors = Capped()
        self._codes = Capped()
        self._requests: dict[str, tuple[Series, Series]] = {}
        self._found: dict[tuple[str, str, str], Tally] = {}

    def series_of(self, operation: Operation, query_class: QueryClass | None = None) -> OperationSeries:
        """Return the series of operations with this statement, database, error and duration class."""
        statement, database = operation.statement, operation.database
        attributes = self._attributes(operation)
        counted = {
            semconv.DB_SYSTEM_NAME: database.system,
            semconv.QUERY_TYPE: statement.kind,
            semconv.QUERY_CLASS: query_class or "normal",
        }
        return OperationSeries(
            self._duration.bind(attributes),
            self._rows.bind(attributes) if statement.kind == "select" else None,
            self._queries.bind(counted),
            self._blocked.bind({semconv.DB_SYSTEM_NAME: database.system}),
            self.models.duration_of(operation) if operation.model is not None else None,
        )

    def flush(self) -> None:
        """Flush pending measurements to the SDK before a collection reads them. Never raises."""
        if self._before is not None:
            self._before()
        for each in self._accumulated:
            _flush(each)

    def forget(self) -> None:
        """Discard pending measurements in a forked child: the parent reports them."""
        for each in self._accumulated:
            each.forget()
        begin_anew(self._any_instrument)

    def close(self, summary: WindowSummary) -> None:
        """Record one window that is closed."""
        if summary.request:
            route = self._routes(summary.route)
            requests = self._requests.get(route)
            if requests is None:
                attributes = {semconv.HTTP_ROUTE: route}
                requests = self._request_queries.bind(attributes), self._concurrency.bind(attributes)
                self._requests[route] = requests
            queries, concurrency = requests
            queries.record(summary.calls, None, 0)
            if summary.concurrency:
                concurrency.record(summary.concurrency, None, 0)
        for found in summary.findings:
            self._tally_of(found).add(found.count if found.rule == "slow_query" else 1)

    def finding(self, found: Finding) -> None:
        """Record a finding that belongs to no window."""
        self._tally_of(found).add()

    def _tally_of(self, found: Finding) -> Tally:
        key = (found.rule, found.severity, found.category)
        tally = self._found.get(key)
        if tally is None:
            attributes = (semconv.FINDING_RULE, semconv.FINDING_SEVERITY, semconv.FINDING_CATEGORY)
            tally = self._found[key] = self._findings.bind(dict(zip(attributes, key, strict=True)))
        return tally

    def _attributes(self, operation: Operation) -> dict[str, Any]:
        database: Database = operation.database
        attributes: dict[str, Any] = {semconv.DB_SYSTEM_NAME: database.system}
        if operation.statement.operation:
            attributes[semconv.DB_OPERATION_NAME] = operation.statement.operation
        if operation.statement.summary:
            attributes[semconv.DB_QUERY_SUMMARY] = self._summaries(operation.statement.summary)
        if database.namespace is not None:
            attributes[semconv.DB_NAMESPACE] = self._namespaces(database.namespace)
        if database.address is not None:
            attributes[semconv.SERVER_ADDRESS] = self._addresses(database.address)
        if database.port is not None:
            attributes[semconv.SERVER_PORT] = database.port
        if operation.error_type is not None:
            attributes[semconv.ERROR_TYPE] = self._errors(operation.error_type)
            if operation.error_code is not None:
                attributes[semconv.DB_RESPONSE_STATUS_CODE] = self._codes(operation.error_code)
        return attributes

    def _create_self_metrics(self, meter: Meter) -> None:
        def dropped(_: CallbackOptions) -> Iterable[Measurement]:
            self.flush()
            return [Measurement(count, {"dbsight.reason": reason}) for reason, count in safety.drops().items()]

        def errors(_: CallbackOptions) -> Iterable[Measurement]:
            return [Measurement(count, {"dbsight.place": place}) for place, count in safety.errors().items()]

        meter.create_observable_counter(
            semconv.METRIC_SELF_DROPPED,
            [dropped],
            unit="{item}",
            description="Records that dbsight dropped because a limit was reached.",
        )
        meter.create_observable_counter(
            semconv.METRIC_SELF_ERRORS,
            [errors],
            unit="{error}",
            description="Internal errors of dbsight, which do not reach the application.",
        )


@safety.guard
def _flush(accumulated: AccumulatedHistogram | AccumulatedCounter) -> None:
    accumulated.flush()
