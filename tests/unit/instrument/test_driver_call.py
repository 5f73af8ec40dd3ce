"""What a statement of a driver says of itself when it fails."""

from dbsight import safety
from dbsight.instrument.dbapi import Driver
from dbsight.instrument.driver_call import DriverCall, Link
from dbsight.model import Database
from dbsight.span import PendingQuery


class LostDriver(Driver):
    """A driver whose connection cannot say whether it is in a transaction."""

    def in_transaction(self, connection):
        raise OSError("the connection is lost")


def test_a_lost_connection_that_says_nothing_of_its_transaction_is_no_failure(monkeypatch):
    """The statement ends with the driver's error."""
    ended = []
    monkeypatch.setattr(DriverCall, "finish", lambda call, error: ended.append(error))
    call = DriverCall()
    call.driver, call.link, call.began = LostDriver(), Link(Database("postgresql"), {}), 0.0
    error = ConnectionResetError("reset")

    call.raised(error)

    assert ended == [error]
    assert safety.errors() == {}


def test_a_call_begins_with_the_values_of_every_pending_query():
    """Its constructor sets them itself, because each call in it costs."""
    call, query = DriverCall(), PendingQuery()
    for name in PendingQuery.__slots__:
        if hasattr(query, name):
            assert getattr(call, name) == getattr(query, name), name
