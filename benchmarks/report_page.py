"""The HTML report with 5 000 findings: size, time to render, and time to the first paint in Chromium.

Targets: below 5 MB, first paint below 1 s. It needs the extra ``browser``, and Chromium.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from playwright.sync_api import sync_playwright

from dbsight.model import CallSite, Finding, MergedFinding, Snapshot
from dbsight.report import html

FINDINGS = 5000
ROUNDS = 5
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def many(number: int) -> Snapshot:
    """Totals with so many findings, each with a fix and a line of code."""
    found = []
    for n in range(number):
        each = Finding(
            "n_plus_one",
            f"n1-{n:08x}",
            "warning",
            "query",
            f"Order.customer{n} is loaded one row at a time",
            f"200 queries loaded Order.customer{n} one row at a time.",
            f"select(Order).options(joinedload(Order.customer{n}))",
            route=f"GET /orders/{n}",
        )
        each.call_site = CallSite("src/shop/handlers/orders.py", n, "list_orders")
        found.append(MergedFinding(each, 1, 200, 0.1, 1))
    return Snapshot(calls=200 * number, db_time=1.0, findings=found)


def main() -> None:
    """Print the three numbers."""
    began = perf_counter()
    page = html.render(many(FINDINGS))
    print(f"render       {perf_counter() - began:.2f} s")
    print(f"size         {len(page.encode()) / 1e6:.2f} MB (target 5)")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        path = Path(directory) / "report.html"
        path.write_text(page, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        paints = []
        for _ in range(ROUNDS):
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            tab.goto(path.as_uri())
            tab.wait_for_timeout(300)
            paints.append(tab.evaluate("performance.getEntriesByType('paint')[0].startTime"))
            tab.close()
        browser.close()
    print(f"first paint  {statistics.median(paints):.0f} ms, median of {ROUNDS} (target 1000)")


if __name__ == "__main__":
    main()
