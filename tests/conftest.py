"""Fixtures of all tests: real servers, an OTLP receiver, an SDK in memory, and the guard's own guard."""

import contextlib
import fcntl
import gc
import os
import socket
import tempfile
import time
from pathlib import Path

import pytest

import limits
import servers

limits.hear_interrupts()

# What the developer exports with is no business of the tests.
for variable in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[variable]

SERVER_FIXTURES = {
    *("postgresql", "postgresql_server", "mariadb", "mariadb_server", "redis_server", "redis_process"),
    # Built by tests/collector/programs.py.
    *("otelcol_program", "jaeger_program", "prometheus_program", "promtool_program", "compose_program"),
}


@pytest.hookimpl(trylast=True)  # the reporter is there
def pytest_configure(config):
    """No part of a test waits for ever, and what fails is told at once."""
    config.pluginmanager.register(limits.Limits(), "dbsight-limits")
    # With --reruns, a worker writes to the one that counts twice before it reads: 40 ms for each test, where the kernel
    # waits with the second until the first is acknowledged.
    if connection := getattr(getattr(config, "failures_db", None), "sock", None):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if reporter := config.pluginmanager.get_plugin("terminalreporter"):
        config.pluginmanager.register(limits.Telling(reporter), "dbsight-telling")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Leave ten thousand collected tests out of each search among all objects, and out of each garbage collection.

    Whoever is instrumented looks for pools that exist already: that took half of the CPU of tests with an engine.
    While they are collected, a quarter of the time went into garbage collections that found nothing.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items):
    """Start with the tests that take longest: at the end, one of them would keep a single worker busy."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where every server must be had, a server test that was skipped has failed."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        needs = SERVER_FIXTURES & set(getattr(item, "fixturenames", ()))
        if needs:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            report.outcome = "failed"
            report.longrepr = f"CI=true: a test that needs {', '.join(sorted(needs))} may not be skipped. {reason}"
    return report


@pytest.fixture(scope="module", autouse=True)
def hidden_past():
    """Leave what earlier modules have imported and cached out of both, too: it becomes half as much again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_process(request):
    """Each test begins as a process does: settings not yet read, no window, no root, no pool ever made, no past.

    Fails one that leaves somebody listening: he would take windows and roots of the tests that follow for his own.
    """
    from dbsight import config, recording, scope
    from dbsight.instrument import process
    from dbsight.instrument.pools import registry

    config.reset()
    registry.clear()
    process.clear()
    yield
    config.reset()
    scope.window.set(None)
    scope.root.set(None)
    left = recording.consumers.all_consumers()
    for consumer in left:
        recording.unsubscribe(consumer)
    recording.loose.abandon()
    if left and not request.node.get_closest_marker("swallows_errors"):  # which breaks what would have unsubscribed
        pytest.fail(f"still subscribed: {left}", pytrace=False)


@pytest.fixture(autouse=True)
def no_swallowed_errors(request):
    """Fail a test in which the guard swallowed an exception, but for those marked ``swallows_errors``."""
    from dbsight import safety

    safety.reset()
    yield
    swallowed = safety.errors()
    safety.reset()
    if swallowed and not request.node.get_closest_marker("swallows_errors"):
        pytest.fail(f"the guard swallowed exceptions in {swallowed}: see the captured log", pytrace=False)


@pytest.fixture(autouse=True)
def nothing_left_current():
    """Fail a test after which a span is still current: the next one's would be its children."""
    from opentelemetry import context

    yield
    left = context.get_current()
    if left:
        context.attach(context.Context())
        pytest.fail(f"left in the current context: {dict(left)}", pytrace=False)


def serving(system):
    """A server for the whole session, or a skip that says why there is none."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(servers.serving(system))
        except servers.Unavailable as reason:
            pytest.skip(str(reason))
        yield server


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL: a ``servers.Server``."""
    yield from serving("postgresql")


@pytest.fixture(scope="session")
def mariadb_server():
    """A real MariaDB: a ``servers.Server``."""
    yield from serving("mariadb")


@pytest.fixture(scope="session")
def mysql_server():
    """A real MySQL: a ``servers.Server``; where none can be had, there are recorded plans."""
    yield from serving("mysql")


@pytest.fixture(scope="session")
def redis_process():
    """A real Redis: a ``servers.Server``."""
    yield from serving("redis")


@pytest.fixture
def postgresql(postgresql_server):
    """An empty database on a real PostgreSQL, for one test: a ``servers.Database``."""
    with servers.fresh(postgresql_server) as database:
        yield database


@pytest.fixture
def mariadb(mariadb_server):
    """An empty database on a real MariaDB, for one test: a ``servers.Database``."""
    with servers.fresh(mariadb_server) as database:
        yield database


@pytest.fixture
def redis_server(redis_process):
    """A real, empty Redis, for one test: a ``servers.Database``."""
    with servers.fresh(redis_process) as database:
        yield database


@pytest.fixture(scope="session")
def receiver_process():
    """The OTLP receiver of the whole session."""
    from otlp.client import Receiver

    receiver = Receiver().start()
    yield receiver
    receiver.stop()


@pytest.fixture
def receiver(receiver_process):
    """An OTLP receiver that has received nothing yet."""
    receiver_process.clear()
    return receiver_process


@pytest.fixture(scope="session")
def observe(receiver_process, tmp_path_factory):
    """Runs a program under ``opentelemetry-instrument`` and keeps what arrived: ``observed.observe``.

    Each run has a directory of its own unless it is given one. For fixtures that several tests share.
    """
    from e2e import observed

    def run(program, **options):
        options.setdefault("cwd", tmp_path_factory.mktemp("run"))
        return observed.observe(program, options.pop("receiver", receiver_process), **options)

    return run


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory):
    """A filled SQLite file that is only read."""
    from e2e.programs import filled

    return filled(f"sqlite:///{tmp_path_factory.mktemp('database') / 'shop.db'}")


@pytest.fixture
def late_receiver():
    """An OTLP receiver whose ports are known, but which the test starts when it likes."""
    from otlp.client import Receiver

    receiver = Receiver()
    yield receiver
    receiver.stop()


@contextlib.contextmanager
def alone(name, seconds):
    """One process of the tests at a time, of all that run on this machine."""
    with (Path(tempfile.gettempdir()) / f"dbsight-tests-{name}-{os.getuid()}.lock").open("w") as file:
        patience = time.monotonic() + seconds
        while not locked(file):
            if time.monotonic() > patience:
                pytest.fail(f"{file.name} was locked for {seconds} s", pytrace=False)
            time.sleep(0.05)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also where a forked child has the file still


def locked(file):
    """Whether nobody else had the lock of a file, which is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def default_ports():
    """OTLP's default ports for this test alone: nobody listens; a collector of somebody else is waited for a while."""
    from dbsight.export import listening

    with alone("default-ports", 240):
        patience = time.monotonic() + 30
        while listening(4317) or listening(4318):
            if time.monotonic() > patience:
                pytest.skip("another collector listens on port 4317 or 4318")
            time.sleep(0.2)
        yield


@pytest.fixture
def collector(default_ports):
    """A receiver on the default ports, which the test starts."""
    from otlp.client import Receiver

    receiver = Receiver(grpc_port=4317, http_port=4318)
    yield receiver
    receiver.stop()


@pytest.fixture
def make_telemetry():
    """Makes ``Telemetry`` by its arguments, and closes it after the test."""
    from telemetry import Telemetry

    with contextlib.ExitStack() as stack:

        def make(**options):
            return stack.enter_context(contextlib.closing(Telemetry(**options)))

        yield make


@pytest.fixture
def telemetry(make_telemetry):
    """An SDK in memory with dbsight by hand and SQLAlchemy instrumented: a ``telemetry.Telemetry``."""
    return make_telemetry()
