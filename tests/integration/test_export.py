"""Real processes, the SDK's own exporters, a real receiver: what arrives, and how long a process takes to end."""

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROGRAM = """
import atexit, os, sys, time
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from dbsight.export import Outlet

class Configurator(_OTelSDKConfigurator):
    pass

if "stock" in sys.argv:
    Configurator()._configure()
else:
    outlet = Outlet(os.environ, interval=0.1)
    Configurator()._configure(**outlet.wire({}))
    outlet.fit(metrics.get_meter_provider())
    atexit.register(outlet.closing)

tracer, counter = trace.get_tracer("test"), metrics.get_meter("test").create_counter("things")
logger = _logs.get_logger("test")

def work(name):
    with tracer.start_as_current_span(name):
        counter.add(1)
        logger.emit(event_name=name)

def tell(*words):
    print(*words, flush=True)
"""

SHORT = """
work("short")
tell(time.monotonic())
"""


@contextlib.contextmanager
def program(source, *arguments, **environ):
    """The program above and what follows it, as a process that exports everything over OTLP."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    signals = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "otlp")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean | signals | environ,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children as well, which have the same pipes
        process.communicate(timeout=60)


def end_of(process):
    """How many seconds a process took to end after its last line, and what it said on standard error."""
    out, err = process.communicate(timeout=60)
    ended = time.monotonic()
    assert process.returncode == 0, err
    return ended - float(out.split()[-1]), err


@pytest.fixture
def silent_endpoint():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_endpoint():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def keeping_server():
    """A collector that keeps connections open: where it is, and the client's port by the name of each span."""
    ports = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    ports.update((span.name, self.client_address[1]) for span in resource.scope_spans[0].spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing is written."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", ports
        server.shutdown()


PROTOCOLS = ("grpc", "http/protobuf")


def test_without_a_collector_a_script_ends_at_once_and_in_silence(default_ports):
    """Less than a third of what the stock SDK takes, which is told to try for two seconds only, and not for ten."""
    with program(SHORT, "stock", OTEL_EXPORTER_OTLP_TIMEOUT="2") as process:
        stock, complaints = end_of(process)
    assert "Failed to export traces" in complaints

    with program(SHORT, OTEL_EXPORTER_OTLP_TIMEOUT="2") as process:
        ours, silence = end_of(process)

    assert silence == ""
    assert ours < stock / 3, f"{ours:.2f} s against {stock:.2f} s"


def test_without_a_collector_over_http_a_script_ends_at_once_and_in_silence(default_ports):
    """The other protocol, with its own port."""
    with program(SHORT, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf") as process:
        seconds, silence = end_of(process)
    assert silence == ""
    assert seconds < 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_short_script_reaches_a_collector_that_runs(collector, protocol):
    """With somebody listening nothing is different: spans, metrics and logs arrive at the end."""
    collector.start()
    with program(SHORT, OTEL_EXPORTER_OTLP_PROTOCOL=protocol) as process:
        _, silence = end_of(process)
    assert silence == ""
    assert [span.name for span in collector.spans()] == ["short"]
    assert [point.value for point in collector.points("things")] == [1]
    assert [record.event_name for record in collector.logs()] == ["short"]
    assert collector.protocols() == {protocol}


LATE = """
work("early")
trace.get_tracer_provider().force_flush()
_logs.get_logger_provider().force_flush()
tell("early is over")
sys.stdin.readline()
work("later")
tell(time.monotonic())
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_collector_that_starts_later_receives_what_waited_and_what_follows(collector, protocol):
    """The application is idle when the collector comes: the early span arrives by itself. Its log was skipped."""
    with program(LATE, OTEL_EXPORTER_OTLP_PROTOCOL=protocol) as process:
        assert process.stdout.readline() == "early is over\n"
        collector.start()
        collector.wait_for(lambda receiver: receiver.spans("early"))
        assert collector.spans("later") == []

        process.stdin.write("\n")
        _, silence = end_of(process)

    assert silence == ""
    assert [span.name for span in collector.spans()] == ["early", "later"]
    assert [record.event_name for record in collector.logs()] == ["later"]
    assert [point.value for point in collector.points("things")] == [2]


def test_a_collector_that_went_away_does_not_hold_up_the_end(collector):
    """The last look finds nobody, so nothing is tried."""
    collector.start()
    with program(LATE) as process:
        assert process.stdout.readline() == "early is over\n"
        collector.wait_for(lambda receiver: receiver.spans("early"))
        collector.stop()
        process.stdin.write("\n")
        seconds, silence = end_of(process)
    assert silence == ""
    assert seconds < 1.5


FORKED = """
work("before")
trace.get_tracer_provider().force_flush()
child = os.fork()
if not child:
    work("child")
    trace.get_tracer_provider().force_flush()
tell("child" if not child else "parent")
while not outlet.exporting:
    time.sleep(0.05)
trace.get_tracer_provider().shutdown()
if not child:
    os._exit(0)
os.waitpid(child, 0)
tell(time.monotonic())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_parent_and_forked_child_each_send_what_waited_in_them(collector, protocol):
    """As a preloading web server does: nothing is lost, and nothing arrives twice."""
    with program(FORKED, OTEL_EXPORTER_OTLP_PROTOCOL=protocol) as process:
        assert sorted([process.stdout.readline(), process.stdout.readline()]) == ["child\n", "parent\n"]
        collector.start()
        collector.wait_for(lambda receiver: len(receiver.spans()) == 2)
        end_of(process)
    assert sorted(span.name for span in collector.spans()) == ["before", "child"]


IN_TURNS = """
def told(name):
    work(name)
    trace.get_tracer_provider().force_flush()

told("before")
child = os.fork()
if not child:
    told("child")
    os._exit(0)
os.waitpid(child, 0)
told("after")
tell(time.monotonic())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_sends_over_a_connection_of_its_own(keeping_server):
    """A collector keeps connections open: answers to parent and child on one of them would reach the wrong process."""
    endpoint, ports = keeping_server
    with program(
        IN_TURNS, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint
    ) as process:
        end_of(process)
    assert sorted(ports) == ["after", "before", "child"]
    assert ports["after"] == ports["before"] != ports["child"]


TRYING = """
work("tried")
time.sleep(0.5)
work("late")
tell(time.monotonic())
"""


@pytest.mark.parametrize(
    ("endpoint", "protocol", "source"),
    [
        pytest.param("closed_endpoint", "grpc", SHORT, id="refused, grpc, at the end"),
        pytest.param("closed_endpoint", "http/protobuf", TRYING, id="refused, http, all the while"),
        pytest.param("silent_endpoint", "grpc", TRYING, id="silent, grpc, all the while"),
        pytest.param("silent_endpoint", "http/protobuf", SHORT, id="silent, http, at the end"),
        pytest.param("silent_endpoint", "http/protobuf", TRYING, id="silent, http, all the while"),
    ],
)
def test_a_configured_endpoint_that_is_dead_does_not_hold_up_the_end(request, endpoint, protocol, source):
    """Refused or never answered, tried at the end or all the while: three seconds for all three signals."""
    with program(
        source,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=request.getfixturevalue(endpoint),
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_BLRP_SCHEDULE_DELAY="100",
        OTEL_METRIC_EXPORT_INTERVAL="100",
    ) as process:
        seconds, _ = end_of(process)
    assert seconds < 4.5
