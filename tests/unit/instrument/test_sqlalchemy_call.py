"""A statement of SQLAlchemy is filled in place with what every statement has, and in the drain with the rest."""

import sqlalchemy

from dbsight.instrument.sqlalchemy_call import StatementCall
from dbsight.span import PendingQuery

PRIVATE = {"_suppressing"}


def test_a_statement_has_in_the_drain_what_every_query_has(make_telemetry, monkeypatch):
    """No slot is left out, and what says nothing says it by the values of the base class."""
    drained = []
    made = StatementCall.operation

    def operation(call):
        done = made(call)
        drained.append({name: getattr(call, name, "unset") for name in (*PendingQuery.__slots__, *call.__slots__)})
        return done

    monkeypatch.setattr(StatementCall, "operation", operation)
    telemetry = make_telemetry()
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        for _ in range(2):  # the first makes the connection, and is not in SQLAlchemy's cache
            connection.execute(sqlalchemy.text("SELECT 1")).one()
    telemetry.spans()
    engine.dispose()
    plain, (_, call) = PendingQuery(), drained
    assert {name for name, value in call.items() if isinstance(value, str) and value == "unset"} <= PRIVATE
    said = {name: getattr(plain, name) for name in PendingQuery.__slots__ if hasattr(plain, name)}
    differing = {name for name, value in said.items() if call[name] != value}
    assert differing == {
        *("parent", "call_site", "parameters_hash", "pool", "rows", "end_ns", "thread", "duration", "over")
    }
