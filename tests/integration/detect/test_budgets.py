"""Functions that exceed the budget that the application gives them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

import dbsight


@pytest.fixture
def over(watch):
    """The budgets that a piece of code exceeds in a request: title, severity and function of the latest query."""

    def found(work):
        return [(each.severity, each.description) for each in watch(work) if each.rule == "budget_exceeded"]

    return found


def ask(session, times):
    """As many queries."""
    for number in range(times):
        session.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": number}).all()


def test_a_function_that_sends_more_queries_than_it_may_is_found(over):
    """Each call has the whole budget; twice as many are an error."""

    @dbsight.budget(max_queries=2)
    def orders(session, times):
        ask(session, times)

    name = orders.__qualname__
    assert over(lambda session: [orders(session, 2), orders(session, 2)]) == []
    assert over(lambda session: orders(session, 3)) == [("warning", f"3 queries; the budget of {name} is 2.")]
    assert over(lambda session: orders(session, 4)) == [("error", f"4 queries; the budget of {name} is 2.")]


def test_time_in_the_database_has_a_budget_too(over):
    """Of a block with a name."""

    def work(session):
        with dbsight.budget(max_time="1us", name="checkout"):
            ask(session, 1)

    ((_, description),) = over(work)
    assert description.endswith(" in the database; the budget of checkout is 1 µs.")


def test_what_was_allowed_and_what_is_no_query_costs_nothing(over):
    """Savepoints, and queries that are known and wanted."""

    def work(session):
        with dbsight.budget(max_queries=1), session.begin_nested():
            ask(session, 1)
            with dbsight.allow("budget_exceeded", reason="a test"):
                ask(session, 3)
            with dbsight.allow("all", reason="a test"):
                ask(session, 3)

    assert over(work) == []


def test_coroutines_and_threads_count(over):
    """A decorated coroutine; work that a block hands to a pool of threads."""

    def in_threads(session):
        def other():
            with Session(session.get_bind()) as own:
                ask(own, 1)

        with dbsight.budget(max_queries=2, name="threads"), ThreadPoolExecutor(2) as pool:
            for _ in range(3):
                pool.submit(other).result()

    assert over(in_threads) == [("warning", "3 queries; the budget of threads is 2.")]

    def in_a_task(session):
        @dbsight.budget(max_queries=2, name="task")
        async def work():
            ask(session, 3)

        asyncio.run(work())

    assert over(in_a_task) == [("warning", "3 queries; the budget of task is 2.")]


def test_a_budget_without_a_limit_is_a_mistake():
    """Said where it is written."""
    with pytest.raises(ValueError, match="max_queries= or max_time="):
        dbsight.budget()
    with pytest.raises(ValueError, match="above zero, not 0"):
        dbsight.budget(max_queries=0)
    with pytest.raises(ValueError, match="soon"):
        dbsight.budget(max_time="soon")


def test_without_an_engine_it_does_nothing(engine):
    """The application runs as ever."""

    @dbsight.budget(max_queries=1)
    def work():
        with Session(engine) as session:
            return session.scalar(text("SELECT count(*) FROM customers"))

    assert work() == 6
