"""What is measured: each variant instruments this process and says how a request begins and how to flush.

``none``            the OpenTelemetry SDK with a span per request, exported; nothing watches the database
``stock``           and OpenTelemetry's own SQLAlchemy instrumentor, or the driver's where SQLAlchemy is not used
``stock-auto``      and the driver's instrumentor too, which is what ``opentelemetry-instrument`` switches on
``dbsight``         dbsight instead, by ``dbsight.configure()``, everything on: spans, metrics, rules, windows
``dbsight-driver``  and the driver's instrumentor too, whose spans dbsight suppresses
``ddtrace-none``    ddtrace's tracer with a span per request; nothing watches the database
``ddtrace``         and ddtrace's database integrations as ``ddtrace-run`` switches them on
``base``            dbsight of another commit: the driver puts that one first on the path
``watched``         dbsight's instrumentor without its processor: nobody takes what it records
``without …``       dbsight without one of its ``PARTS``

All OpenTelemetry variants have the same pipeline: batch processor, OTLP over gRPC, a metric reader. The stock
SQLAlchemy instrumentor asks for a SQLAlchemy below 2.1 and would otherwise do nothing on 2.1; it is told to skip
that check.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

VARIANTS = ("none", "stock", "stock-auto", "base", "dbsight", "dbsight-driver", "ddtrace-none", "ddtrace", "watched")

WITHOUT = "without "
"""What precedes the name of a part in the name of a variant."""

PARTS = {
    # part: a setting that switches it off, or the functions that nothing is put in place of
    "call site": {"OTEL_DBSIGHT_CODE_LOCATION": "off"},
    "parameters": {"OTEL_DBSIGHT_PARAMETERS": "off"},
    "pool": ("dbsight.instrument.pools.sqlalchemy:PoolWatcher.install",),
    "ORM facts": ("dbsight.instrument.orm:loading", "dbsight.instrument.orm:of_path"),
    "rules": ("dbsight.detect.runner:RuleRunner.complete",),
    "totals": ("dbsight.monitor.stats:StatementRecord.take", "dbsight.monitor.stats:StatementRecord.take_one"),
    "metrics": ("dbsight.report.metrics:OperationSeries.record", "dbsight.report.metrics:OperationSeries.record_one"),
    "span": ("dbsight.span.sdk_tracer:emit",),
    "encoding": ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter:OTLPSpanExporter.export",),
}
"""What can be left out, one at a time. Without spans there is nothing to encode: ``span`` contains ``encoding``."""

NEVER_MS = "86400000"
"""A day."""


@dataclass
class Telemetry:
    """How a measured program meets the telemetry.

    Attributes:
        request: Opens the span of one request; a context manager.
        flush: Sends all spans and log records that wait and returns when they have left.
        export_metrics: Does what the metric reader otherwise does once a minute.
        shutdown: Ends exporters and their threads.
        instrument: For a workload without SQLAlchemy: switches the instrumentor of a driver on, by the driver's name,
            where the variant has one that is not on yet; gives what switches it off.
        instrument_framework: The same for a web framework, whose span is that of the request; None where the variant
            has none.
    """

    request: Callable[[], AbstractContextManager[Any]]
    flush: Callable[[], None]
    export_metrics: Callable[[], None]
    shutdown: Callable[[], None]
    instrument: Callable[[str], Callable[[], None]] = lambda _: _nothing
    instrument_framework: Callable[[str], Callable[[], None] | None] = lambda _: None


@dataclass
class Pipeline:
    """The providers that all OpenTelemetry variants have."""

    tracer_provider: Any
    meter_provider: Any
    logger_provider: Any

    def telemetry(self) -> Telemetry:
        """How a program uses these providers."""
        from opentelemetry.trace import SpanKind

        tracer = self.tracer_provider.get_tracer("benchmark")

        def flush() -> None:
            self.tracer_provider.force_flush()
            self.logger_provider.force_flush()

        def export_metrics() -> None:
            self.meter_provider.force_flush()

        def shutdown() -> None:
            self.tracer_provider.shutdown()
            self.meter_provider.shutdown()
            self.logger_provider.shutdown()

        def request() -> AbstractContextManager[Any]:
            return tracer.start_as_current_span("GET /items", kind=SpanKind.SERVER)

        return Telemetry(request, flush, export_metrics, shutdown, instrument_framework=_instrument)


def _providers(endpoint: str) -> Pipeline:
    """Make the providers as the stock distribution does."""
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "benchmark"})
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint, insecure=True))
    meters = MeterProvider(metric_readers=[reader], resource=resource)
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=endpoint, insecure=True)))
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True)))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    _logs.set_logger_provider(logs)
    return Pipeline(tracers, meters, logs)


DRIVERS = {
    # module of the driver: (module of its instrumentor, class)
    "psycopg2": ("opentelemetry.instrumentation.psycopg2", "Psycopg2Instrumentor"),
    "pymysql": ("opentelemetry.instrumentation.pymysql", "PyMySQLInstrumentor"),
    "sqlite3": ("opentelemetry.instrumentation.sqlite3", "SQLite3Instrumentor"),
    "psycopg": ("opentelemetry.instrumentation.psycopg", "PsycopgInstrumentor"),
    "asyncpg": ("opentelemetry.instrumentation.asyncpg", "AsyncPGInstrumentor"),
}
FRAMEWORKS = {"django": ("opentelemetry.instrumentation.django", "DjangoInstrumentor")}
"""Likewise."""


def _instrument_drivers() -> None:
    """Switch on the instrumentor of every driver that is installed, as ``opentelemetry-instrument`` does."""
    for driver, (module, _) in DRIVERS.items():
        if find_spec(driver) and find_spec(module):
            _instrument(driver)


def _instrument(name: str) -> Callable[[], None]:
    """Switch OpenTelemetry's instrumentor of one driver or framework on.

    Returns:
        What switches it off.
    """
    module, kind = {**DRIVERS, **FRAMEWORKS}[name]
    instrumentor = getattr(import_module(module), kind)()
    # psycopg2 may be installed as psycopg2-binary, which its instrumentor's check does not always know.
    instrumentor.instrument(skip_dep_check=True)
    forget: Callable[[], None] = instrumentor.uninstrument
    return forget


def _stock(endpoint: str, *, drivers: bool) -> Telemetry:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    pipeline = _providers(endpoint)
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    if find_spec("redis"):
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument(skip_dep_check=True)
    telemetry = pipeline.telemetry()
    if drivers:
        _instrument_drivers()
    else:
        telemetry.instrument = _instrument
    return telemetry


def _watched(endpoint: str) -> Telemetry:
    import dbsight

    pipeline = _providers(endpoint)
    dbsight.SQLAlchemyInstrumentor().instrument()
    return pipeline.telemetry()


def leave_out(part: str) -> None:
    """Leave one of the ``PARTS`` out; before dbsight is configured.

    Raises:
        AttributeError: There is no such function any more: the table of parts is out of date.
    """
    how = PARTS[part]
    if isinstance(how, dict):
        os.environ.update(how)
        return
    for function in how:
        module, _, path = function.partition(":")
        *owners, name = path.split(".")
        owner = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        getattr(owner, name)
        setattr(owner, name, _exported if part == "encoding" else _nothing)


def _nothing(*_args: object, **_kwargs: object) -> None:
    """What stands in place of a part."""


def _exported(*_args: object, **_kwargs: object) -> object:
    from opentelemetry.sdk.trace.export import SpanExportResult

    return SpanExportResult.SUCCESS


def keep_here() -> None:
    """Have the same done in each run: before dbsight is imported.

    Spans are encoded and thrown away in this process, for gRPC's threads do something else each time. Under valgrind
    everything is slow, and what is slow has findings and attributes of its own.
    """
    os.environ["OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD"] = "3600"
    os.environ["OTEL_DBSIGHT_VERY_SLOW_QUERY_THRESHOLD"] = "7200"
    os.environ["OTEL_DBSIGHT_SLOW_QUERY_THRESHOLDS"] = "redis=3600/7200"
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter

    def export(_: object, spans: Any) -> object:
        trace_exporter.encode_spans(spans).SerializeToString()
        return _exported()

    trace_exporter.OTLPSpanExporter.export = export


def _dbsight(endpoint: str, *, drivers: bool) -> Telemetry:
    """The distribution as a program starts it: it makes the providers itself, from the same environment."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    from opentelemetry import _logs, metrics, trace

    import dbsight

    dbsight.configure(service_name="benchmark")
    if drivers:
        _instrument_drivers()
    pipeline = Pipeline(trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider())
    return pipeline.telemetry()


def _ddtrace(url: str, *, patched: bool) -> Telemetry:
    os.environ.update(
        {
            "DD_TRACE_AGENT_URL": url,
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_TRACE_STARTUP_LOGS": "false",
            "DD_TRACE_WRITER_BUFFER_SIZE_BYTES": str(64 << 20),
            "DD_SERVICE": "benchmark",
        }
    )
    import ddtrace
    from ddtrace.trace import tracer

    if patched:
        ddtrace.patch(sqlite3=True, psycopg=True, asyncpg=True, pymysql=True, redis=True)
    return Telemetry(lambda: tracer.trace("GET /items", span_type="web"), tracer.flush, lambda: None, tracer.shutdown)


def install(variant: str, sink: dict[str, int]) -> Telemetry:
    """Instrument this process.

    Args:
        variant: One of ``VARIANTS``, or ``WITHOUT`` and one of ``PARTS``.
        sink: The sink's ports: ``otlp`` and ``agent``.
    """
    # Nothing may be lost: a variant that drops spans would look cheap.
    os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] = "65536"
    # Batches leave when they are full and when a round is flushed, at no other time.
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = NEVER_MS
    os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = NEVER_MS
    os.environ["OTEL_DBSIGHT_REPORT"] = "off"
    endpoint = f"http://127.0.0.1:{sink['otlp']}"
    if variant == "none":
        return _providers(endpoint).telemetry()
    if variant in ("stock", "stock-auto"):
        return _stock(endpoint, drivers=variant == "stock-auto")
    if variant == "watched":
        return _watched(endpoint)
    if variant.startswith(WITHOUT):
        leave_out(variant.removeprefix(WITHOUT))
    if variant.startswith(("dbsight", "base", WITHOUT)):
        return _dbsight(endpoint, drivers=variant == "dbsight-driver")
    return _ddtrace(f"http://127.0.0.1:{sink['agent']}", patched=variant == "ddtrace")
