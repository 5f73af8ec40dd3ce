"""What the plug-in is tried on; some tests fail, as their names say."""

import threading
import time
import unittest

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

import shop


@pytest.fixture
def session():
    """Seeded row by row, which is no fault of a test."""
    with Session(shop.filled()) as session:
        yield session


def test_loop(session):
    """Found; fails with ``--dbsight-fail-on``."""
    assert len(shop.names(session)) == 10


def test_joined(session):
    """Nothing to find."""
    assert len(shop.names_joined(session)) == 10


def test_seeds(session):
    """Rows that a test writes for itself."""
    for number in range(20, 40):
        session.add(shop.Customer(id=number, name="x"))
        session.flush()


@pytest.mark.dbsight(max_queries=5)
def test_within_budget(session):
    """One query."""
    shop.names_joined(session)


@pytest.mark.dbsight(max_queries=5)
def test_over_budget_fails(session):
    """Eleven queries."""
    shop.names(session)


@pytest.mark.dbsight(max_time="1us")
def test_over_time_fails(session):
    """Longer than a microsecond."""
    shop.names_joined(session)


@pytest.mark.dbsight(fail_on="n_plus_one")
def test_found_fails(session):
    """By its marker."""
    shop.names(session)


@pytest.mark.dbsight(fail_on="n_plus_one", allow="n_plus_one")
def test_allowed(session):
    """Wanted here."""
    shop.names(session)


def test_counted(session, dbsight):
    """As expected, in the body and in a thread."""
    with dbsight.assert_queries(1):
        shop.names_joined(session)
    with dbsight.assert_no_findings():
        shop.names_joined(session)
    assert dbsight.count() == 2

    def work():
        with Session(session.get_bind()) as own:
            own.execute(text("SELECT name FROM customers"))

    with dbsight.assert_queries(at_most=1):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [group.count for group in dbsight.queries] == [2, 1]


def test_miscounted_fails(session, dbsight):
    """One more than expected."""
    with dbsight.assert_queries(1):
        shop.names_joined(session)
        session.execute(text("SELECT count(*) FROM orders"))


def test_savepoints_do_not_count(session, dbsight):
    """Whether a fixture wraps a test in a transaction changes no number."""
    with dbsight.assert_queries(1), session.begin_nested():
        shop.names_joined(session)


def test_snapshot(session, dbsight):
    """Compared with the file of the last ``--dbsight-update``."""
    with dbsight.snapshot("names"):
        (shop.names if time.time() < 0 else shop.names_joined)(session)


class TestUnit(unittest.TestCase):
    """``setUp`` is not the test."""

    def setUp(self):
        """Many queries."""
        self.session = Session(shop.filled())

    def test_one(self):
        """One query."""
        shop.names_joined(self.session)


class TestUnitAsync(unittest.IsolatedAsyncioTestCase):
    """The same with a coroutine."""

    async def asyncSetUp(self):
        """Many queries."""
        self.session = Session(shop.filled())

    async def test_other(self):
        """One query."""
        shop.names_joined(self.session)


def test_calls_of_their_own(session):
    """What is repeated between two calls is the test's doing, and what a test asks itself, too."""
    assert shop.name(session, 1) == "customer 1"
    assert shop.name(session, 2) == "customer 2"
    assert shop.name(session, 3) == "customer 3"
    assert shop.name(session, 4) == "customer 4"
    assert shop.name(session, 5) == "customer 5"
    assert shop.name(session, 6) == "customer 6"
    for _ in range(10):
        session.execute(text("SELECT count(*) FROM orders"))
