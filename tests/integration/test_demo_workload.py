"""The shop's faults of how much is asked for and when, on a file of SQLite, sync and async."""

import asyncio
import inspect
import json

import pytest
from sqlalchemy import event

from dbsight.config import Settings
from dbsight.demo import workload
from dbsight.demo.app import served_faults
from dbsight.demo.faults import CACHE_FAULTS, CONNECTION_FAULTS, FAULTS, WORKLOAD_FAULTS
from dbsight.demo.store import store_for

each_fault = pytest.mark.parametrize("fault", WORKLOAD_FAULTS, ids=lambda fault: fault.name)


@pytest.fixture(scope="module", params=["sqlite", "sqlite+aiosqlite"])
def shop(request, tmp_path_factory):
    """An open store and the loop that it runs on."""
    loop = asyncio.new_event_loop()
    store = store_for(f"{request.param}:///{tmp_path_factory.mktemp('workload')}/shop.db")
    loop.run_until_complete(store.open())
    yield store, loop
    loop.run_until_complete(store.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def asked(shop, handler):
    """What a handler answers, and how many statements it sent."""
    store, loop = shop
    engines = {
        getattr(each, "sync_engine", each) for each in (store.engine, getattr(store, "concurrent", None)) if each
    }
    sent = []

    def note(*_, statement, **__):
        sent.append(statement)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note, named=True)
    try:
        answer = store.call(handler)
        if inspect.isawaitable(answer):
            answer = loop.run_until_complete(answer)
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
    return json.dumps(answer), len(sent)


@each_fault
def test_a_fault_and_its_twin_answer_the_same_with_as_many_statements_as_the_registry_says(shop, fault):
    """Only the way to the answer is wrong, and the answer is not empty."""
    answer, statements = asked(shop, fault.handler)
    fixed, fixed_statements = asked(shop, fault.fixed)
    assert fixed == answer
    assert len(answer) > 100
    assert (statements, fixed_statements) == (fault.statements, fault.fixed_statements)


@pytest.fixture(scope="module", params=["sqlite", "sqlite+aiosqlite"])
def watched_shop(request, tmp_path_factory):
    """URL of a shop that is filled."""
    url = f"{request.param}:///{tmp_path_factory.mktemp('watched')}/shop.db"
    loop, store = asyncio.new_event_loop(), store_for(url)
    loop.run_until_complete(store.open())
    loop.run_until_complete(store.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    return url


@each_fault
def test_a_fault_is_found_where_the_registry_says_and_its_twin_is_silent(watched_shop, make_telemetry, fault):
    """Rule, line and count at warning or above; the clock decides about slow queries, and whether awaits are long."""
    telemetry = make_telemetry(settings=Settings(rules=("all", "-slow_query", "-blocking_call"), watch_reads=True))

    async def ask(handler):
        store = store_for(watched_shop)
        with telemetry.root(handler.__name__):
            answer = store.call(handler)
            if inspect.isawaitable(answer):
                await answer
        await store.close()

    def found():
        findings = [each.finding for each in telemetry.processor.analyzer.snapshot().findings]
        findings = [each for each in findings if each.severity != "info" and each.trace]  # without those about totals
        return [(each.rule, each.call_site.line, each.count) for each in findings]

    asyncio.run(ask(fault.fixed))
    assert found() == []
    asyncio.run(ask(fault.handler))
    expected = [(each.rule, each.line, each.count) for each in fault.expected]
    if fault.name == "serial awaits":  # the clock decides whether enough is to be gained, and between how many
        expected = [each[:2] for each in expected if each[:2] in [one[:2] for one in found()]]
        assert [each[:2] for each in found()] == expected
    else:
        assert found() == expected


def test_gathered_queries_wait_side_by_side(shop):
    """The twin's queries are in the database at the same time, on connections of their own; the fault's never are."""
    store, _ = shop
    engine = getattr(store, "concurrent", None) or store.engine
    running, most = set(), []

    def begin(connection, *_):
        running.add(connection)
        most.append(len(running))

    def end(connection, *_):
        running.discard(connection)

    event.listen(engine.sync_engine, "before_cursor_execute", begin)
    event.listen(engine.sync_engine, "after_cursor_execute", end)
    try:
        (fault,) = [each for each in WORKLOAD_FAULTS if each.name == "serial awaits"]
        asked(shop, fault.handler)
        assert max(most) == 1
        asked(shop, fault.fixed)
        assert max(most) > 1
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", begin)
        event.remove(engine.sync_engine, "after_cursor_execute", end)


def test_every_handler_is_in_the_registry():
    """And no path or name is there twice."""
    public = {name for name, each in vars(workload).items() if getattr(each, "__module__", "") == workload.__name__}
    entries = [handler.__name__ for fault in WORKLOAD_FAULTS for handler in (fault.handler, fault.fixed)]
    assert sorted(entries) == sorted(name for name in public if not name.startswith("_"))
    every = FAULTS + CONNECTION_FAULTS + WORKLOAD_FAULTS + CACHE_FAULTS
    assert len({fault.path for fault in every}) == len({fault.name for fault in every}) == len(every)


def test_they_are_served_where_several_connections_reach_the_database():
    """With one in memory there is a single connection."""
    assert not set(WORKLOAD_FAULTS) & set(served_faults("sqlite://", None))
    assert set(WORKLOAD_FAULTS) <= set(served_faults("sqlite:///shop.db", None))
    assert set(WORKLOAD_FAULTS) <= set(served_faults("sqlite+aiosqlite:///shop.db", None))
