"""What users of other plug-ins of this kind complained of; tests fail where their names say so."""

import factories
import pytest
import service
from sqlalchemy import select
from sqlalchemy.orm import Session

import shop


@pytest.fixture
def session():
    """Ten orders."""
    with Session(shop.filled()) as session:
        yield session


@pytest.fixture
def more(session):
    """Rows that are written after the fixture ``dbsight`` was set up, and read by nobody."""
    unread = session.connection().exec_driver_sql("SELECT * FROM orders")
    factories.ten(session)
    return unread


def test_factories_are_not_the_application(session):
    """They look rows up and write them one by one, in the body of the test."""
    assert len(factories.ten(session)) == 10


def test_the_order_of_fixtures_does_not_matter(dbsight, more, session):
    """What later fixtures sent does not count, nor does a result of theirs that is still open."""
    assert dbsight.count() == 0
    service.one(session)
    assert dbsight.count() == 2


def test_what_an_open_result_of_another_test_sends_does_not_count(dbsight):
    """There is none any more."""
    assert dbsight.count() == 0


def test_one_object_and_its_relation_are_no_loop(session, dbsight):
    """Two queries, as with eager loading."""
    service.one(session)
    assert dbsight.findings() == []


def test_a_loop_over_nothing_is_no_loop(session, dbsight):
    """One query."""
    service.none(session)
    assert dbsight.findings() == []


def test_eager_loading_is_not_too_eager(session, dbsight):
    """With it nothing is found, whether what was loaded is used or not."""
    shop.names_joined(session)
    assert dbsight.findings() == []


def test_a_loop_without_a_relationship_fails(session):
    """A query for each number."""
    service.by_number(session, range(1, 11))


def test_eager_loading_of_each_object_fails(session):
    """It is asked for in a loop."""
    service.loaded_one_by_one(session)


@pytest.mark.parametrize("number", range(20))
def test_parameters_of_a_test_are_no_loop(session, number):
    """Each is a test by itself."""
    session.scalars(select(shop.Customer).where(shop.Customer.id == number)).all()


@pytest.mark.xfail(reason="raises between its queries", raises=RuntimeError, strict=True)
def test_an_error_of_the_test_stays_its_own(session):
    """Nothing is judged then."""
    shop.names(session)
    raise RuntimeError


@pytest.mark.skip(reason="is not run")
def test_that_is_skipped(session):
    """Nothing to watch."""
