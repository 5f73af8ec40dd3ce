"""What a statement of a driver says of itself when it fails."""

from builders import make_span_context
from dbsight import safety
from dbsight.instrument.dbapi import Driver
from dbsight.instrument.driver_call import DriverCall, Link
from dbsight.model import Database, Operation
from dbsight.span import PendingQuery
from dbsight.statement import read


class LostDriver(Driver):
    """A driver whose connection cannot say whether it is in a transaction."""

    def in_transaction(self, connection):
        raise OSError("the connection is lost")


def test_a_lost_connection_that_says_nothing_of_its_transaction_is_no_failure(monkeypatch):
    """The statement ends with the driver's error."""
    ended = []
    monkeypatch.setattr(DriverCall, "finish", lambda call, error: ended.append(error))
    call = DriverCall()
    call.link, call.began = Link(LostDriver(), Database("postgresql"), {}), 0.0
    call.held = call.rare = call._connection = None
    error = ConnectionResetError("reset")

    call.raised(error)

    assert ended == [error]
    assert safety.errors() == {}


def test_a_statement_that_ran_has_every_field_of_an_operation():
    """It is made without the constructor of operations, of what is kept in other ways than by other queries."""
    constructed = Operation(
        read("SELECT 1", "postgresql"),
        Database("postgresql"),
        10_000_000_000,
        0.5,
        end_ns=10_750_000_000,
        fetch_time=0.25,
        rows=1,
        error_type="ValueError",
        error_code="22023",
        pool_wait=0.125,
        connect_time=0.0625,
        batch_size=2,
        thread=7,
        parent=make_span_context(),
        blocked_loop=True,
    )
    constructed.parameters = 4
    link = Link(Driver(), constructed.database, {})
    call = DriverCall()
    call.link, call.place = link, ("context", link.driver.factory, constructed.parent)
    call.held = call.django = call.rare = None
    for name in ("statement", "start_ns", "duration", "rows", "affected", "thread", "allowed", "call_site", "values"):
        setattr(call, name, getattr(constructed, name))
    call.began, call.last, call.executed = 1.0, 1.75, 0.25
    call.parameters, call.parameters_hash = None, constructed.parameters
    for name in ("error_type", "error_code", "pool_wait", "connect_time", "batch_size", "blocked_loop"):
        setattr(call, name, getattr(constructed, name))

    made = call.operation()

    assert {name: getattr(made, name) for name in Operation.__slots__} == {
        name: getattr(constructed, name) for name in Operation.__slots__
    }
    assert (call.current, call.parent, call.factory) == ("context", constructed.parent, link.driver.factory)


def test_what_hardly_any_statement_has_is_as_in_every_pending_query_until_it_is_set():
    """It is kept apart, because each value that is set costs."""
    call, query = DriverCall(), PendingQuery()
    call.rare = None
    names = [name for name in PendingQuery.__slots__ if isinstance(vars(DriverCall).get(name), property)]

    before = {name: getattr(call, name) for name in names}
    call.error_type = "ValueError"

    assert before == {name: getattr(query, name) for name in names}
    assert (call.error_type, call.error_code) == ("ValueError", None)
