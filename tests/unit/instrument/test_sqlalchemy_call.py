"""A statement of SQLAlchemy is filled in place with what every statement has, and in the drain with the rest."""

import sqlalchemy

from builders import missing_fields
from dbsight.instrument.sqlalchemy_call import StatementCall
from dbsight.model import Operation
from dbsight.span import PendingQuery

PRIVATE = {"_suppressing", "context", "origin"}
FIELDS = (*Operation.__slots__, *PendingQuery.__slots__)


def test_a_statement_has_in_the_drain_what_every_query_has(make_telemetry, monkeypatch):
    """No slot is left out, and what says nothing says it by the values of the base class."""
    drained = []
    complete = StatementCall.complete

    def completed(call):
        complete(call)
        complete(call)  # as after a failure, when records are drained again one by one
        drained.append({name: getattr(call, name, "unset") for name in (*FIELDS, *call.__slots__)})
        assert missing_fields(call) == []

    monkeypatch.setattr(StatementCall, "complete", completed)
    telemetry = make_telemetry()
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        for _ in range(2):  # the first makes the connection, and is not in SQLAlchemy's cache
            connection.execute(sqlalchemy.text("SELECT 1")).one()
    telemetry.spans()
    engine.dispose()
    plain, (_, call) = PendingQuery(), drained
    assert {name for name, value in call.items() if isinstance(value, str) and value == "unset"} <= PRIVATE
    said = {name: getattr(plain, name) for name in FIELDS if hasattr(plain, name)}
    differing = {name for name, value in said.items() if call[name] != value}
    assert differing == {
        *(
            "parent",
            "call_site",
            "parameters",
            "parameters_hash",
            "rare",
            "pool",
            "rows",
            "end_ns",
            "thread",
            "duration",
        ),
        *("duration", "over"),
    }
