"""A plug-in for redis-py's own tests: everything is switched on, and every test counts its spans.

What is sent is counted where it leaves, at ``send_packed_command``, which knows nothing of commands and pipelines; not
counted is what a connection sends by itself: its handshake, its health checks, the UNWATCH of a pipeline that is put
away, the MONITOR that turns it into a stream.
"""

import contextvars
import functools
import inspect
import json
import os
import sys
from pathlib import Path

import pytest
import redis.asyncio.connection
import redis.connection
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import dbsight
from dbsight import safety

EXPORTER = InMemorySpanExporter()
SENT = [0]
TOTAL = {"tests": 0, "sent": 0, "spans": 0}
_inside = contextvars.ContextVar("inside", default=False)


def _quiet(original):
    """What is sent within is the connection's own."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def quiet(self, *args, **options):
            token = _inside.set(True)
            try:
                return await original(self, *args, **options)
            finally:
                _inside.reset(token)

    else:

        @functools.wraps(original)
        def quiet(self, *args, **options):
            token = _inside.set(True)
            try:
                return original(self, *args, **options)
            finally:
                _inside.reset(token)

    return quiet


def _counted(original):
    """One piece that is sent."""

    def count():
        frame = sys._getframe(2)
        if not _inside.get():
            while frame is not None and "redis" in frame.f_code.co_filename:
                if frame.f_code.co_name in {"reset", "_start_monitor", "__enter__", "__aenter__", "connect"}:
                    return
                frame = frame.f_back
            SENT[0] += 1

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def send(self, *args, **options):
            count()
            return await original(self, *args, **options)

    else:

        @functools.wraps(original)
        def send(self, *args, **options):
            count()
            return original(self, *args, **options)

    return send


def pytest_configure(config):
    """Instrument before any test module is imported."""
    for module in (redis.connection, redis.asyncio.connection):
        owner = module.AbstractConnection
        for name in ("connect", "on_connect", "on_connect_check_health", "check_health"):
            if name in vars(owner):
                setattr(owner, name, _quiet(vars(owner)[name]))
        owner.send_packed_command = _counted(owner.send_packed_command)
    tracer_provider = TracerProvider()
    meter_provider = MeterProvider([InMemoryMetricReader()])
    tracer_provider.add_span_processor(
        dbsight.DbsightSpanProcessor(SimpleSpanProcessor(EXPORTER), meter_provider=meter_provider)
    )
    for instrumentor in (dbsight.RedisInstrumentor(), dbsight.LockInstrumentor(), dbsight.CacheInstrumentor()):
        instrumentor.instrument(tracer_provider=tracer_provider, meter_provider=meter_provider, skip_dep_check=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    """Compare what was sent with what was seen, while the test itself runs; not where its connection is a stand-in."""
    SENT[0] = 0
    EXPORTER.clear()
    result = yield
    spans = [span for span in EXPORTER.get_finished_spans() if span.kind is SpanKind.CLIENT]
    if not SENT[0]:
        return result
    TOTAL["tests"] += 1
    TOTAL["sent"] += SENT[0]
    TOTAL["spans"] += len(spans)
    if len(spans) != SENT[0]:
        pytest.fail(f"{SENT[0]} sent, {len(spans)} spans: {[span.name for span in spans]}", pytrace=False)
    return result


def pytest_sessionfinish(session):
    """Tell the test that started this."""
    told = json.dumps({**TOTAL, "swallowed": safety.errors()})
    Path(os.environ["DBSIGHT_UPSTREAM_RESULT"]).write_text(told, encoding="utf-8")
