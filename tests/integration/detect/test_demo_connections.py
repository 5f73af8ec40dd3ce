"""Each fault of the demo shop about connections is found where its registry says; its fixed twin is silent."""

import asyncio
import contextlib
import json
import time
from pathlib import Path

import pytest

import servers
from dbsight import semconv
from dbsight.config import Settings
from dbsight.demo.app import served_faults
from dbsight.demo.faults import CONNECTION_FAULTS
from dbsight.demo.store import store_for

LIMITS = Settings(connection_leak_after=0.05, long_transaction_threshold=0.5, blocked_loop_threshold=0.001)
"""Those of ``make demo``, but that a leak is found at once."""

SCHEMES = ("sqlite", "sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg")
PAIRS = [
    pytest.param(scheme, fault, id=f"{fault.name}-{scheme}")
    for scheme in SCHEMES
    for fault in served_faults(f"{scheme}:///shop", None)
    if fault in CONNECTION_FAULTS
]


class Shop:
    """An open shop."""

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()
        self.store = store_for(url)
        self.loop.run_until_complete(self.store.open())

    def answer(self, handler):
        """What a handler answers: on the event loop where it, or the driver, is made for one."""
        answer = self.store.call(handler)
        return json.dumps(self.loop.run_until_complete(answer) if asyncio.iscoroutine(answer) else answer)

    def close(self):
        """Close what was opened."""
        self.loop.run_until_complete(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(scope="module")
def shop(request, tmp_path_factory):
    """A shop on the database of a scheme."""
    with contextlib.ExitStack() as stack:
        if request.param.startswith("sqlite"):
            url = f"{request.param}:///{tmp_path_factory.mktemp('shop') / 'shop.db'}"
        else:
            database = stack.enter_context(servers.fresh(request.getfixturevalue("postgresql_server")))
            url = database.url(request.param)
        yield stack.enter_context(contextlib.closing(Shop(url)))


@pytest.fixture
def found(make_telemetry, shop):
    """Gives the answer of a handler and what is found: on its root, and of the process, leaks alone."""
    telemetry = make_telemetry(settings=LIMITS)
    analyzer = telemetry.processor.analyzer

    def ask(handler):
        telemetry.clear()
        with telemetry.root("GET /"):
            answer = shop.answer(handler)
        found = [placed(event.attributes) for event in telemetry.span("GET /").events_named(semconv.FINDING_EVENT)]
        time.sleep(LIMITS.connection_leak_after)
        analyzer.finish()
        for finding in (each.finding for each in analyzer.snapshot().findings):
            if finding.rule == "connection_leak":
                site = finding.call_site
                found.append((finding.rule, Path(site.file).resolve(), site.line, finding.count))
        return answer, found

    return ask


def placed(event):
    """Rule, place and number of a finding on a root."""
    return (
        event[semconv.FINDING_RULE],
        Path(event[semconv.CODE_FILE_PATH]).resolve(),
        event[semconv.CODE_LINE_NUMBER],
        event[semconv.FINDING_COUNT],
    )


@pytest.mark.parametrize(("shop", "fault"), PAIRS, indirect=["shop"])
def test_each_fault_is_found_where_it_is_and_its_twin_is_silent(found, fault):
    """The same answer with and without the fault; rule, file, line and number of the finding."""
    fixed_answer, nothing = found(fault.fixed)
    answer, findings = found(fault.handler)
    assert (answer, nothing) == (fixed_answer, [])
    assert findings == [(each.rule, each.file, each.line, each.count) for each in fault.expected]


def test_what_a_database_or_driver_does_not_have_is_not_served():
    """A database in memory has one connection; nothing stops the loop of an asynchronous driver."""
    served = {
        url: [fault.name for fault in served_faults(url, None) if fault in CONNECTION_FAULTS]
        for url in (None, "sqlite://", "sqlite+aiosqlite://", "postgresql+asyncpg:///shop")
    }
    every = [fault.name for fault in CONNECTION_FAULTS]
    assert served == {
        None: every,
        "sqlite://": [],
        "sqlite+aiosqlite://": [],
        "postgresql+asyncpg:///shop": [name for name in every if name != "blocking call"],
    }
