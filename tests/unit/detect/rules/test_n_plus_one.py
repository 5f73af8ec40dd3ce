"""The rule n_plus_one: what it groups, when it speaks, and what it says."""

import itertools
import random
from dataclasses import replace

import pytest

from builders import TRACE_ID, make_statement
from dbsight.config import Settings
from dbsight.detect.rules.n_plus_one import NPlusOne
from dbsight.model import CallSite, Database, Finding
from unit.detect.loops import (
    HERE,
    LOADS_CUSTOMER,
    LOADS_LINES,
    SELECT_CUSTOMER,
    SELECT_LINES,
    SHOP,
    judge,
    loop,
    make_window,
    one,
    severities,
)

ORDERS = one("SELECT orders.id, orders.customer_id FROM orders", parameters=0, rows=200)


def test_a_lazy_loop_becomes_one_finding_with_place_and_fix():
    """Everything that a person needs stands in the finding."""
    found = judge([ORDERS, *loop(200, **LOADS_CUSTOMER)])
    statement = make_statement(SELECT_CUSTOMER)
    assert found == [
        Finding(
            rule="n_plus_one",
            id=found[0].id,
            severity="error",
            category="query",
            title="Order.customer is loaded one row at a time",
            description="200 queries loaded Order.customer one row at a time, at shop.py:88 in list_orders.",
            suggestion="select(Order).options(joinedload(Order.customer))",
            impact=pytest.approx(0.9 * (0.6 + 200 * 0.001) * 199 / 200, rel=0.01),
            effort="low",
            count=200,
            metric="count",
            current_value=200.0,
            threshold=5.0,
            statement=statement,
            database=SHOP,
            call_site=HERE,
            relationship="Order.customer",
            trace=f"{TRACE_ID:032x}",
            route="GET /orders",
            details={
                "distinct": 200,
                "duration": pytest.approx(0.6),
                "main_query": "SELECT orders",
                "repeated_query": "SELECT customers",
                "followers": 0,
            },
        )
    ]
    assert found[0].id.startswith("n1-")
    assert len(found[0].id) == 11


def test_a_core_loop_is_found_by_its_line():
    """Many true N+1s have no relationship behind them."""
    (found,) = judge(loop(12))
    assert (found.severity, found.count, found.relationship, found.effort) == ("warning", 12, None, "medium")
    assert found.suggestion == "SELECT customers.id, customers.name FROM customers WHERE customers.id IN (…)"
    assert found.description == (
        "12 queries ran SELECT customers with 12 different parameters from one place, at shop.py:88 in list_orders."
    )


# -- Identity -----------------------------------------------------------------------------------------------------
def test_interleaved_loops_are_told_apart():
    """Two relationships of one loop are two findings, whatever their order."""
    customers = loop(20, **LOADS_CUSTOMER)
    lines = loop(20, SELECT_LINES, at=0.012, **LOADS_LINES)
    mixed = [operation for pair in zip(customers, lines, strict=True) for operation in pair]
    assert {(found.relationship, found.count) for found in judge(mixed)} == {
        ("Order.customer", 20),
        ("Order.lines", 20),
    }


def test_what_runs_in_between_hides_nothing():
    """A ping, a savepoint and a setting before each query."""
    noise = ("SELECT 1", "SAVEPOINT a", "PRAGMA foreign_keys = ON")
    operations = [
        operation
        for number, query in enumerate(loop(10))
        for operation in (one(noise[number % 3], at=0.009 + number * 0.004, parameters=0), query)
    ]
    assert [found.count for found in judge(operations)] == [10]


def test_the_same_text_on_forty_databases_is_no_repetition():
    """Forty SQLite files are forty databases."""
    operations = [
        one(SELECT_CUSTOMER, at=number / 100, parameters=number, database=Database("sqlite", f"{number}.db"))
        for number in range(40)
    ]
    assert judge(operations) == []


def test_comments_and_literals_do_not_hide_a_repetition():
    """An application that adds the trace id, and one that writes its values into the text."""
    commented = [
        one(f"/* trace {number:032x} */ {SELECT_CUSTOMER}", at=number / 100, parameters=number) for number in range(8)
    ]
    inlined = [
        one(f"SELECT name FROM products WHERE id = {number}", at=number / 100, parameters=7) for number in range(8)
    ]
    assert [found.count for found in judge(commented)] == [8]
    assert [found.count for found in judge(inlined)] == [8]


def test_parallel_tasks_and_threads_are_one_group():
    """Overlapping executions, each with its own thread and parent."""
    operations = [
        one(SELECT_CUSTOMER, at=0.01 + number / 10_000, duration=0.05, parameters=number, thread=number)
        for number in range(10)
    ]
    assert [(found.count, found.severity) for found in judge(operations)] == [(10, "error")]


def test_what_two_instrumentations_saw_counts_once():
    """The driver's span lies within ours, or within that of another client library; each names the database its way."""
    drivers = loop(6, at=0.0105, foreign=True, duration=0.002, parameters=None, database=Database("sqlite"))
    for library in (loop(6), loop(6, foreign=True, parameters=None)):
        assert [found.count for found in judge([*library, *drivers])] == [6]
    assert [found.count for found in judge(drivers)] == [6]


def test_parallel_queries_may_lie_within_each_other():
    """Tasks on one thread: a short query runs while a long one waits."""
    long = loop(6, every=0.1, duration=0.09, foreign=True, parameters=None)
    short = loop(2, at=0.02, every=0.1, duration=0.01, foreign=True, parameters=None)
    assert [found.count for found in judge([*long, *short])] == [8]


def test_a_lookup_helper_is_judged_by_its_callers():
    """The first frame is the helper; what matters is who calls it."""

    def helper(line, function="show"):
        return CallSite("db.py", 5, "find", CallSite("shop.py", line, function))

    apart = [
        one(SELECT_CUSTOMER, at=number / 100, parameters=number, call_site=helper(number, f"view_{number}"))
        for number in range(8)
    ]
    looped = loop(8, call_site=helper(30))
    assert judge(apart) == []
    (found,) = judge([*apart, *looped])
    assert (found.count, str(found.call_site), str(found.call_site.caller)) == (8, "db.py:5", "shop.py:30")
    assert found.description.endswith("at db.py:5 in find, called from shop.py:30 in show.")


def test_two_loops_over_one_helper_have_ids_of_their_own():
    """Two endpoints, two faults, each with its line."""
    first, second = (
        loop(8, call_site=CallSite("db.py", 5, "find", CallSite("shop.py", 30, name)))
        for name in ("invoice", "picking")
    )
    assert judge(first)[0].id != judge(second)[0].id


def test_two_lines_of_one_function_are_one_finding():
    """One id is one event in a window; the counts add up."""
    upper, lower = (loop(6, at=at, call_site=CallSite("shop.py", line, "show")) for at, line in ((0.1, 10), (0.2, 20)))
    (found,) = judge([*upper, *lower])
    assert found.count == 12


def test_a_relationship_is_one_place_wherever_it_is_touched():
    """A template touches it in one line for some rows and in another for the rest."""
    operations = [
        one(
            SELECT_CUSTOMER,
            at=number / 100,
            parameters=number,
            call_site=CallSite("shop.py", 10 + number % 2, "row"),
            **LOADS_CUSTOMER,
        )
        for number in range(8)
    ]
    assert [found.count for found in judge(operations)] == [8]


def test_the_id_survives_another_line_run_and_order():
    """Line numbers move with every edit; the id must not."""
    moved = [replace_site(operation, CallSite("shop.py", 99, "list_orders")) for operation in loop(8)]
    shuffled = random.Random(1).sample(moved, len(moved))
    elsewhere = [replace_site(operation, CallSite("shop.py", 88, "list_all")) for operation in loop(8)]
    assert judge(loop(8))[0].id == judge(moved)[0].id == judge(shuffled)[0].id != judge(elsewhere)[0].id


def replace_site(operation, site):
    """The operation, asked for elsewhere."""
    operation.call_site = site
    return operation


# -- Parameters ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([1] * 20, []),
        ([1, 2] * 10, []),
        ([1, 2], ["info"]),
        ([1, 2, 2, 1], []),
        ([1, 2, 3, 1, 2, 3], ["warning"]),
        ([None] * 9, ["warning"]),
        ([None] * 4, []),
        ([1, 2, 3, None, None], ["warning"]),
    ],
    ids=str,
)
def test_parameters_tell_an_n_plus_one_from_a_redundant_query(parameters, expected):
    """The same ones are another rule's; unknown ones count when their place is known, but not as different."""
    operations = [one(SELECT_CUSTOMER, at=number / 100, parameters=each) for number, each in enumerate(parameters)]
    assert severities(operations) == expected


def test_a_query_without_any_value_repeats_itself():
    """No placeholder, no literal: nothing can differ, even where parameters are unknown."""
    assert judge(loop(20, "SELECT name FROM customers", parameters=None)) == []


def test_unknown_parameters_need_a_known_place():
    """Without line and without parameters, nothing says that it is one loop."""
    assert judge(loop(20, parameters=None, call_site=None, foreign=True)) == []
    assert severities(loop(20, call_site=None, foreign=True)) == ["warning"]


def test_a_thread_without_a_line_of_the_application_is_left_alone():
    """A scheduler's own thread; where code locations are not recorded, no line is no evidence."""
    assert judge(loop(20, call_site=None)) == []
    assert severities(loop(20, call_site=None), code_location="off") == ["warning"]


def test_lazy_loads_are_different_by_nature():
    """The ORM keeps what it loaded: with parameters off, a lazy loop is as bad as before."""
    assert severities(loop(200, parameters=None, **LOADS_CUSTOMER)) == ["error"]


# -- Severity: the rows of the table ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("count", "duration", "window", "expected"),
    [
        (10, 0.010, 10.0, ["error"]),  # ≥ 100 ms
        (10, 0.002, 0.1, ["error"]),  # ≥ 20 % of the window
        (10, 0.002, 0.2, ["warning"]),
        (9, 0.020, 0.2, ["warning"]),
        (5, 0.003, 1.0, ["warning"]),
        (4, 0.003, 1.0, ["info"]),
        (4, 0.030, 1.0, ["warning"]),  # ≥ 3 and ≥ 100 ms
        (2, 0.060, 1.0, ["info"]),
        (1, 0.060, 1.0, []),
        (19, 0.000_01, 1.0, ["info"]),  # < 0.5 % of the window, < 25 ms, < 20
        (20, 0.000_01, 1.0, ["warning"]),
        (19, 0.001, 3.0, ["warning"]),
        (200, 0.000_003, 0.002, ["error"]),  # SQLite: no floor on time hides it
        (5, 0.000_003, 0.000_05, ["warning"]),
    ],
)
def test_severity_follows_the_table(count, duration, window, expected):
    """Number, time and share decide, as documented."""
    operations = loop(count, every=window / 1000, duration=duration)
    assert severities(operations, window) == expected


def test_repetitions_more_than_a_second_apart_are_information():
    """A loop that does something else for most of the time."""
    assert severities(loop(10, every=1.2, duration=0.05), 20.0) == ["info"]
    assert severities(loop(10, every=0.9, duration=0.05), 20.0) == ["error"]


def test_few_repetitions_from_several_lines_say_nothing():
    """Information needs one line; three lines that read the same table are a coincidence."""
    sites = [CallSite("shop.py", line, "show") for line in (10, 20, 30)]
    operations = [
        one(SELECT_CUSTOMER, at=number / 100, parameters=number, call_site=site, **LOADS_CUSTOMER)
        for number, site in enumerate(sites)
    ]
    assert judge(operations) == []


def test_a_database_in_process_is_never_too_fast_to_matter():
    """A primary-key SELECT takes 2 to 5 µs on SQLite, and its N+1 is one all the same."""
    assert severities(loop(19, duration=0.000_02), 0.01) == ["warning"]


def test_commands_of_redis_are_left_to_their_own_rule():
    """One fault is found once."""
    redis = Database("redis", "0")
    assert judge(loop(30, "GET price", database=redis)) == []


def test_the_threshold_moves_warning_and_error():
    """Information begins at two whatever the threshold."""
    assert severities(loop(19, duration=0.02), n_plus_one_threshold=20) == ["warning"]  # ≥ 3 and ≥ 100 ms
    assert severities(loop(19, duration=0.002), n_plus_one_threshold=20) == ["info"]
    assert severities(loop(20, duration=0.02), n_plus_one_threshold=20) == ["error"]
    assert severities(loop(2), n_plus_one_threshold=2) == ["warning"]


def test_a_few_values_asked_for_often_are_no_error():
    """An error needs ten different parameters."""
    operations = [one(SELECT_CUSTOMER, at=number / 100, duration=0.05, parameters=number % 4) for number in range(20)]
    assert severities(operations) == ["warning"]


# -- One finding for what belongs together -----------------------------------------------------------------------
def test_eager_loads_of_looped_parents_are_part_of_the_finding():
    """Each looked-up order brings its lines and its payments along: one finding, not three."""
    operations = []
    for number in range(20):
        at = 0.01 + number * 0.02
        operations.append(one("SELECT orders.id FROM orders WHERE orders.id = ?", at=at, parameters=number))
        for offset, name in ((0.005, "lines"), (0.01, "payments")):
            eager = {"relationship": f"Order.{name}", "load": "eager", "to_many": True, "parameters": number}
            text = f"SELECT {name}.id FROM {name} WHERE {name}.order_id IN (?)"
            operations.append(one(text, at=at + offset, **eager))
    (found,) = judge(operations)
    assert (found.count, found.relationship, found.details["followers"]) == (20, None, 40)
    assert found.details["duration"] == pytest.approx(0.06)
    assert found.description.endswith(" Each ran its eager loads again (Order.lines, Order.payments): 40 more queries.")


def test_eager_loads_alone_are_no_finding():
    """Selectinload of five thousand parents sends ten queries, and yield_per one for each batch."""
    text = "SELECT lines.id FROM lines WHERE lines.order_id IN (?)"
    assert judge(loop(10, text, relationship="Order.lines", load="eager", to_many=True)) == []


# -- Control ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("word", ["n_plus_one", "all"])
def test_what_was_allowed_is_left_out(word):
    """By a with block or decorator around the query, or by a comment in it."""
    assert judge(loop(20, allowed=frozenset({word}))) == []
    assert judge(loop(20, f"{SELECT_CUSTOMER} -- dbsight: allow {word}")) == []


def test_what_another_rule_was_allowed_is_found():
    """An exception is for the rule that it names."""
    assert severities(loop(6, allowed=frozenset({"slow_query"}))) == ["warning"]
    assert severities(loop(6, f"{SELECT_CUSTOMER} -- dbsight: allow slow_query")) == ["warning"]


def test_the_rest_of_a_loop_that_was_partly_allowed_is_judged():
    """What is allowed does not count, what is not does."""
    assert [found.count for found in judge([*loop(6), *loop(6, at=0.5, first=50, allowed=frozenset({"all"}))])] == [6]


# -- Bounds -------------------------------------------------------------------------------------------------------
def test_a_window_tells_at_most_fifty_findings():
    """The ones that save most time."""
    operations = list(
        itertools.chain.from_iterable(
            loop(2, f"SELECT c{number} FROM t WHERE id = ?", at=number / 10, duration=0.001 * (number + 1))
            for number in range(60)
        )
    )
    found = judge(operations, 10.0)
    assert len(found) == 50
    assert min(each.impact for each in found) > 0.001 * 10 * 0.5


def test_a_window_is_judged_without_being_changed():
    """Other rules look at it as well."""
    window = make_window([ORDERS, *loop(20, **LOADS_CUSTOMER)])
    before = list(window.operations)
    rule = NPlusOne(Settings())
    first, second = list(rule.complete(window)), list(rule.complete(window))
    assert first == second
    assert window.operations == before
    assert replace(first[0]) == first[0]


def test_an_empty_window_is_clean():
    """No operation, no finding."""
    assert judge([]) == []
