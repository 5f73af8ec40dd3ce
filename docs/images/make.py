"""Write the pictures of this directory: ``make pictures``.

They show the HTML report of the demo: its first screen, and its finding about a query without an index. Needs
Chromium (``apt-get install chromium``); the extra ``browser`` brings the package that drives it.
"""
# ruff: noqa: INP001 - a program beside the pages, not a package

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1120, 620


def report(path: Path) -> None:
    """Run the demo, and let it write its report as a page."""
    env = {**os.environ, "OTEL_DBSIGHT_REPORT": "html", "OTEL_DBSIGHT_REPORT_FILE": str(path)}
    command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, "-m", "dbsight.demo"]
    subprocess.run(command, env=env, check=True, cwd=HERE.parents[1])  # noqa: S603 - the demo of this package


def main() -> None:
    """Make the report and take its pictures."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit(f"none of {', '.join(PROGRAMS)} is installed")
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        page_file = Path(directory) / "report.html"
        report(page_file)
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.screenshot(path=HERE / "report.png")
        page.set_viewport_size({"width": WIDTH, "height": page.evaluate("document.documentElement.scrollHeight")})
        slow = page.locator("#findings article", has_text="order_lines has no index on (sku)").first
        slow.screenshot(path=HERE / "slow_query.png")
        chromium.close()


if __name__ == "__main__":
    main()
