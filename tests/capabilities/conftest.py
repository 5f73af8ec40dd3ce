"""What these tests have in common: a process in which dbsight is on."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import dbsight
from dbsight import analyzer
from dbsight.instrument import recorded
from dbsight.processor import DbsightSpanProcessor


@pytest.fixture
def process():
    """The engine of a process without any OpenTelemetry set-up; shut down afterwards."""
    yield
    engine = analyzer.engine()
    if engine is not None:
        engine.unsubscribe()
    for callback in analyzer.on_alert.functions():
        analyzer.on_alert.remove(callback)


@pytest.fixture
def exported(process, monkeypatch):
    """The spans that a process with an SDK exports."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    processor = DbsightSpanProcessor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(processor)
    monkeypatch.setattr(recorded, "_factory", type(recorded._factory)(provider))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter.get_finished_spans
    provider.shutdown()


@pytest.fixture
def sqlalchemy(process):
    """SQLAlchemy, instrumented."""
    instrumentor = dbsight.SQLAlchemyInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()
