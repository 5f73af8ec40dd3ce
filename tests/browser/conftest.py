"""A real Chromium for the pages: Debian's, or the one of Playwright."""

import os
import shutil

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")  # its event loop runs until the browser is closed, and would be in the way of others
def browser():
    """Chromium without a window; skipped where there is none, and a failure in continuous integration."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if program is None or sync_playwright is None:
        missing = "chromium" if program is None else "playwright"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing} is not installed: .ci/run installs it")
        pytest.skip(f"{missing} is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()
