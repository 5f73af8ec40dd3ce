"""The records: small, and silent about values."""

import dataclasses
import enum
import inspect

import pytest

from builders import NOW_NS, make_operation
from dbsight import model
from dbsight.model import (
    CallSite,
    Database,
    Finding,
    MergedFinding,
    Operation,
    Snapshot,
    Statement,
    Verdict,
)

MARKER = 123456789123456789
SECRET = "jane@example.org"

RECORDS = [record for _, record in inspect.getmembers(model, inspect.isclass) if not issubclass(record, enum.Enum)]


class Replay:
    """As a weak handle to engine and parameters might show itself."""

    def __repr__(self):
        return SECRET


def statement():
    """One whose text held a literal."""
    return Statement("sqlite", "SELECT name FROM customers WHERE id = ?", "SELECT customers", "7c1e", literals=MARKER)


def operation():
    """One that carries what must not be seen."""
    return make_operation(statement(), parameters=MARKER, error_code="23505", replay=Replay())


def finding():
    """One about that operation."""
    return Finding(
        rule="n_plus_one",
        id="n1-7c1e9a40",
        severity="error",
        category="query",
        title="Order.customer loaded 200 times",
        description="One row at a time.",
        statement=statement(),
        call_site=CallSite("shop.py", 88, "list_orders"),
    )


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_has_slots_and_nothing_else(record):
    """A misspelt field is an error, and an operation costs no dictionary."""
    assert "__slots__" in vars(record)
    assert not any("__dict__" in vars(each) for each in record.__mro__)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_documented(record):
    """With its unit, in the order of the docstring's list."""
    documented = {line.strip().partition(":")[0] for line in record.__doc__.splitlines()}
    assert set(record.__slots__) - documented <= {"prebuilt"}


def test_a_misspelt_field_is_an_error():
    """Slots say no."""
    with pytest.raises(AttributeError):
        operation().durration = 1.0


@pytest.mark.parametrize(
    "make",
    [
        statement,
        operation,
        finding,
        lambda: Verdict("slow", 1.0, (finding(),)),
        lambda: MergedFinding(finding(), windows=1, count=200, impact=0.6),
        lambda: Snapshot(findings=[MergedFinding(finding(), windows=1, count=200, impact=0.6)]),
    ],
)
def test_a_repr_shows_neither_values_nor_their_hash_nor_the_handle_to_replay_it(make):
    """A repr ends up in logs, and in the error pages of web frameworks."""
    for shown in (repr(make()), str(make())):
        assert SECRET not in shown
        assert str(MARKER) not in shown


def test_reprs_say_what_a_reader_of_a_log_wants_to_know():
    """Summary, duration and place."""
    database = Database("postgresql", "shop", "db.internal", 5432)
    site = CallSite("shop.py", 88, "list_orders")
    records = [statement(), database, site, Operation(statement(), database, NOW_NS, 0.0125, call_site=site)]
    assert [repr(record) for record in records] == [
        "Statement('sqlite', 'SELECT customers', 7c1e)",
        "Database('postgresql://db.internal:5432/shop')",
        "CallSite(shop.py:88 in list_orders)",
        "Operation('SELECT customers', 0.012500 s, at shop.py:88)",
    ]
    assert str(site) == "shop.py:88"


def test_databases_that_differ_in_anything_are_told_apart():
    """Forty SQLite files are forty databases."""
    databases = [
        Database("sqlite", "a.db"),
        Database("sqlite", "b.db"),
        Database("postgresql", "a.db"),
        Database("postgresql", "shop", "one", 5432),
        Database("postgresql", "shop", "two", 5432),
        Database("postgresql", "shop", "two", 5433),
        Database("postgresql"),
    ]
    assert len({database.key for database in databases}) == len(databases)
    assert Database("sqlite", "a.db").key == databases[0].key


def test_an_operation_ends_its_duration_after_it_began():
    """In whole nanoseconds."""
    assert make_operation(statement(), at=2, duration=0.25).end_ns == NOW_NS + 2_250_000_000


def test_records_that_hold_mutable_things_do_not_share_them():
    """A default is nobody's to change for others."""
    first, second = finding(), finding()
    first.details["n"] = 1
    statement().prebuilt["x"] = 1
    assert second.details == {}
    assert statement().prebuilt == {}
    assert Snapshot().dropped is not Snapshot().dropped


def test_findings_are_compared_field_by_field():
    """Tests compare whole records."""
    assert finding().title == dataclasses.replace(finding(), count=2).title
    assert dataclasses.replace(finding(), count=2) != dataclasses.replace(finding(), count=3)


def test_severities_rise():
    """Everything that compares two of them asks this order."""
    assert model.SEVERITIES == ("info", "warning", "error")
