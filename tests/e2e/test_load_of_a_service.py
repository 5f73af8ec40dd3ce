"""``dbsight load --url`` of a service that tells what it does to its database, and beside another load generator."""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from dbsight import serve
from waiting import until

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

SHOP = Path(__file__).parent / "suites" / "shop"
SERVICE = """
import asyncio
import threading

import shop
from fastapi import FastAPI
from sqlalchemy.orm import Session

app = FastAPI()
engine = shop.filled()
one = threading.Lock()  # SQLite in memory has one connection

@app.get("/loop")
def loop():
    with one, Session(engine) as session:
        return shop.names(session)

@app.get("/joined")
def joined():
    with one, Session(engine) as session:
        return shop.names_joined(session)

@app.get("/waiting")
async def waiting():
    await asyncio.sleep(0.1)
    return {}
"""
RUN = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
ROUNDS = 7


def free_port():
    """One that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Its address, and the port at which its processes serve what they do."""
    directory = tmp_path_factory.mktemp("service")
    (directory / "service.py").write_text(SERVICE)
    port, serving = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    env |= {f"OTEL_{signal_}_EXPORTER": "none" for signal_ in ("TRACES", "METRICS", "LOGS")}
    env |= {"OTEL_DBSIGHT_SERVE": str(serving), "OTEL_DBSIGHT_REPORT": "off", "PYTHONPATH": str(SHOP)}
    arguments = ("service:app", "--port", str(port), "--log-level", "warning")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, sys.executable, "-m", "uvicorn", *arguments],
        cwd=directory,
        env=env,
        start_new_session=True,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: process.poll() is not None or answers(f"{url}/joined"))
            assert process.poll() is None
            yield url, serving
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    assert serve.processes(serving) == []


def answers(url):
    """Whether somebody does."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def load(url, *arguments):
    """What ``dbsight load`` says, and its exit code."""
    main = "from dbsight.cli.main import main; main(prog_name='dbsight')"
    done = subprocess.run(
        [sys.executable, "-c", main, "load", "--url", url, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout, done.stderr, done.returncode


def test_the_service_tells_what_each_request_did(service):
    """As many requests as were sent, with their queries and what was found in them."""
    url, serving = service
    printed, said, code = load(f"{url}/loop", "--concurrency", 4, "--duration", 0.5, "--service", serving, "--json")
    assert code == 0, said
    result = json.loads(printed)
    # A request of an earlier test may have ended late.
    (route,) = [each for each in result["service"]["routes"] if each["route"] == "GET /loop"]
    assert route["requests"] == result["total_executions"]
    assert (route["queries_per_request"], route["max_queries"]) == (11.0, 11)
    assert set(route["findings"]) == {"n_plus_one"}  # in most: it matters by its part of the request's time
    assert {each["summary"]: each["count"] for each in route["worst"]["queries"]} == {
        "SELECT orders": 1,
        "SELECT customers": 10,
    }
    assert result["service"]["missed"] == 0


def test_the_fixed_page_is_another_route_of_the_report(service):
    """What was before the load does not count."""
    url, serving = service
    printed, said, code = load(f"{url}/joined", "--concurrency", 2, "--duration", 0.3, "--service", serving)
    assert code == 0, said
    (row,) = re.findall(r"GET /\S+ +\d+ +\d+ +\d+.*", printed)
    assert row.split()[1] == "/joined"
    assert row.split()[3:5] == ["1", "1"]
    assert "n_plus_one" not in printed


def test_a_service_that_does_not_serve_is_one_sentence(service):
    """And the exit code of a wrong call."""
    url, _ = service
    printed, said, code = load(f"{url}/joined", "--service", free_port())
    assert (printed, code) == ("", 2)
    assert "no process of this user serves with OTEL_DBSIGHT_SERVE=" in said


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed (Debian: wrk)")
def test_the_figures_agree_with_those_of_wrk(service):
    """Executions per second and median of one page within 10 %: the median of up to seven pairs.

    The page waits for 100 ms and costs little: what is compared is the measuring, not which client uses less CPU.
    """
    url, _ = service
    rates, medians = [], []
    for _ in range(ROUNDS):
        wrk = ["wrk", "--latency", "-t1", "-c4", "-d4s", f"{url}/waiting"]
        arguments = ("--concurrency", 4, "--duration", 2.5, "--warm-up", 0.2, "--json")
        with subprocess.Popen(wrk, stdout=subprocess.PIPE, text=True) as theirs:  # beside: what disturbs one does both
            ours = json.loads(load(f"{url}/waiting", *arguments)[0])
            told, _ = theirs.communicate(timeout=60)
        rates.append(ours["executions_per_second"] / float(re.search(r"Requests/sec: +([\d.]+)", told)[1]))
        value, unit = re.search(r"50% +([\d.]+)(us|ms|s)\b", told).groups()
        medians.append(ours["p50_response_time_ms"] / (float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]))
        if all(abs(statistics.median(each) - 1) <= 0.1 for each in (rates, medians)):
            return
    pytest.fail(f"ours ÷ wrk's: executions per second {rates}, median {medians}")
