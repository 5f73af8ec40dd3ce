"""The blocks of the toolbar's page of documentation run; tests/browser/test_live_page.py runs that of FastAPI."""

import asyncio
import gzip
import re
import types
from pathlib import Path

import pytest

from dbsight import config
from toolbars import PAGE

TOOLBAR = Path(__file__).parents[3] / "docs" / "toolbar.md"


@pytest.fixture(autouse=True)
def enabled(monkeypatch, telemetry):
    """As the page says."""
    config.reset()
    monkeypatch.setenv("OTEL_DBSIGHT_TOOLBAR", "badge")


def block(name):
    """What the code below a heading defines."""
    found = re.search(rf"## {name}\n.*?```python\n(.*?)```", TOOLBAR.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "shop"}
    exec(found[1], names)
    return names


def test_flask():
    """Headers and badge."""
    app = block("Flask")["app"]
    app.get("/")(PAGE.decode)
    answer = app.test_client().get("/")
    assert answer.headers["Server-Timing"].startswith("db;dur=0.00")
    assert b"dbsight-badge" in answer.data
    assert int(answer.headers["Content-Length"]) == len(answer.data)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_django(telemetry, asynchronous):
    """Below what compresses, and around Django's own middleware, which tells the length."""
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.http import HttpResponse
    from django.test import AsyncClient, Client, override_settings
    from django.urls import path

    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()
    page = PAGE.replace(b"Orders", b"Orders " * 100)

    async def answer_later(request):
        return HttpResponse(page)

    def answer(request):
        return HttpResponse(page)

    urls = types.ModuleType("toolbar_urls")
    urls.urlpatterns = [path("", answer_later if asynchronous else answer)]
    changed = {
        "MIDDLEWARE": block("Django")["MIDDLEWARE"],
        "ROOT_URLCONF": urls,
        "ALLOWED_HOSTS": ["testserver"],
    }
    with override_settings(**changed), telemetry.root():
        if asynchronous:
            received = asyncio.run(AsyncClient().get("/", headers={"accept-encoding": "gzip"}))
        else:
            received = Client().get("/", headers={"accept-encoding": "gzip"})
    assert received.headers["Server-Timing"].startswith("db;dur=0.00")
    assert received.headers["Content-Encoding"] == "gzip"
    assert b"dbsight-badge" in gzip.decompress(received.content)
    assert int(received.headers["Content-Length"]) == len(received.content)
