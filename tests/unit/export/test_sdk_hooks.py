"""How exporters are wrapped in the SDK's own configuration."""

import logging
import math

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExportResult,
)

from dbsight import safety
from dbsight.export.sdk_hooks import BoundedLogProcessor, BoundedSpanProcessor
from exporting import HTTP, SentLogs, SentMetrics, SentSpans, spans


def test_the_sdk_installed_here_is_one_that_we_know(outlet):
    """Both factories of the configurator, and the timeout of the batch processor: private in SDK 1.42 to 1.45."""
    wired = outlet.wire({"resource_attributes": {"service.name": "shop"}})
    assert wired.keys() == {"resource_attributes", "export_span_processor", "export_log_record_processor"}
    assert wired["resource_attributes"] == {"service.name": "shop"}


def test_wired_factories_make_bounded_processors_around_wrapped_exporters(outlets, ports):
    """What the SDK calls once for each exporter."""
    ports.listening.add(HTTP)
    outlet = outlets()
    wired = outlet.wire({})
    inner = SentSpans()
    processor = wired["export_span_processor"](inner)
    log_processor = wired["export_log_record_processor"](SentLogs())
    try:
        assert (type(processor), type(log_processor)) == (BoundedSpanProcessor, BoundedLogProcessor)
        processor.on_end(spans("a")[0])
        processor.force_flush()
        assert inner.names == [["a"]]
        assert (type(processor).on_start, type(processor)._on_ending) == (
            BatchSpanProcessor.on_start,
            BatchSpanProcessor._on_ending,
        )
    finally:
        processor.shutdown()
        log_processor.shutdown()


def test_a_factory_of_the_callers_is_kept_and_gets_the_wrapped_exporter(outlet):
    """A distribution may want its own processor."""
    inner = SentSpans()
    processor = outlet.wire({"export_span_processor": SimpleSpanProcessor})["export_span_processor"](inner)
    assert type(processor) is SimpleSpanProcessor
    assert processor.span_exporter.export(spans("a")) is SpanExportResult.SUCCESS
    assert inner.batches == []


@pytest.mark.swallows_errors
def test_an_exporter_that_cannot_be_wrapped_is_used_as_it_is(outlet):
    """A vendor's exporter may do anything when it is looked at; the application starts all the same."""

    class Vendors(SentSpans):
        made = False

        def __getattribute__(self, name):
            if name == "_endpoint" and type(self).made:
                raise RuntimeError(name)
            return super().__getattribute__(name)

    inner = Vendors()
    Vendors.made = True
    processor = outlet.wire({"export_span_processor": SimpleSpanProcessor})["export_span_processor"](inner)
    assert processor.span_exporter is inner
    assert safety.errors() == {"export.wrap": 1}


def test_under_a_configuration_file_the_sdk_gets_no_arguments_from_us(outlets):
    """It would warn about them."""
    assert outlets({"OTEL_CONFIG_FILE": "otel.yaml"}).wire({}) == {}


@pytest.mark.parametrize(
    ("name", "stranger", "said"),
    [
        ("_configuration._initialize_components", lambda sampler: None, "takes no processor factories"),
        ("_configuration._initialize_components", None, "TypeError"),
        ("_shared_internal.BatchProcessor.shutdown", lambda self: None, "takes no timeout"),
    ],
)
def test_an_sdk_that_we_do_not_know_is_left_alone(outlet, monkeypatch, caplog, name, stranger, said):
    """Nothing is wrapped, and one debug message says why."""
    monkeypatch.setattr(f"opentelemetry.sdk.{name}", stranger)
    with caplog.at_level(logging.DEBUG, "dbsight"):
        assert outlet.wire({"sampler": None}) == {"sampler": None}
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert said in record.message


def test_fit_wraps_the_exporters_of_readers_once(outlet, ports):
    """OTLP ones; the console's stays as it is, and so does a reader that has no exporter."""
    inner, console = SentMetrics(), ConsoleMetricExporter()
    readers = [
        PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf) for exporter in (inner, console)
    ]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    outlet.fit(provider)
    wrapped = readers[0]._exporter
    outlet.fit(provider)
    provider.get_meter("test").create_counter("things").add(1)

    readers[0].force_flush()
    assert (readers[0]._exporter, readers[1]._exporter, inner.batches) == (wrapped, console, [])
    ports.listening.add(HTTP)
    outlet.look()
    readers[0].force_flush()
    (data,) = inner.batches
    assert data.resource_metrics[0].scope_metrics[0].metrics[0].name == "things"


def test_fit_leaves_alone_what_is_no_meter_provider_of_the_sdk(outlet, caplog):
    """The API's own provider, and one that shows no readers."""
    from opentelemetry.metrics import NoOpMeterProvider

    class Strange(MeterProvider):
        def __init__(self):
            pass

    with caplog.at_level(logging.DEBUG, "dbsight"):
        outlet.fit(NoOpMeterProvider())
        outlet.fit(Strange())
    assert [record.message for record in caplog.records] == [
        "dbsight: OTLP metric exporters are left as they are: the meter provider shows no readers"
    ]
