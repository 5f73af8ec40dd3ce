"""Starting: the entry points of OpenTelemetry's auto-instrumentation, and ``configure`` for code.

The only module that wires everything together. Private names of the SDK: ``_OTelSDKConfigurator._configure`` and the
arguments that it hands on (opentelemetry-sdk 1.42 to 1.45).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import logging
import os
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.util._importlib_metadata import entry_points

from dbsight import analyzer, config, sigterm, statement, worker_exit
from dbsight.catalog import INSTRUMENTORS, REPLACED, is_disabled
from dbsight.exit_report import ExitCode, report, stay_interrupted
from dbsight.export import Outlet
from dbsight.instrument import django_settings
from dbsight.instrument.libraries import instrument_libraries, is_sub_interpreter
from dbsight.processor import DbsightSpanProcessor, attach
from dbsight.safety import failed, guard
from dbsight.serve import service_name
from dbsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.util._importlib_metadata import EntryPoint

    from dbsight.export.prometheus import Endpoint
    from dbsight.model import Snapshot

_LOADER: Final = "opentelemetry.instrumentation.auto_instrumentation._load"

_METRICS_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
_EXPORTER_VARIABLES: Final = ("OTEL_TRACES_EXPORTER", _METRICS_EXPORTER, "OTEL_LOGS_EXPORTER")
_PROMETHEUS_PORT: Final = 9464
"""Of OpenTelemetry's exporter, where ``OTEL_EXPORTER_PROMETHEUS_PORT`` names none."""


logger = logging.getLogger("dbsight")


class _Runtime:
    """What of ours is running in this process."""

    def __init__(self) -> None:
        self.outlet: Outlet | None = None
        self.processor: DbsightSpanProcessor | None = None
        self.reporting = False
        self.extra_missed = False
        self.fail_on = ExitCode()
        self.endpoints: dict[int, Endpoint] = {}  # of Prometheus, by port


_runtime = _Runtime()


def _is_not_about_what_we_replace(record: logging.LogRecord) -> bool:
    """Filters upstream's log messages about unsupported versions of libraries that dbsight instruments itself."""
    return not record.getMessage().startswith(tuple(f"{name} only instruments" for name in REPLACED))


class _ReadOnce(PathDistribution):
    """An installed package whose requirements are parsed once."""

    _required: list[str] | None

    @property
    def requires(self) -> list[str] | None:
        if "_required" not in self.__dict__:
            self._required = super().requires
        return self._required and list(self._required)


@guard
def _read_metadata_once() -> None:
    """Parse the requirements of this package once.

    The loader asks for them twice for each of our instrumentors, and Python answers each time by parsing all metadata
    of the package, of which the README is a part: 1 ms each, 32 times at every start.
    """
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        # Another loader's class, or an entry point without its package, stays as it is.
        if entry_point.name in INSTRUMENTORS and type(entry_point.dist) is PathDistribution:
            entry_point.dist.__class__ = _ReadOnce


class DbsightDistro(BaseDistro):
    """The distribution: OTLP by default, and our instrumentors in place of upstream's."""

    def _configure(self, **kwargs: Any) -> None:
        # As upstream's distribution does: whichever configurator wins reads them.
        for variable in _EXPORTER_VARIABLES:
            os.environ.setdefault(variable, "otlp")
        if config.current().enabled:
            logging.getLogger(_LOADER).addFilter(_is_not_about_what_we_replace)
            _read_metadata_once()

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Instrument one library, unless ours takes its place or the user switched it off by upstream's name."""
        if is_sub_interpreter():
            return
        settings = config.current()
        if entry_point.name not in INSTRUMENTORS:
            load = functools.partial(super().load_instrumentor, entry_point, **kwargs)
            known = django_settings.VARIABLE in config.environment()
            if settings.enabled and entry_point.name == "django" and not known:
                django_settings.when_configured(load)
            elif not (settings.enabled and entry_point.name in REPLACED):
                load()
            return
        if not settings.enabled:
            return
        _, ours = INSTRUMENTORS[entry_point.name]
        if ours.takes_place and is_disabled(entry_point.name, settings.surroundings.disabled_instrumentations):
            return
        try:
            super().load_instrumentor(entry_point, **kwargs)
        except ImportError:
            raise  # the loader knows what to do when a library is missing
        except Exception:
            # It would end the loading of all instrumentors that come after.
            failed(f"distro.load {entry_point.name}")


class DbsightConfigurator(_OTelSDKConfigurator):
    """The SDK's own configuration, with patient exporters and our span processor around those of the provider."""

    def _configure(self, **kwargs: Any) -> None:
        if is_sub_interpreter():
            return
        settings = config.current()
        if not settings.enabled:
            super()._configure(**kwargs)
            return
        if settings.fail_on:
            _runtime.fail_on.watch()
        if settings.surroundings.config_file:
            super()._configure()
        else:
            attributes = dict(kwargs.pop("resource_attributes", None) or {})
            attributes |= {"telemetry.distro.name": "dbsight", "telemetry.distro.version": __version__}
            kwargs["resource_attributes"] = attributes
            with _prometheus_apart():
                super()._configure(**(_wired(kwargs) or kwargs))
            if _runtime.outlet is not None:
                _runtime.outlet.fit(metrics.get_meter_provider())
        _attach()
        if not settings.surroundings.sdk_disabled:
            if settings.flush_on_sigterm:
                sigterm.watch(_finish)
            worker_exit.watch(_export_all)


@guard
def _wired(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the SDK's configuration, with patient exporters."""
    outlet = Outlet(config.environment())
    wired = outlet.wire(kwargs)
    _runtime.outlet = outlet
    return wired


@guard
def _attach() -> None:
    """Put our processor around those of the global provider, and arrange for the report at exit."""
    processor = attach(trace.get_tracer_provider())
    if processor is not None:
        _runtime.processor = processor
    _runtime.fail_on.attached()
    if not _runtime.reporting:
        _runtime.reporting = True
        # After the SDK's own handlers, so before them at exit: what windows still hold must find an open exporter.
        atexit.register(_at_exit)
    _serve_prometheus()


@contextlib.contextmanager
def _prometheus_apart() -> Iterator[None]:
    """Keep Prometheus's exporter from the SDK, for which a port in use is the end of all telemetry; we serve it.

    Nothing changes where the extra is missing: the SDK says that there is no such exporter.
    """
    names = _metrics_exporters()
    if "prometheus" not in names or not _prometheus_available():
        yield
        return
    before = config.environment()[_METRICS_EXPORTER]
    os.environ[_METRICS_EXPORTER] = ",".join(name for name in names if name != "prometheus") or "none"
    try:
        yield
    finally:
        os.environ[_METRICS_EXPORTER] = before


def _metrics_exporters() -> list[str]:
    return [name.strip() for name in config.environment().get(_METRICS_EXPORTER, "").split(",")]


@guard
def _serve_prometheus() -> None:
    """Serve metrics to Prometheus where the settings, or OpenTelemetry's, ask for it."""
    settings = config.current()
    environ = config.environment()
    wanted: dict[int, bool] = {}
    if _runtime.outlet is not None and "prometheus" in _metrics_exporters():
        given = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT", "").strip()
        wanted[int(given) if given.isdecimal() else _PROMETHEUS_PORT] = True
    if settings.prometheus_port is not None:
        wanted[settings.prometheus_port] = False
    provider = metrics.get_meter_provider()
    if not wanted or not isinstance(provider, MeterProvider):
        return
    if not _prometheus_available():
        if settings.prometheus_port is not None and not _runtime.extra_missed:
            _runtime.extra_missed = True
            logger.warning("dbsight: metrics are not served to Prometheus: pip install 'dbsight[prometheus]'")
        return
    from dbsight.export.prometheus import Endpoint  # it imports Python's HTTP server

    for known in [endpoint for port, endpoint in _runtime.endpoints.items() if port not in wanted]:
        known.stop()
    host = environ.get("OTEL_EXPORTER_PROMETHEUS_HOST", "").strip() or "localhost"
    for port, shared in wanted.items():
        if port not in _runtime.endpoints:
            _runtime.endpoints[port] = Endpoint(provider, host, port, _is_idle, shared=shared)
        elif not _runtime.endpoints[port].stopped:
            continue
        _runtime.endpoints[port].start()


def serve_prometheus(port: int) -> bool:
    """Serve metrics at ``/metrics`` of this port from now on; starts dbsight if nothing did.

    Returns:
        Whether this process serves them; if not, a warning says why.
    """
    configure(prometheus_port=port)
    endpoint = _runtime.endpoints.get(port)
    return endpoint is not None and endpoint.serving


def _prometheus_available() -> bool:
    """Whether the extra ``prometheus`` is installed."""
    return importlib.util.find_spec("opentelemetry.exporter.prometheus") is not None


def _is_idle() -> bool:
    """Whether this process has run no query yet."""
    engine = analyzer.engine()
    return engine is None or engine.totals.idle


@guard
def _export_all() -> bool:
    """Export everything, as Python's exit handlers do, where a process ends without them.

    Returns:
        Whether telemetry is exported at all.
    """
    processor, outlet = _runtime.processor, _runtime.outlet
    if processor is not None:
        processor.analyzer.finish()
    if outlet is not None:
        outlet.closing()
    exporting = outlet.exporting if outlet is not None else True  # not after the shutdown
    for provider in (trace.get_tracer_provider(), get_logger_provider(), metrics.get_meter_provider()):
        _shut_down(provider)
    return exporting


@guard
def _finish() -> None:
    """Export everything and report, where a signal ends the process."""
    exporting = _export_all()
    if _runtime.processor is not None:
        report(_snapshot(_runtime.processor, exporting=bool(exporting)))


@guard
def _shut_down(provider: Any) -> None:
    if hasattr(provider, "shutdown"):  # those of the API have nothing to export
        provider.shutdown()


@guard
def _at_exit() -> None:
    sigterm.disarm()
    processor, outlet = _runtime.processor, _runtime.outlet
    if processor is not None:
        processor.analyzer.finish()
    if outlet is not None:
        outlet.closing()
    if processor is not None:
        snapshot = _snapshot(processor, exporting=outlet.exporting if outlet is not None else True)
        report(snapshot)
        _runtime.fail_on.judge(snapshot)
    stay_interrupted()


def _snapshot(processor: DbsightSpanProcessor, *, exporting: bool) -> Snapshot:
    return processor.analyzer.snapshot(service=service_name(), exporting=exporting)


def pre_instrument() -> None:
    """Entry point: under another distribution, attach before tracers are made; under ours it is done already."""
    if config.current().enabled and not is_sub_interpreter():
        _attach()


def post_instrument() -> None:
    """Entry point: attach to a provider that was set while instrumentors were loaded."""
    if config.current().enabled and not is_sub_interpreter():
        _attach()


def configure(service_name: str | None = None, **settings: Any) -> None:
    """Start dbsight from code, as ``opentelemetry-instrument`` does.

    Configures OpenTelemetry's SDK, or attaches to its provider if already configured, and instruments the libraries
    that are installed. Calling it again changes the settings alone.

    Args:
        service_name: ``service.name`` of the resource; None leaves it to ``OTEL_SERVICE_NAME``.
        settings: As in ``docs/configuration.md``, by lower-case name: ``slow_query_threshold=0.5``.

    Raises:
        TypeError: A setting that does not exist.
        ValueError: A value that does not parse.
    """
    chosen = config.Settings.load(**settings)
    config.use(chosen)
    if not chosen.enabled or chosen.surroundings.sdk_disabled or is_sub_interpreter():
        return
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        DbsightDistro().configure()
        attributes = {"service.name": service_name} if service_name else {}
        DbsightConfigurator().configure(resource_attributes=attributes)
    else:
        _attach()
        if _runtime.processor is not None:
            # It began with other settings, and so did what is kept of the statements that it saw.
            _runtime.processor.analyzer.use(chosen)
            statement.clear()
    instrument_libraries()
