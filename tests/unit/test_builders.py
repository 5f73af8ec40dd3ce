"""The builders make the records that instrumentors make."""

from builders import NOW_NS, TRACE_ID, make_operation, make_span_context, make_statement
from dbsight import statement
from dbsight.model import CallSite, Database, Operation


def fields(operation):
    """The fields of an operation that are compared by value."""
    return {name: getattr(operation, name) for name in Operation.__slots__ if name not in ("call_site", "database")}


def test_a_statement_is_the_readers_own():
    """The same object, not a copy, when nothing is replaced."""
    text = "SELECT name FROM customers WHERE id = 7"
    assert make_statement(text, "postgresql") is statement.read(text, "postgresql")


def test_a_field_that_is_named_is_replaced_in_a_copy():
    """What is named wins, the rest is as read, and the reader's cache is untouched."""
    text = "SELECT name FROM customers WHERE id = 8"
    made, read = make_statement(text, blocking=True), statement.read(text, "sqlite")
    assert (made.blocking, read.blocking) == (True, False)
    assert (made.summary, made.fingerprint, made.targets) == (read.summary, read.fingerprint, read.targets)
    assert made.prebuilt is not read.prebuilt


def test_an_operation_has_what_every_query_has():
    """Injected time, a call site, a span of its own, and the statement of its text on its database's system."""
    context = make_span_context(5)
    database = Database("postgresql", "shop", "db.example", 5432)
    made = make_operation("SELECT 1", at=2.0, duration=0.5, line=33, database=database, context=context, rows=1)
    expected = Operation(
        statement.read("SELECT 1", "postgresql"),
        database,
        NOW_NS + 2_000_000_000,
        0.5,
        rows=1,
        call_site=CallSite("app.py", 33, "list_orders"),
        context=context,
        thread=1,
    )
    assert fields(made) == fields(expected)
    assert made.database is database
    assert str(made.call_site) == "app.py:33"


def test_each_operation_has_a_span_of_its_own_in_one_trace():
    """Ids are drawn in order; the trace is always the same."""
    first, second = make_operation(), make_operation()
    assert first.context.trace_id == second.context.trace_id == TRACE_ID
    assert second.context.span_id == first.context.span_id + 1
