"""Operations are counted by the batch, and none is missing or counted for another when totals are read."""

import pytest
from tests.builders import make_operation, make_statement

from dbsight import safety
from dbsight.config import Settings
from dbsight.model import Database
from dbsight.totals import Totals

WORKING = make_statement("SELECT id FROM working")


@pytest.fixture
def totals():
    """Totals of an engine without metrics."""
    return Totals(Settings(), None, lambda: None)


def test_operations_are_counted_when_totals_are_read_however_few_there_are(totals):
    """A single one waits until then."""
    assert totals.idle
    totals.add_all([make_operation()])

    assert not totals.idle
    totals.settle()

    assert totals.snapshot().calls == 1


def test_operations_are_counted_by_themselves_once_there_are_enough(totals):
    """What waits is bounded."""
    for _ in range(10_000):
        totals.add_all([make_operation()])

    assert 10_000 - totals.stats.snapshot().calls < 1000


def test_a_statement_is_counted_for_the_class_that_each_of_its_operations_is_of(totals):
    """The ORM and a hand-written query may send the same text."""
    statement, database = make_statement("SELECT id FROM book"), Database("sqlite")
    operations = [make_operation(statement, database=database) for _ in range(3)]
    operations[1].model = "Book"
    totals.add_all(operations)
    totals.settle()

    assert [(each.model, each.reads) for each in totals.models.totals()] == [("Book", 1)]
    assert totals.snapshot().calls == 3


@pytest.mark.swallows_errors
def test_a_statement_that_cannot_be_counted_does_not_take_others_with_it(totals, monkeypatch):
    """A reservoir of the application may raise."""
    failing, database = make_statement("SELECT id FROM failing"), Database("sqlite")
    found = totals.metrics.series_of

    def series_of(operation, *arguments):
        if operation.statement is failing:
            raise RuntimeError("the view fails")
        return found(operation, *arguments)

    monkeypatch.setattr(totals.metrics, "series_of", series_of)
    totals.add_all([make_operation(each, database=database) for each in (failing, WORKING, failing, WORKING)])
    totals.settle()

    assert sum(each.count for each in totals.snapshot().statements if each.statement is not failing) == 2
    assert safety.errors() == {"totals": 1}
