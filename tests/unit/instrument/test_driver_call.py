"""What a statement of a driver says of itself when it fails."""

from builders import make_span_context, missing_fields
from dbsight import safety
from dbsight.instrument.dbapi import Driver
from dbsight.instrument.driver_call import DriverCall, Link
from dbsight.model import Database, Operation
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
    call.covering = False
    error = ConnectionResetError("reset")

    call.raised(error)

    assert ended == [error]
    assert safety.errors() == {}


def test_a_statement_that_ran_has_every_field_of_an_operation():
    """Hooks and drain fill all of them, once."""
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
    call.held = call.django = call.rare = call.extra = None
    names = ("statement", "start_ns", "duration", "rows", "affected", "thread", "allowed", "call_site", "values")
    for name in (*names, "streamed"):
        setattr(call, name, getattr(constructed, name))
    call.began, call.last, call.executed = 1.0, 1.75, 0.25
    call.parameters, call.parameters_hash = None, constructed.parameters
    for name in ("error_type", "error_code", "pool_wait", "connect_time", "batch_size", "blocked_loop"):
        call.have(**{name: getattr(constructed, name)})

    for _ in range(2):  # again as after a failure, when records are drained one by one
        call.complete()

        assert missing_fields(call) == []
        names = [name for name in Operation.__slots__ if name not in ("context", "origin")]
        assert {name: getattr(call, name) for name in names} == {name: getattr(constructed, name) for name in names}
        assert (call.current, call.parent, call.factory) == ("context", constructed.parent, link.driver.factory)
        assert (call.link, call.held, call.place) == (None, None, None)
