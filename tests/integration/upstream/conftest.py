"""OpenTelemetry's own instrumentors, with the old and the new names of attributes."""

import contextlib

import pytest
from opentelemetry.instrumentation import _semconv

from dbsight.config import Settings

MODES = ("", "database", "database/dup")
"""Of ``OTEL_SEMCONV_STABILITY_OPT_IN``."""


@pytest.fixture(params=MODES, ids=lambda mode: mode or "old")
def mode(request, monkeypatch):
    """Which names upstream gives its attributes, for the time of the test."""
    stability = _semconv._OpenTelemetrySemanticConventionStability
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)
    monkeypatch.setattr(stability, "_initialized", False)
    monkeypatch.setattr(stability, "_OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING", {})
    return request.param


@pytest.fixture
def instrumented(make_telemetry):
    """Switches an instrumentor of upstream's on; gives what is exported."""
    with contextlib.ExitStack() as stack:

        def start(instrumentor, **options):
            # Nothing is slow, however busy the machine is.
            settings = Settings(slow_query_threshold=60.0, very_slow_query_threshold=120.0)
            telemetry = make_telemetry(instrument=False, settings=settings)
            instrumentor.instrument(tracer_provider=telemetry.tracer_provider, skip_dep_check=True, **options)
            stack.callback(instrumentor.uninstrument)
            return telemetry

        yield start
