"""A process that serves, in a real Chromium: the live page and its updates, and the toolbar's badge and its link."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from dbsight.serve import processes
from e2e import runner
from embedded import free_port
from waiting import until

pytest.importorskip("uvicorn")

TOOLBAR = Path(__file__).parents[2] / "docs" / "toolbar.md"
ROUTES = """
import sqlite3

from fastapi.responses import HTMLResponse

connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")


def page(count):
    for number in range(count):
        connection.execute("SELECT name FROM customers WHERE id = ?", (number,)).fetchall()
    return HTMLResponse(f"<!doctype html><title>Shop</title><body><h1>{count} orders</h1></body>")


@app.get("/orders")
async def orders():
    return page(20)


@app.get("/order")
async def order():
    return page(1)
"""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def snippet(name):
    """The block of code below a heading of the toolbar's page."""
    return re.search(rf"## {name}.*?```python\n(.*?)```", TOOLBAR.read_text(encoding="utf-8"), re.DOTALL)[1]


def is_served(url):
    """Whether somebody answers."""
    with contextlib.suppress(OSError), DIRECT.open(url, timeout=10) as answer:
        return answer.status == 200


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """An application as the toolbar's page has it, on a real server; its address, and the process that serves."""
    directory = tmp_path_factory.mktemp("live")
    (directory / "shop.py").write_text(snippet("FastAPI and Starlette") + ROUTES, encoding="utf-8")
    port, serve = free_port(), free_port()
    env = {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "",
        "OTEL_DBSIGHT_SERVE": str(serve),
        "OTEL_DBSIGHT_TOOLBAR": "badge",
        "XDG_RUNTIME_DIR": str(directory),
    }
    code = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-m", "uvicorn", "shop:app", f"--port={port}"],
        cwd=directory,
        env=runner.environment(env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    try:
        until(lambda: is_served(f"{url}/order"))
        (process,) = until(lambda: processes(serve))
        yield url, process
    finally:
        os.environ.pop("XDG_RUNTIME_DIR")
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before
        server.send_signal(signal.SIGTERM)
        server.wait(40)


@pytest.fixture
def page(browser):
    """An empty page."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


def test_the_badge_leads_to_the_queries_of_the_request(page, shop):
    """With the finding and its fix; the page of another request is another one."""
    url, _ = shop
    page.goto(f"{url}/orders")
    badge = page.locator("#dbsight-badge")
    assert re.fullmatch(r"dbsight: 20 queries in [\d.]+ ms, 1 finding", badge.inner_text())
    box = badge.bounding_box()
    assert (box["x"] + box["width"], box["y"] + box["height"]) == (1272, 792)
    with page.expect_popup() as popup:
        badge.click()
    request = popup.value
    request.wait_for_selector("#findings article")
    assert request.title() == "shop · GET /orders · dbsight report"
    assert "20 ×" in request.locator("#requests").inner_text()
    assert request.locator("#queries tbody tr").count() == 1
    assert "SELECT name FROM customers WHERE id = ?" in request.locator("#findings article").text_content()
    assert request.locator("nav a").count() >= 3


def test_the_browser_reads_the_timings(page, shop):
    """By the standard's own interface, as its developer tools do."""
    page.goto(f"{shop[0]}/orders")
    timings = page.evaluate(
        "performance.getEntriesByType('navigation')[0].serverTiming.map((each) => [each.name, each.description])"
    )
    assert timings == [
        ["db", "20 queries"],
        ["db-wait", "waited for connections"],
        ["db-findings", "1 finding: n_plus_one"],
    ]


def test_the_live_page_follows_the_process(page, shop):
    """Every five seconds, unless it is paused."""
    url, process = shop
    page.clock.install()
    page.goto(f"{process.url}/?token={process.token}")
    number = page.locator(".facts li").first

    def queries():
        return int(re.sub(r"\D", "", number.inner_text()))

    before = queries()
    DIRECT.open(f"{url}/orders", timeout=10).close()
    page.clock.fast_forward(5100)
    until(lambda: queries() == before + 20)
    page.click("#pause")
    DIRECT.open(f"{url}/orders", timeout=10).close()
    page.clock.fast_forward(11_000)
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    assert queries() == before + 20
    page.click("#pause")
    page.clock.fast_forward(5100)
    until(lambda: queries() == before + 40)
