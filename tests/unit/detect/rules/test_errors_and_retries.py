"""The rules retry_storm and error_burst: codes and names as drivers raise them."""

import pytest

from dbsight.config import Settings
from dbsight.detect.errors import error_class
from dbsight.detect.rules.error_burst import ErrorBurst
from dbsight.detect.rules.retry_storm import RetryStorm
from unit.detect.loops import make_window, one

UPDATE = "UPDATE stock SET pieces = ? WHERE id = ?"


def failing(count, text=UPDATE, *, every=0.004, pauses=None, error="OperationalError", code=None, **fields):
    """The same query again and again, each time failing."""
    starts, at = [], 0.0
    for number in range(count):
        starts.append(at)
        at += (pauses[number] if pauses and number < len(pauses) else every) + 0.003
    options = {"duration": 0.003, "parameters": 7, "error_type": f"driver.{error}", "error_code": code, **fields}
    return [one(text, at=start, **options) for start in starts]


def judge(rule, operations):
    """What a rule finds."""
    return list(rule(Settings()).complete(make_window(operations)))


@pytest.mark.parametrize(
    "operations",
    [
        failing(12),
        failing(5, error="IntegrityError", code="23505"),
        failing(8, code="40P01"),
        failing(6, every=0.5),
        failing(9, pauses=[0.1] * 8),
        failing(7, text="SELECT id FROM stock WHERE id = ? FOR UPDATE NOWAIT", code="55P03"),
    ],
    ids=["locked", "constraint", "deadlock", "half a second apart", "fixed pauses", "nowait"],
)
def test_detects_attempts_without_backoff(operations):
    """With the same parameters, from five on."""
    (found,) = judge(RetryStorm, operations)
    assert (found.severity, found.count) == ("warning", len(operations))
    assert found.impact == pytest.approx(0.003 * (len(operations) - 1))


@pytest.mark.parametrize(
    "operations",
    [
        failing(4),
        [each for number in range(9) for each in failing(1, parameters=number)],
        failing(6, pauses=[0.05, 0.1, 0.2, 0.4, 0.8]),
        failing(8, every=1.5),
        failing(9, allowed=frozenset({"retry_storm"})),
        failing(9, parameters=None),
        [one(UPDATE, at=number * 0.01, parameters=7) for number in range(9)],
    ],
    ids=["few", "rows that are there", "backoff", "a second and more", "allowed", "unknown parameters", "successes"],
)
def test_leaves_alone_what_backs_off_or_is_no_retry(operations):
    """Whatever the error is."""
    assert judge(RetryStorm, operations) == []


def test_what_does_not_pass_is_not_to_be_retried():
    """The advice follows from the class of the error; twenty attempts are an error."""
    (constraint,) = judge(RetryStorm, failing(20, error="IntegrityError", code="23505"))
    (deadlock,) = judge(RetryStorm, failing(6, code="40P01"))
    assert (constraint.severity, constraint.suggestion.partition(":")[0]) == ("error", "do not retry")
    assert deadlock.suggestion.startswith("time.sleep(")


def test_the_suggested_pauses_are_no_storm():
    """Those of the formula, in the middle of their jitter."""
    assert judge(RetryStorm, failing(6, pauses=[min(5, 0.05 * 2**attempt) for attempt in range(5)])) == []


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        ("40P01", "DeadlockDetected", "deadlock"),
        ("1213", "OperationalError", "deadlock"),
        ("40001", "SerializationFailure", "serialization failure"),
        ("55P03", "LockNotAvailable", "lock timeout"),
        ("1205", "OperationalError", "lock timeout"),
        ("SQLITE_BUSY", "OperationalError", "lock timeout"),
        ("57014", "QueryCanceled", "statement timeout"),
        ("2013", "OperationalError", "lost connection"),
        (None, "ConnectionDoesNotExistError", "lost connection"),
        (None, "TimeoutError", "timeout"),
        ("23505", "UniqueViolation", None),
        ("42601", "SyntaxError", None),
        ("42P01", "UndefinedTable", None),
        (None, "DataError", None),
    ],
)
def test_errors_have_a_class_by_their_code_or_their_name(code, name, expected):
    """Those that do not pass by themselves have none."""
    (operation,) = failing(1, error=name, code=code)
    assert error_class(operation) == expected
    assert error_class(one(UPDATE)) is None


@pytest.mark.parametrize("code", ["40P01", "40001", "55P03", "57014", "08006", "1213", "SQLITE_BUSY"])
def test_detects_several_errors_of_one_class(code):
    """Of several queries; with their number, and what to do."""
    operations = [*failing(2, code=code), *failing(2, text="DELETE FROM stock WHERE id = ?", code=code)]
    (found,) = judge(ErrorBurst, operations)
    assert (found.severity, found.count) == ("warning", 4)
    assert "UPDATE stock (2), DELETE stock (2)" in found.description
    assert found.suggestion


@pytest.mark.parametrize(
    "operations",
    [
        failing(2, code="40P01"),
        failing(9, error="IntegrityError", code="23505"),
        failing(9, error="ProgrammingError", code="42601"),
        [*failing(2, code="40P01"), *failing(2, code="55P03")],
        failing(9, code="40P01", allowed=frozenset({"all"})),
        [one(UPDATE, at=number * 0.01) for number in range(9)],
    ],
    ids=["few", "constraint", "syntax", "two kinds", "allowed", "successes"],
)
def test_leaves_alone_single_errors_and_those_that_do_not_pass(operations):
    """They are told by the error rate."""
    assert judge(ErrorBurst, operations) == []


def test_ten_errors_of_one_class_are_an_error():
    """Of severity."""
    (found,) = judge(ErrorBurst, failing(10, code="40P01"))
    assert found.severity == "error"
