"""Starting: what is set, which instrumentors are loaded, how the SDK is configured, what happens at exit."""

import atexit
import contextlib
import importlib.metadata
import logging
import os
import re
import sys
import types

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._importlib_metadata import entry_points

from dbsight import config, distro, safety
from dbsight.catalog import INSTRUMENTORS
from dbsight.config import Settings
from dbsight.config.otel_env import Surroundings
from dbsight.distro import DbsightConfigurator, DbsightDistro
from dbsight.version import __version__

GROUP = "opentelemetry_instrumentor"
EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch):
    """Every test begins as a process does, registers nothing for its end, and has an environment of its own."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(distro, "_runtime", distro._Runtime())
    monkeypatch.setattr(atexit, "register", lambda *_: None)


def use(*, enabled=True, disabled=(), config_file=None, **settings):
    """Put settings in force."""
    surroundings = Surroundings(disabled_instrumentations=tuple(disabled), config_file=config_file)
    config.use(Settings(enabled=enabled, surroundings=surroundings, **settings))


# -- The entry points -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("opentelemetry_distro", DbsightDistro),
        ("opentelemetry_configurator", DbsightConfigurator),
        ("opentelemetry_pre_instrument", distro.pre_instrument),
        ("opentelemetry_post_instrument", distro.post_instrument),
    ],
)
def test_the_package_is_found_under_a_name_of_its_own(group, target):
    """Upstream and others call theirs ``distro``: a unique name can be selected by ``OTEL_PYTHON_DISTRO``."""
    (ours,) = [point for point in importlib.metadata.entry_points(group=group) if point.name == "dbsight"]
    assert ours.load() is target


def test_every_instrumentor_of_ours_is_known_to_the_distribution():
    """By the name that it takes the place of, or as one that stands beside."""
    points = importlib.metadata.entry_points(group=GROUP)
    ours = {point.name: point.value for point in points if point.value.startswith("dbsight.")}
    assert ours == {
        name: f"{instrumentor.module}:{instrumentor.name}" for name, (_, instrumentor) in INSTRUMENTORS.items()
    }
    assert all(":" in value for value in ours.values())


def test_upstreams_distribution_is_no_dependency():
    """The first one that is found wins: it may not come with us."""
    names = {re.match(r"[\w.-]+", line)[0] for line in importlib.metadata.requires("dbsight")}
    assert "opentelemetry-distro" not in names
    assert "opentelemetry-sdk" in names


# -- The distribution -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"OTEL_TRACES_EXPORTER": "console"}, dict.fromkeys(EXPORTERS, "none")])
def test_everything_goes_out_by_otlp_unless_told_otherwise(monkeypatch, given):
    """As upstream's distribution has it."""
    environ = dict(given)
    monkeypatch.setattr(os, "environ", environ)
    use()
    with upstreams_filters():
        DbsightDistro().configure()
    assert environ == dict.fromkeys(EXPORTERS, "otlp") | given


@contextlib.contextmanager
def upstreams_filters():
    """The filters of the logger of upstream's loader, put back as they were."""
    logger = logging.getLogger(distro._LOADER)
    before = list(logger.filters)
    try:
        yield logger
    finally:
        logger.filters[:] = before


COMPLAINT = (
    'sqlalchemy only instruments "sqlalchemy<2.1.0", but currently installed version falls outside of that range'
)


@pytest.mark.parametrize(("enabled", "heard"), [(True, False), (False, True)])
def test_upstreams_complaint_about_what_is_replaced_is_kept_from_people(enabled, heard):
    """It speaks of an instrumentor that is not used; any other complaint is passed on."""
    use(enabled=enabled)
    with upstreams_filters() as logger:
        logger.filters.clear()
        DbsightDistro().configure()
        records = [logger.makeRecord(logger.name, logging.ERROR, "f", 1, text, (), None) for text in (COMPLAINT, "oh")]
        assert [bool(logger.filter(record)) for record in records] == [heard, True]


class Loaded(BaseInstrumentor):
    """An instrumentor that notes that it was switched on."""

    times = 0
    error = None

    def instrumentation_dependencies(self):
        """None."""
        return ()

    def _instrument(self, **kwargs):
        Loaded.times += 1
        if Loaded.error is not None:
            raise Loaded.error

    def _uninstrument(self, **kwargs):
        """Nothing to undo."""


@pytest.fixture
def load(monkeypatch):
    """Loads an instrumentor under a name; whether it was switched on."""
    module = types.ModuleType("somebodys_instrumentor")
    module.Instrumentor = Loaded
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Loaded, "times", 0)
    monkeypatch.setattr(Loaded, "error", None)

    def load(name):
        Loaded._instance = None
        Loaded._is_instrumented_by_opentelemetry = False
        point = importlib.metadata.EntryPoint(name, "somebodys_instrumentor:Instrumentor", GROUP)
        before = Loaded.times
        DbsightDistro().load_instrumentor(point, skip_dep_check=True)
        return Loaded.times > before

    return load


@pytest.mark.parametrize(
    ("situation", "loaded"),
    [
        ({}, {"dbsight_sqlalchemy", "dbsight_redis", "dbsight_psycopg_pool", "fastapi"}),
        ({"enabled": False}, {"sqlalchemy", "redis", "fastapi", "sqlite3"}),
        ({"disabled": ["sqlalchemy"]}, {"dbsight_redis", "dbsight_psycopg_pool", "fastapi"}),
        (
            {"disabled": ["sqlalchemy", "redis"], "enabled": False},
            {"sqlalchemy", "redis", "fastapi", "sqlite3"},  # the loader itself leaves them out
        ),
    ],
)
def test_ours_take_the_place_of_upstreams(load, situation, loaded):
    """Never both; with ours switched off, upstream's; switched off by upstream's name, neither."""
    use(**situation)
    names = ("sqlalchemy", "dbsight_sqlalchemy", "redis", "dbsight_redis", "dbsight_psycopg_pool", "fastapi", "sqlite3")
    assert {name for name in names if load(name)} == loaded


@pytest.mark.swallows_errors
def test_one_of_ours_that_fails_does_not_end_the_others(load, monkeypatch, caplog):
    """Upstream's loader stops at the first exception: ours is logged and left out."""
    use()
    monkeypatch.setattr(Loaded, "error", RuntimeError("MARKER"))
    assert load("dbsight_sqlalchemy")
    assert safety.errors() == {"distro.load dbsight_sqlalchemy": 1}
    assert "dbsight: internal error in distro.load dbsight_sqlalchemy, skipped" in caplog.text
    assert "MARKER" not in caplog.text


@pytest.mark.parametrize(
    ("name", "error"),
    [("dbsight_sqlalchemy", ModuleNotFoundError("no sqlalchemy")), ("fastapi", RuntimeError("its own"))],
)
def test_what_the_loader_knows_how_to_take_reaches_it(load, monkeypatch, name, error):
    """A library that is missing, and whatever other instrumentors raise."""
    use()
    monkeypatch.setattr(Loaded, "error", error)
    with pytest.raises(type(error)):
        load(name)


def test_the_loader_parses_the_metadata_of_this_package_once(monkeypatch):
    """It asks twice for each of our instrumentors; the answer is Python's own, and nobody's list to change."""
    use()
    ours = [point for point in entry_points(group=GROUP) if point.name in INSTRUMENTORS]
    for point in ours:
        monkeypatch.setattr(point.dist, "__class__", importlib.metadata.PathDistribution)
    parsed = []
    read = importlib.metadata.PathDistribution.read_text
    monkeypatch.setattr(
        importlib.metadata.PathDistribution,
        "read_text",
        lambda self, name: parsed.append(name) or read(self, name),
    )
    DbsightDistro().configure()
    required = [get for point in ours for get in (point.dist.requires, point.dist.requires)]
    assert parsed == ["METADATA"]
    required[0].clear()
    assert required[1] == ours[-1].dist.requires == importlib.metadata.requires("dbsight")


# -- The configurator -----------------------------------------------------------------------------------------------


@pytest.fixture
def configured(monkeypatch):
    """Runs the configurator; what it handed to the SDK's own."""
    handed = []
    monkeypatch.setattr(_OTelSDKConfigurator, "_configure", lambda _, **kwargs: handed.append(kwargs))
    monkeypatch.setattr(distro, "_attach", lambda: handed.append("attached"))

    def run(**kwargs):
        DbsightConfigurator()._configure(**kwargs)
        return handed

    return run


def test_the_sdk_is_configured_with_our_name_and_patient_exporters(configured):
    """What was given is kept; distribution and factories of processors are added; then ours is put in place."""
    use()
    given = {"auto_instrumentation_version": "1", "resource_attributes": {"service.name": "shop"}}
    handed, attached = configured(**given)
    factories = {handed.pop(name) for name in ("export_span_processor", "export_log_record_processor")}
    assert all(callable(factory) for factory in factories)
    assert handed == {
        "auto_instrumentation_version": "1",
        "resource_attributes": {
            "service.name": "shop",
            "telemetry.distro.name": "dbsight",
            "telemetry.distro.version": __version__,
        },
    }
    assert attached == "attached"
    assert distro._runtime.outlet is not None


def test_declarative_configuration_is_left_to_the_sdk(configured):
    """``OTEL_CONFIG_FILE``: it takes no arguments; ours is put in place afterwards."""
    use(config_file="otel.yaml")
    assert configured(resource_attributes={"a": 1}) == [{}, "attached"]
    assert distro._runtime.outlet is None


def test_switched_off_the_configurator_is_the_sdks(configured):
    """Not a word of ours."""
    use(enabled=False)
    assert configured(resource_attributes={"a": 1}) == [{"resource_attributes": {"a": 1}}]


@pytest.mark.swallows_errors
def test_exporters_that_cannot_be_wrapped_are_used_as_they_are(configured, monkeypatch):
    """The SDK is configured all the same."""
    use()
    monkeypatch.setattr(distro.Outlet, "wire", lambda *_: 1 / 0)
    handed, attached = configured()
    assert handed.keys() == {"resource_attributes"}
    assert attached == "attached"
    assert distro._runtime.outlet is None
    assert safety.errors() == {"distro._wired": 1}


# -- Attaching, and the end -----------------------------------------------------------------------------------------


@pytest.fixture
def provider(monkeypatch):
    """The global tracer provider, for the time of the test."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(distro.trace, "get_tracer_provider", lambda: provider)
    yield provider
    provider.shutdown()


def test_attaching_again_changes_nothing(provider, monkeypatch):
    """Before the instrumentors and after them, in every mode; one handler at exit."""
    use(process_metrics=False)
    registered = []
    monkeypatch.setattr(atexit, "register", lambda function, *_: registered.append(function))
    distro.pre_instrument()
    first = distro._runtime.processor
    distro.post_instrument()
    assert distro._runtime.processor is first
    assert provider._active_span_processor._span_processors == (first,)
    assert registered.count(distro._at_exit) == 1


def test_switched_off_nothing_is_attached(provider):
    """The provider keeps the processors that it has."""
    use(enabled=False)
    distro.pre_instrument()
    distro.post_instrument()
    assert provider._active_span_processor._span_processors == ()


def test_at_exit_windows_close_before_exporters_are_told_and_the_report_comes_last(provider, monkeypatch):
    """What windows still hold must find an open exporter; the report must know whether somebody listened."""
    use(process_metrics=False)
    distro._attach()
    steps = []

    class Outlet:
        exporting = True

        def closing(self):
            steps.append("exporters told")

    monkeypatch.setattr(distro._runtime.processor.analyzer, "finish", lambda: steps.append("windows closed"))
    monkeypatch.setattr(distro, "report", lambda snapshot: steps.append(("report", snapshot.exporting)))
    distro._runtime.outlet = Outlet()
    distro._at_exit()
    assert steps == ["windows closed", "exporters told", ("report", True)]
