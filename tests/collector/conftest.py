"""Fixtures of the tests with the real collector, Jaeger and Prometheus."""

import contextlib

import pytest

from collector import programs, services
from embedded import Unavailable


def built(executable):
    """A fixture: where a program is, or a skip that says why it is not there."""

    @pytest.fixture(scope="session", name=f"{executable}_program")
    def fixture():
        try:
            return programs.path(executable)
        except Unavailable as reason:
            pytest.skip(str(reason))

    return fixture


otelcol_program = built("otelcol")
jaeger_program = built("jaeger")
compose_program = built("compose")
prometheus_program = built("prometheus")
promtool_program = built("promtool")


@pytest.fixture(scope="session")
def run_service():
    """Starts a ``services.Service``, ended with the session, the last one first."""
    with contextlib.ExitStack() as stack:

        def run(service):
            stack.callback(service.kill)
            service.start()
            return service

        yield run


@pytest.fixture(scope="session")
def jaeger(jaeger_program, run_service, tmp_path_factory):
    """A ``services.Jaeger``."""
    return run_service(services.Jaeger(jaeger_program, tmp_path_factory.mktemp("jaeger")))


@pytest.fixture(scope="session")
def prometheus(prometheus_program, run_service, tmp_path_factory):
    """A ``services.Prometheus`` that fetches the metrics of the collector of ``otelcol``, once that runs."""
    directory, collector = tmp_path_factory.mktemp("prometheus"), services.loopback()
    prometheus = services.Prometheus(prometheus_program, directory, collector)
    prometheus.collector = collector
    return run_service(prometheus)


@pytest.fixture(scope="session")
def otelcol(otelcol_program, run_service, jaeger, prometheus, tmp_path_factory):
    """A ``services.Otelcol`` between applications and Jaeger and Prometheus, which keeps every trace."""
    env = {
        "DBSIGHT_JAEGER_ENDPOINT": jaeger.endpoint,
        "DBSIGHT_PROMETHEUS_ENDPOINT": prometheus.url,
        "DBSIGHT_DECISION_WAIT": "5s",
        "DBSIGHT_DECISION_WAIT_AFTER_ROOT": "1s",
        "DBSIGHT_KEPT_PERCENT": "100",
    }
    directory = tmp_path_factory.mktemp("otelcol")
    return run_service(services.Otelcol(otelcol_program, directory, env, telemetry=prometheus.collector))
