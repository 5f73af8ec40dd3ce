"""The endpoint that Prometheus scrapes: by a setting, by OpenTelemetry's variable, and from code."""

import os
import subprocess
import sys
import textwrap

import pytest

from embedded import environment, free_port

START = """
    import os, sys, time, urllib.request
    import dbsight

    def page(port, host="127.0.0.1"):
        return urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30).read().decode()

    def queries(text):
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("dbsight_queries_total{"))
"""


def run(script, **env):
    """What a script prints and says on stderr, in a process without other exporters."""
    quiet = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER"), "none")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(script)],
        env={**environment(), **quiet, "OTEL_DBSIGHT_REPORT": "off", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def test_the_setting_serves_metrics_beside_other_exporters():
    """With the names that rules and dashboards ask for, those of shares included."""
    script = """
        from sqlalchemy import create_engine, text
        dbsight.configure()
        with create_engine("sqlite:///:memory:").connect() as connection:
            connection.execute(text("CREATE TABLE users (name text)"))
            text = page(int(os.environ["OTEL_DBSIGHT_PROMETHEUS_PORT"]))
        for name in ("db_client_operation_duration_seconds", "dbsight_queries_total", "db_client_connection_count",
                     "process_memory_usage_bytes", "dbsight_engines"):
            print(f"# TYPE {name} " in text)
        print(queries(text))
    """
    env = {"OTEL_DBSIGHT_PROMETHEUS_PORT": str(free_port()), "OTEL_METRICS_EXPORTER": "console"}
    printed, said = run(script, OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1", **env)
    assert printed[:6] == ["True"] * 5 + ["1.0"]
    assert said == ""


def test_the_exporter_of_the_guide_needs_nothing_else():
    """It starts dbsight; a second start is the same endpoint, and another port replaces it."""
    first, second = free_port(), free_port()
    script = f"""
        exporter = dbsight.PrometheusExporter()
        print(exporter.start(port={first}), dbsight.PrometheusExporter().start(port={first}))
        dbsight.record_query("SELECT a FROM t", 0.1)
        print(queries(page({first}, "localhost")))
        print(exporter.start(port={second}), queries(page({second}, "localhost")) >= 0)
        try:
            page({first}, "localhost")
        except OSError as error:
            print("closed")
    """
    printed, said = run(script)
    assert printed == ["True", "True", "1.0", "True", "True", "closed"]
    assert said == ""


def test_the_variable_of_opentelemetry_works_and_its_port_in_use_does_not_end_telemetry():
    """Upstream raises where the port is in use, and configures nothing; here it is one warning."""
    port = str(free_port())
    script = """
        import socket
        from opentelemetry import metrics, trace
        port = int(os.environ["OTEL_EXPORTER_PROMETHEUS_PORT"])
        if sys.argv[1:] or os.environ.get("BUSY"):
            taken = socket.create_server(("127.0.0.1", port))
        dbsight.configure()
        dbsight.record_query("SELECT a FROM t", 0.1)
        print(type(trace.get_tracer_provider()).__name__, dbsight.stats().total, os.environ["OTEL_METRICS_EXPORTER"])
        if not os.environ.get("BUSY"):
            text = page(port)
            print(queries(text), "python_info" in text)
    """
    env = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": port}
    env["OTEL_EXPORTER_PROMETHEUS_HOST"] = "127.0.0.1"
    printed, said = run(script, **env)
    assert printed == ["TracerProvider", "1", "prometheus", "1.0", "True"]
    assert said == ""
    printed, said = run(script, BUSY="1", **env)
    assert printed == ["TracerProvider", "1", "prometheus"]
    assert said.count("not served to Prometheus") == said.count("\n") == 1
    assert "Address already in use" in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_master_leaves_the_port_to_its_first_worker_and_the_others_say_so():
    """As gunicorn forks them: the master ran no query; each process goes on, and the one that serves shows its own."""
    port = free_port()
    script = f"""
        import signal, threading
        dbsight.configure(prometheus_port={port})
        children = []
        for number in (1, 2):
            ready, write = os.pipe()
            child = os.fork()
            if not child:
                for _ in range(number):
                    dbsight.record_query("SELECT a FROM t", 0.1)
                for thread in threading.enumerate():
                    if thread.name == "dbsight-prometheus-start":
                        thread.join()
                os.write(write, b".")
                signal.alarm(60)  # it must not outlive a test that failed
                signal.pause()
            os.read(ready, 1)
            children.append(child)
            print(queries(page({port})))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    """
    printed, said = run(script, OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1")
    assert printed == ["1.0", "1.0"]
    assert said.count("not served to Prometheus") == said.count("\n") == 1


def test_a_process_that_ran_queries_keeps_the_port_when_it_forks():
    """What it measured is worth more than what a child may do."""
    port = free_port()
    script = f"""
        dbsight.configure(prometheus_port={port})
        dbsight.record_query("SELECT a FROM t", 0.1)
        dbsight.stats()
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        print(queries(page({port})))
    """
    assert run(script, OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1")[0] == ["1.0"]
