"""The bus: who listens hears everything, once, and nobody's fault is anybody else's."""

import sys
import threading

import pytest

from builders import make_operation, make_span_context
from dbsight import bus, safety
from dbsight.model import Statement, Verdict


def operation():
    """Any operation; the bus looks at none."""
    return make_operation(Statement("sqlite", "SELECT 1", "SELECT", "00f1"))


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch):
    """Every test has a bus of its own."""
    monkeypatch.setattr("dbsight.bus.listeners", ())
    monkeypatch.setattr("dbsight.bus._root_listeners", ())


class Listener:
    """Remembers what it heard and says what it was told to say."""

    def __init__(self, verdict=None, error=None):
        self.heard = []
        self.verdict = verdict
        self.error = error

    def listen(self, observation):
        """What is subscribed: a bound method, made anew at each access."""
        self.heard.append(observation)
        if self.error is not None:
            raise self.error
        return self.verdict


def test_an_observation_without_a_listener_has_no_verdict():
    """The state before start and after ``uninstrument()``."""
    assert bus.observe(operation()) is None
    assert not bus.listening()


def test_every_listener_hears_every_observation_in_order():
    """The same objects, not copies."""
    first, second = Listener(), Listener()
    bus.subscribe(first.listen)
    bus.subscribe(second.listen)
    operations = [operation(), operation()]
    assert [bus.observe(operation) for operation in operations] == [None, None]
    assert first.heard == second.heard == operations
    assert bus.listening()


def test_the_verdict_is_that_of_the_first_listener_that_has_one():
    """The others hear it all the same."""
    silent, first, second = Listener(), Listener(Verdict("slow", 1.0)), Listener(Verdict("very_slow", 5.0))
    for listener in (silent, first, second):
        bus.subscribe(listener.listen)
    assert bus.observe(operation()) is first.verdict
    assert [len(listener.heard) for listener in (silent, first, second)] == [1, 1, 1]


def test_subscribing_twice_is_once_and_unsubscribing_a_stranger_is_nothing():
    """Also for a bound method, which is another object each time."""
    listener = Listener()
    bus.subscribe(listener.listen)
    bus.subscribe(listener.listen)
    bus.unsubscribe(Listener().listen)
    bus.observe(operation())
    assert len(listener.heard) == 1
    bus.unsubscribe(listener.listen)
    bus.observe(operation())
    assert len(listener.heard) == 1
    assert not bus.listening()


@pytest.mark.swallows_errors
def test_a_listener_that_raises_is_counted_and_the_next_one_heard():
    """Nothing reaches the instrumentor, and so nothing the application."""
    broken, sound = Listener(error=ValueError("jane@example.org")), Listener(Verdict("slow", 1.0))
    bus.subscribe(broken.listen)
    bus.subscribe(sound.listen)
    assert bus.observe(operation()) is sound.verdict
    assert safety.errors() == {"bus.observe": 1}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_is_let_through(kind):
    """The user's Ctrl-C may well arrive in our code."""
    bus.subscribe(Listener(error=kind()).listen)
    with pytest.raises(kind):
        bus.observe(operation())


def test_a_listener_may_unsubscribe_while_it_is_called():
    """The round that has begun goes to its end."""
    last = Listener()

    def once(_observation):
        bus.unsubscribe(once)
        bus.unsubscribe(last.listen)

    bus.subscribe(once)
    bus.subscribe(last.listen)
    bus.observe(operation())
    bus.observe(operation())
    assert len(last.heard) == 1


def test_threads_that_subscribe_at_the_same_time_are_all_subscribed():
    """No listener is lost between reading the list and writing it."""
    listeners = [Listener() for _ in range(200)]
    together = threading.Barrier(8, timeout=60)

    def subscribe(mine):
        together.wait()
        for listener in mine:
            bus.subscribe(listener.listen)

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
    bus.observe(operation())
    assert [len(listener.heard) for listener in listeners] == [1] * 200


@pytest.mark.swallows_errors
def test_who_asked_hears_of_every_root_that_is_about_to_end_until_he_asks_no_more():
    """One that raises does not keep it from the next."""
    heard = []

    def broken(_context):
        raise ValueError

    bus.on_root_ending(broken)
    bus.on_root_ending(heard.append)
    bus.on_root_ending(heard.append)
    root = make_span_context()
    bus.root_ending(root)
    assert heard == [root]
    assert safety.errors() == {"bus.root_ending": 1}
    bus.off_root_ending(heard.append)
    bus.off_root_ending(print)
    bus.root_ending(root)
    assert heard == [root]


def test_observations_and_endings_have_listeners_of_their_own():
    """Who listens to one does not hear the other."""
    heard = []
    bus.on_root_ending(heard.append)
    bus.observe(operation())
    assert not bus.listening()
    assert heard == []


def test_operations_that_are_told_together_are_heard_by_all():
    """At once by whoever can, else one by one; what is said of each is what its first listener says."""
    one_by_one, at_once = Listener(), Listener()
    slow = Verdict("slow", 1.0)
    groups = []

    def together(operations):
        groups.append(list(operations))
        return [None, slow]

    bus.subscribe(one_by_one.listen)
    bus.subscribe(at_once.listen, together)
    operations = [operation(), operation()]
    assert list(bus.observe_all(operations)) == [None, slow]
    assert (one_by_one.heard, at_once.heard, groups) == (operations, [], [operations])
    bus.unsubscribe(at_once.listen)
    assert bus.observe_all(operations) == [None, None]
    assert bus._to_many == {}


def test_the_first_verdict_counts_of_those_that_are_told_together_too():
    """Of two listeners that both have one."""
    first, second = Verdict("slow", 1.0), Verdict("very_slow", 5.0)
    bus.subscribe(Listener().listen, lambda operations: [first, None])
    bus.subscribe(Listener().listen, lambda operations: [second, second])
    bus.subscribe(Listener().listen, lambda operations: ())
    assert list(bus.observe_all([operation(), operation()])) == [first, second]


@pytest.mark.swallows_errors
def test_a_listener_that_fails_with_many_does_not_silence_the_others():
    """It is counted, and the others are heard."""
    bus.subscribe(Listener(error=ValueError()).listen)
    bus.subscribe(Listener(Verdict("slow", 1.0)).listen)
    (verdict,) = bus.observe_all([operation()])
    assert verdict.query_class == "slow"
    assert safety.errors() == {"bus.observe_all": 1}
