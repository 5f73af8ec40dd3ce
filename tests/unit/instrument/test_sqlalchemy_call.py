"""A statement of SQLAlchemy is filled by one function, for speed, and has all that others have."""

from dbsight.instrument.sqlalchemy_call import StatementCall
from dbsight.span import PendingQuery


def test_a_statement_begins_as_every_query_does():
    """Its own constructor fills the slots of the base class with the same values, and leaves none of them out."""
    plain, call = PendingQuery(), StatementCall()
    filled = {name: getattr(plain, name) for name in PendingQuery.__slots__ if hasattr(plain, name)}
    assert {name: getattr(call, name, "unset") for name in filled} == filled
