"""The guard: nothing of ours reaches the application, and nothing of the application's reaches a log."""

import logging
import os
import re
import sys
import threading

import pytest

from dbsight import safety
from dbsight.safety import dropped, drops, errors, failed, guard
from forking import held_elsewhere, in_child

SECRET = "jane@example.org"

pytestmark = pytest.mark.swallows_errors


@guard
def hook(error=None, result="done"):
    """A hook that does as it is told."""
    if error is not None:
        raise error
    return result


PLACE = f"{__name__}.hook"


def messages(caplog):
    """What was logged."""
    return [record.getMessage() for record in caplog.records if record.name == "dbsight"]


def test_a_guarded_hook_returns_what_it_returns_and_takes_what_it_takes():
    """Where nothing fails the guard is not there."""
    assert hook(result=SECRET) == SECRET
    assert (hook.__name__, hook.__doc__) == ("hook", "A hook that does as it is told.")
    assert errors() == {}


def test_a_hook_that_raises_returns_none_and_is_counted_each_time_and_logged_once(caplog):
    """An application that fails a thousand times a second does not fill its log with us."""
    assert [hook(ValueError(SECRET)) for _ in range(5)] == [None] * 5
    assert errors() == {PLACE: 5}
    (message,) = messages(caplog)
    said = re.sub(r":\d+ ", ":N ", message)
    assert said == (
        f"dbsight: internal error in {PLACE}, skipped: ValueError at test_safety.py:N hook < safety.py:N guarded"
    )


def test_each_place_is_logged_for_itself(caplog):
    """A second fault is not hidden by the first."""

    @guard
    def other():
        raise KeyError(SECRET)

    hook(ValueError())
    other()
    other()
    assert list(errors().values()) == [1, 2]
    assert [message.split(": ")[2].split(" at ")[0] for message in messages(caplog)] == ["ValueError", "KeyError"]


def test_a_message_names_the_class_and_three_frames_and_never_the_text_of_the_exception(caplog):
    """Driver errors quote values."""

    class DriverError(Exception):
        """As drivers raise them."""

        def __repr__(self):
            return SECRET

        __str__ = __repr__

    def innermost():
        raise DriverError(SECRET) from ValueError(SECRET)

    @guard
    def calls():
        innermost()

    calls()
    (record,) = caplog.records
    assert SECRET not in caplog.text
    assert (record.exc_info, record.exc_text, record.stack_info) == (None, None, None)
    assert "DriverError at test_safety.py:" in record.getMessage()
    assert [frame.split()[-1] for frame in record.getMessage().split(" < ")] == ["innermost", "calls", "guarded"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_let_through(kind):
    """Who wants to stop the process is not held up; asyncio's CancelledError is of this kind."""
    with pytest.raises(kind):
        hook(kind())
    assert errors() == {}


def test_a_log_filter_of_the_application_that_raises_does_not_reach_the_application():
    """``Logger.handle`` does not guard filters."""

    def explode(_record):
        raise RuntimeError(SECRET)

    logger = logging.getLogger("dbsight")
    logger.addFilter(explode)
    try:
        assert hook(ValueError()) is None
    finally:
        logger.removeFilter(explode)
    assert (errors(), drops()) == ({PLACE: 1}, {"warnings": 1})


@pytest.mark.parametrize("left", range(12, 40))
def test_a_hook_that_fails_for_want_of_stack_does_not_end_the_application(left):
    """However few frames are left to it: an application that would just get by without us gets by with us."""

    def recurse(depth):
        return recurse(depth - 1) if depth else 0

    @guard
    def deep():
        recurse(50)

    def application(depth):
        return application(depth - 1) if depth else deep()

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(used + 100)
    try:
        assert application(100 - left) is None
    finally:
        sys.setrecursionlimit(limit)
    assert errors() or drops()


def test_failures_of_many_threads_are_counted_exactly_and_logged_once(caplog):
    """No count is lost between reading and writing it."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    together = threading.Barrier(8, timeout=60)

    def fail():
        together.wait()
        for _ in range(500):
            hook(ValueError())
            dropped("operations", 2)

    threads = [threading.Thread(target=fail) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert (errors(), drops()) == ({PLACE: 4000}, {"operations": 8000})
    assert len(messages(caplog)) == 1


def test_places_are_bounded_and_what_comes_after_is_counted_together(monkeypatch, caplog):
    """And logged once, not each time."""
    monkeypatch.setattr("dbsight.safety._MAX_PLACES", 2)
    try:
        raise ValueError  # noqa: TRY301 - there must be one to be handled
    except ValueError:
        for place in ["a", "b", "c", "d", "a", "c"]:
            failed(place)
    assert errors() == {"a": 2, "b": 1, "other": 3}
    assert len(messages(caplog)) == 3


def test_what_is_handed_out_is_a_copy():
    """A report that sorts it changes nothing."""
    dropped("windows")
    drops().clear()
    errors()["x"] = 1
    assert (drops(), errors()) == ({"windows": 1}, {})


def test_reset_forgets_everything(caplog):
    """A place that fails again afterwards is logged again."""
    hook(ValueError())
    dropped("windows", 3)
    safety.reset()
    assert (errors(), drops()) == ({}, {})
    hook(ValueError())
    assert len(messages(caplog)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_from_nothing_even_while_the_parent_is_counting():
    """Neither the parent's counts nor a lock that one of its threads holds."""
    hook(ValueError())
    dropped("windows")

    def work():
        clean = (errors(), drops())
        dropped("windows")
        return clean, drops()

    with held_elsewhere(safety._lock):
        assert in_child(work) == (({}, {}), {"windows": 1})
    assert (errors(), drops()) == ({PLACE: 1}, {"windows": 1})
