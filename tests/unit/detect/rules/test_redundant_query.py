"""The rule redundant_query: what counts as asked again, and what it says."""

import pytest

from builders import NOW_NS, TRACE_ID, make_statement
from dbsight.config import Settings
from dbsight.detect.rules.n_plus_one import NPlusOne
from dbsight.detect.rules.redundant_query import RedundantQuery
from dbsight.model import CallSite, Finding, TransactionEvent
from unit.detect.loops import HERE, LOADS_CUSTOMER, SELECT_CUSTOMER, SHOP, loop, make_window, one

SELECT_SETTINGS = "SELECT settings.name, settings.value FROM settings WHERE settings.shop = ?"
UPDATE_SETTINGS = "UPDATE settings SET value = ? WHERE name = ?"


def same(count, text=SELECT_SETTINGS, **fields):
    """The same question several times."""
    return loop(count, text, **{"parameters": 1, **fields})


def judge(operations, duration=1.0, *, request=True, events=()):
    """What the rule finds."""
    window = make_window(operations, duration, request=request)
    window.events = list(events)
    return list(RedundantQuery(Settings()).complete(window))


def test_the_same_question_becomes_one_finding():
    """Everything that a person needs stands in it."""
    found = judge(same(38))
    assert found == [
        Finding(
            rule="redundant_query",
            id=found[0].id,
            severity="warning",
            category="query",
            title="SELECT settings is repeated with the same parameters",
            description=(
                "SELECT settings ran 38 times with the same parameters, although nothing was written to its tables in"
                " between, at shop.py:88 in list_orders."
            ),
            suggestion="settings = …  # query once in list_orders, or cache it",
            impact=pytest.approx(37 * 0.003),
            count=38,
            metric="count",
            current_value=38.0,
            threshold=5.0,
            statement=make_statement(SELECT_SETTINGS),
            database=SHOP,
            call_site=HERE,
            trace=f"{TRACE_ID:032x}",
            route="GET /orders",
            details={"duration": pytest.approx(38 * 0.003), "places": 1, "answers": 1},
        )
    ]
    assert found[0].id.startswith("rq-")


@pytest.mark.parametrize(
    ("count", "duration", "severities"),
    [(2, 0.5, []), (3, 0.003, ["info"]), (3, 0.05, ["warning"]), (4, 0.003, ["info"]), (5, 0.003, ["warning"])],
)
def test_severity_follows_number_and_time(count, duration, severities):
    """Twice is nobody's fault."""
    assert [found.severity for found in judge(same(count, duration=duration, every=0.06))] == severities


def test_several_lines_that_ask_the_same_are_one_fault():
    """Each of them once: nobody repeats, all together do."""
    operations = [
        one(SELECT_SETTINGS, at=number / 100, parameters=1, call_site=CallSite("shop.py", number, "page"))
        for number in range(6)
    ]
    (found,) = judge(operations)
    assert (found.count, found.details["places"]) == (6, 6)
    assert found.description.endswith("6 lines run it.")


@pytest.mark.parametrize(
    ("write", "count"),
    [
        (one(UPDATE_SETTINGS, at=0.021, parameters=9), 0),
        (one(UPDATE_SETTINGS, at=0.021, parameters=9, error_type="OperationalError"), 0),
        (one("CALL refresh_everything()", at=0.021), 0),
        (one("UPDATE orders SET note = ? WHERE id = ?", at=0.021, parameters=9), 4),
    ],
    ids=["same table", "a write that failed", "nobody knows what it writes", "another table"],
)
def test_a_write_in_between_makes_it_another_question(write, count):
    """Two before and two after: only a write to its own table parts them, in twos that are no finding each."""
    operations = [one(SELECT_SETTINGS, at=at, parameters=1) for at in (0.0, 0.01)]
    operations += [write, *(one(SELECT_SETTINGS, at=at, parameters=1) for at in (0.03, 0.04))]
    found = judge(operations)
    if count:
        assert [each.count for each in found] == [count]
    else:
        assert [(each.count, each.details["answers"]) for each in found] == [(4, 2)]


def test_each_write_followed_by_a_read_is_none():
    """Read, write, read, write."""
    operations = []
    for number in range(8):
        operations.append(one(SELECT_SETTINGS, at=number / 10, parameters=1))
        operations.append(one(UPDATE_SETTINGS, at=number / 10 + 0.05, parameters=number))
    assert judge(operations) == []


def test_what_is_read_again_after_a_failed_transaction_is_none():
    """A retry starts from the beginning."""
    events = [
        TransactionEvent(SHOP, "rollback", NOW_NS + int(number * 0.01e9) + 5_000_000, 0.01, failed=True)
        for number in range(6)
    ]
    assert judge(same(6, at=0.0, every=0.01), events=events) == []


@pytest.mark.parametrize(
    "operations",
    [
        same(20, parameters=None),
        same(20, error_type="OperationalError"),
        same(20, load="expired", relationship="Order"),
        same(20, "SELECT jobs.id FROM jobs WHERE id = ? FOR UPDATE"),
        same(20, "SELECT random() FROM settings"),
        same(20, "SELECT 1"),
        same(20, "SELECT name FROM sqlite_master WHERE type = ?"),
        same(20, allowed=frozenset({"redundant_query"})),
        same(20, every=1.5),
        loop(20, SELECT_CUSTOMER, **LOADS_CUSTOMER),
        loop(20),
    ],
    ids=[
        "unknown parameters",
        "errors",
        "read again after a commit",
        "locks",
        "random",
        "ping",
        "catalogue",
        "allowed",
        "every second",
        "n_plus_one of the ORM",
        "n_plus_one",
    ],
)
def test_leaves_alone_what_has_a_reason(operations):
    """Each of these repeats rightly, or is another fault."""
    assert judge(operations, 60.0) == []


def test_leaves_alone_polling_where_no_request_is_served():
    """Ten times a second, steadily."""
    assert judge(same(10, every=0.1), request=False) == []
    assert len(judge(same(10, every=0.01), request=False)) == 1


def test_literals_count_as_parameters():
    """The fingerprint is the same, the question is not."""
    different = [one(f"SELECT value FROM settings WHERE name = 'n{number}'", at=number / 100) for number in range(8)]
    assert [each.rule for each in judge(different)] == []


@pytest.mark.parametrize("asked", [1, 2, 3, 5, 20])
def test_one_loop_is_never_both_redundant_and_an_n_plus_one(asked):
    """However many different parameters it has, one rule speaks of it."""
    operations = [
        one(SELECT_SETTINGS, at=number / 100, duration=0.005, parameters=number % asked) for number in range(20)
    ]
    window = make_window(operations)
    rules = {
        found.rule for rule in (NPlusOne(Settings()), RedundantQuery(Settings())) for found in rule.complete(window)
    }
    assert rules == ({"n_plus_one"} if asked >= 3 else {"redundant_query"})
