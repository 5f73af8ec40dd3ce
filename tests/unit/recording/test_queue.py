"""A window: what it remembers, and what is left with it to be told with others."""

import threading
from contextvars import ContextVar
from typing import ClassVar

from builders import NOW_NS, make_operation
from dbsight import recording, scope
from dbsight.instrument import caches
from dbsight.recording import OpenWindow


class Over:
    """What is over and was not told yet."""

    told: ClassVar = []

    @staticmethod
    def flush_all(records):
        """Remember what was told together, and in which window."""
        Over.told.append((list(records), scope.window.get()))


def a_window():
    """An open one; nothing was told yet."""
    Over.told = []
    return OpenWindow("GET /", 1, 2, NOW_NS)


def test_what_is_left_is_told_by_the_fifty():
    """Together, in its order, with the window current as if it were still running."""
    window = a_window()
    left = [Over() for _ in range(120)]
    assert all(window.append(each) for each in left)
    assert Over.told == [(left[:50], window), (left[50:100], window)]
    window.drain()
    assert Over.told[2:] == [(left[100:], window)]
    assert scope.window.get() is None
    window.drain()
    assert len(Over.told) == 3


def test_a_sealed_window_keeps_nothing():
    """Whoever comes after the end tells by himself."""
    window = a_window()
    window.append(Over())
    window.sealed = True
    assert not window.append(Over())
    window.drain()
    assert [len(together) for together, _ in Over.told] == [1]


def test_the_end_waits_for_what_another_thread_is_telling():
    """It would be judged without it."""
    telling, go_on = threading.Event(), threading.Event()
    ends = []

    class Slow:
        @staticmethod
        def flush_all(records):
            telling.set()
            assert go_on.wait(60)
            ends.append(len(records))

    window = a_window()
    window.append(Slow())
    other = threading.Thread(target=window.drain)
    other.start()
    assert telling.wait(60)
    end = threading.Thread(target=lambda: (window.drain(), ends.append("judged")))
    end.start()
    end.join(0.05)
    assert ends == []
    go_on.set()
    for thread in (other, end):
        thread.join(60)
    assert ends == [1, "judged"]


def test_nothing_is_lost_or_told_twice_while_threads_keep_tell_and_seal():
    """Whatever the interleaving, each is told once or refused."""
    for _ in range(30):
        window = a_window()
        refused = []

        def work(window=window, refused=refused):
            for _ in range(300):
                each = Over()
                if not window.append(each):
                    refused.append(each)

        def end(window=window):
            for _ in range(20):
                window.drain()
            window.sealed = True
            window.drain()

        threads = [threading.Thread(target=target) for target in (work, work, work, end)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        told = [each for together, _ in Over.told for each in together]
        assert len({id(each) for each in told + refused}) == len(told) + len(refused) == 900


def test_rules_get_operations_in_the_order_of_their_ends():
    """Also where some were told after others that ended later."""
    window = a_window()
    window.append(Over())
    operations = [make_operation(end_ns=NOW_NS + number) for number in range(6)]
    for each in operations[3:]:
        window.add([each])
    assert window.add(operations[:3]) == 6
    assert (window.calls, window.last_ns) == (6, NOW_NS + 5)
    assert window.take(NOW_NS + 10).operations == operations


def test_a_cache_counter_waits_in_the_queue_once_and_keeps_counting():
    """However many lookups come before the drain, one event tells of all of them; none is lost afterwards."""
    events = []

    class Heard(recording.Consumer):
        def observe(self, observation):
            events.append((observation.cache, observation.hits, observation.stores))

    heard, counter = Heard(), caches.Counter("waiting")
    recording.loose.drain()
    recording.subscribe(heard)
    try:
        for _ in range(120):
            counter.hit()
        counter.stored(2)
        assert events == []
        recording.loose.drain()
        assert events == [("waiting", 120, 2)]
        counter.hit()
        recording.loose.drain()
        assert events[1:] == [("waiting", 1, 0)]
    finally:
        recording.unsubscribe(heard)


def test_a_record_without_anybody_who_listens_is_not_kept():
    """A counter then keeps its counts for whoever comes later."""
    counter = caches.Counter("unheard")
    assert not recording.record(counter, recording.loose)


def test_a_drain_sets_no_variable_of_the_context_that_it_interrupts():
    """A finalizer may drain while its thread sets another one: up to Python 3.11 the interpreter crashes there."""
    window = a_window()
    variable = ContextVar("variable", default=None)

    class Setting(Over):
        @staticmethod
        def flush_all(records):
            variable.set(scope.window.get())
            Over.told.append((list(records), variable.get()))

    left = Setting()
    window.append(left)
    window.drain()
    assert Over.told == [([left], window)]
    assert variable.get() is None
