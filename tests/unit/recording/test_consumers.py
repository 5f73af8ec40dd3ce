"""Consumers: each gets everything once, and one that fails does not silence the others."""

import sys
import threading

import pytest

from builders import make_operation, make_span_context
from dbsight import recording, safety, scope
from dbsight.model import Statement, Verdict


def operation():
    """Any operation; consumers are handed it as it is."""
    return make_operation(Statement("sqlite", "SELECT 1", "SELECT", "00f1"))


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch):
    """Every test has consumers of its own."""
    monkeypatch.setattr("dbsight.recording.consumers._consumers", ())
    monkeypatch.setattr("dbsight.recording.consumers.awake", False)
    monkeypatch.setattr("dbsight.recording.consumers._open_calls", ())


class Listener(recording.Consumer):
    """Remembers what it heard and says what it was told to say."""

    def __init__(self, verdict=None, error=None):
        self.heard = []
        self.verdict = verdict
        self.error = error

    def observe(self, observation):
        """Remember it, and say what was asked for."""
        self.heard.append(observation)
        if self.error is not None:
            raise self.error
        return self.verdict


def test_an_observation_without_a_listener_has_no_verdict():
    """The state before start and after ``uninstrument()``."""
    assert recording.publish(operation()) is None
    assert not recording.listening()


def test_every_listener_hears_every_observation_in_order():
    """The same objects, not copies."""
    first, second = Listener(), Listener()
    recording.subscribe(first)
    recording.subscribe(second)
    operations = [operation(), operation()]
    assert [recording.publish(operation) for operation in operations] == [None, None]
    assert first.heard == second.heard == operations
    assert recording.listening()


class Passive(Listener):
    """Has no use for what nobody else consumes."""

    passive = True


def test_for_passive_listeners_alone_nothing_but_queries_of_profiles_is_recorded():
    """As in a suite whose tests are watched: their fixtures need not be recorded, nor pools, locks and caches."""
    queue, listener, passive = recording.Queue(), Listener(), Passive()
    recording.subscribe(passive)
    assert not recording.listening()
    profile = object()
    scope.profile(profile, everywhere=True)
    try:
        assert recording.listening()
        assert not recording.record("an event", queue)
    finally:
        scope.stop_profiling(profile)
    recording.subscribe(listener)
    assert recording.listening()
    assert recording.record("an event", queue)
    recording.unsubscribe(listener)
    assert not recording.listening()
    queue.drain()
    assert passive.heard == ["an event"]


def test_the_verdict_is_that_of_the_first_listener_that_has_one():
    """The others hear it all the same."""
    silent, first, second = Listener(), Listener(Verdict("slow", 1.0)), Listener(Verdict("very_slow", 5.0))
    for listener in (silent, first, second):
        recording.subscribe(listener)
    assert recording.publish(operation()) is first.verdict
    assert [len(listener.heard) for listener in (silent, first, second)] == [1, 1, 1]


def test_subscribing_twice_is_once_and_unsubscribing_a_stranger_is_nothing():
    """The same object, whatever it is equal to."""
    listener = Listener()
    recording.subscribe(listener)
    recording.subscribe(listener)
    recording.unsubscribe(Listener())
    recording.publish(operation())
    assert len(listener.heard) == 1
    recording.unsubscribe(listener)
    recording.publish(operation())
    assert len(listener.heard) == 1
    assert not recording.listening()


@pytest.mark.swallows_errors
def test_a_listener_that_raises_is_counted_and_the_next_one_heard():
    """Nothing reaches the instrumentor, and so nothing the application."""
    broken, sound = Listener(error=ValueError("jane@example.org")), Listener(Verdict("slow", 1.0))
    recording.subscribe(broken)
    recording.subscribe(sound)
    assert recording.publish(operation()) is sound.verdict
    assert safety.errors() == {"recording.publish": 1}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_is_let_through(kind):
    """The user's Ctrl-C may well arrive in our code."""
    recording.subscribe(Listener(error=kind()))
    with pytest.raises(kind):
        recording.publish(operation())


def test_a_listener_may_unsubscribe_while_it_is_called():
    """The round that has begun goes to its end."""
    last = Listener()

    class Once(recording.Consumer):
        def observe(self, observation):
            recording.unsubscribe(self)
            recording.unsubscribe(last)

    once = Once()
    recording.subscribe(once)
    recording.subscribe(last)
    recording.publish(operation())
    recording.publish(operation())
    assert len(last.heard) == 1


def test_threads_that_subscribe_at_the_same_time_are_all_subscribed():
    """No listener is lost between reading the list and writing it."""
    listeners = [Listener() for _ in range(200)]
    together = threading.Barrier(8, timeout=60)

    def subscribe(mine):
        together.wait()
        for listener in mine:
            recording.subscribe(listener)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=subscribe, args=(listeners[start::8],)) for start in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    recording.publish(operation())
    assert [len(listener.heard) for listener in listeners] == [1] * 200


class OpenCall:
    """A call with a result that is not read to its end."""

    def __init__(self, parent, finish):
        self.parent = parent
        self.finish = finish


@pytest.mark.swallows_errors
def test_what_is_open_is_finished_with_the_root_of_its_trace_as_long_as_it_is_followed():
    """One that raises does not keep the others from it."""
    finished = []
    root, other = make_span_context(1), make_span_context(1, trace_id=9)

    def broken():
        raise ValueError

    first = {
        1: OpenCall(root, broken),
        2: OpenCall(root, lambda: finished.append(2)),
        3: OpenCall(other, lambda: finished.append(3)),
        4: OpenCall(None, lambda: finished.append(4)),
    }
    second = {1: OpenCall(make_span_context(7), lambda: finished.append("second"))}
    for calls in (first, second, first):
        recording.finish_with_roots(calls)
    try:
        recording.root_ending(root)
        assert (finished, safety.errors()) == ([2, "second"], {"recording.root_ending": 1})
        recording.leave_at_roots(second)
        recording.leave_at_roots({})
        recording.root_ending(other)
        assert finished == [2, "second", 3]
        del first[1]
        recording.root_ending(None)
        assert finished == [2, "second", 3, 2, 3, 4]
    finally:
        recording.leave_at_roots(first)


class Together(recording.Consumer):
    """Takes operations that were drained together at once, and says what it was told to say."""

    def __init__(self, verdicts):
        self.groups = []
        self.verdicts = verdicts

    def observe_all(self, operations):
        """Remember them."""
        self.groups.append(list(operations))
        return self.verdicts


def test_operations_that_are_drained_together_reach_all_consumers():
    """At once, or one by one; what is said of each is what the first consumer says."""
    slow = Verdict("slow", 1.0)
    one_by_one, at_once = Listener(), Together([None, slow])
    recording.subscribe(one_by_one)
    recording.subscribe(at_once)
    operations = [operation(), operation()]
    assert list(recording.publish_all(operations)) == [None, slow]
    assert (one_by_one.heard, at_once.groups) == (operations, [operations])
    recording.unsubscribe(at_once)
    assert recording.publish_all(operations) == [None, None]


def test_the_first_verdict_counts_of_those_that_are_drained_together_too():
    """Of two consumers that both have one."""
    first, second = Verdict("slow", 1.0), Verdict("very_slow", 5.0)
    for verdicts in ([first, None], [second, second], ()):
        recording.subscribe(Together(verdicts))
    assert list(recording.publish_all([operation(), operation()])) == [first, second]


@pytest.mark.swallows_errors
def test_a_listener_that_fails_with_many_does_not_silence_the_others():
    """It is counted, and the others are heard."""
    recording.subscribe(Listener(error=ValueError()))
    recording.subscribe(Listener(Verdict("slow", 1.0)))
    (verdict,) = recording.publish_all([operation()])
    assert verdict.query_class == "slow"
    assert safety.errors() == {"recording.publish_all": 1}
