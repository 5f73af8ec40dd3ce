"""Methods of records and regular expressions that are made when they are first used."""

import copy
import dataclasses
import inspect
import os
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier, Event

import pytest

from dbsight.model import Finding
from dbsight.model.deferred import computed, pattern, record
from forking import in_child


@record(frozen=True)
class Point:
    """A record of the tests, at the top of the module so that it can be pickled."""

    x: int
    y: int = 0
    notes: list = field(default_factory=list, repr=False, compare=False)


@pytest.fixture
def classes():
    """The same class as a record and as a data class, neither used yet."""

    def make(decorate):
        class Place:
            """Somewhere."""

            name: str
            tags: tuple = field(default=(), repr=False)
            seen: list = field(default_factory=list, compare=False)

            def __repr__(self):
                return f"<{self.name}>"

        return decorate(Place)

    return make


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"kw_only": True}, {"frozen": True, "kw_only": True}])
def test_a_record_is_the_data_class_that_it_stands_for(classes, options):
    """Fields, defaults, signature, equality, hash and a method of its own."""
    ours, theirs = classes(record(**options)), classes(dataclass(slots=True, **options))

    def told(cls):
        one, other = cls(name="a"), cls(name="a", seen=[1])
        return (
            [(each.name, each.default, each.kw_only) for each in dataclasses.fields(cls)],
            str(inspect.signature(cls)),
            repr(one),
            one == other,
            one == cls(name="b"),
            one == object(),
            cls.__hash__ and hash(one) == hash(other),
            cls.__match_args__,
            cls.__slots__,
            cls.__doc__,
            dataclasses.asdict(dataclasses.replace(one, tags=("t",))),
            one.seen is not cls(name="a").seen,
        )

    assert told(ours) == told(theirs)
    for cls in (ours, theirs):
        with pytest.raises(TypeError, match="name"):
            cls()


def test_each_method_is_compiled_at_its_first_use_and_stays():
    """A process that makes no finding compiles nothing for it."""

    @record()
    class Fresh:
        """Not used yet."""

        x: int

    assert not inspect.isfunction(vars(Fresh)["__init__"])
    assert Fresh(1).x == 1
    assert inspect.isfunction(vars(Fresh)["__init__"])
    assert not inspect.isfunction(vars(Fresh)["__eq__"])
    assert (Fresh(1) == Fresh(1), repr(Fresh(1))) == (True, f"{Fresh.__qualname__}(x=1)")


def test_a_frozen_record_stays_what_it_is_and_can_be_copied_and_pickled():
    """As of a frozen data class: nothing is set or deleted, and the error is the same."""
    point = Point(1, notes=["a"])
    for change in (lambda: setattr(point, "x", 2), lambda: delattr(point, "x"), lambda: setattr(point, "z", 2)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    copied = copy.deepcopy(point)
    assert (copied, copied.notes, copied.notes is point.notes) == (point, ["a"], False)
    assert pickle.loads(pickle.dumps(point)) == copy.copy(point) == point


def test_a_record_inherits_fields_and_passes_its_methods_on():
    """Those of the base first, as in a data class; a plain subclass has the methods of its base."""

    @record(frozen=True)
    class Named(Point):
        """With a name."""

        name: str = ""

    class Special(Named):
        """No record itself."""

        def __init__(self, name):
            super().__init__(1, 2, name=name)

    assert Special("a").y == 2
    assert repr(Named(1, name="a")).endswith("Named(x=1, y=0, name='a')")
    assert (Named(1), Named(1) == Point(1)) == (Named(1), False)


def test_threads_that_are_first_at_once_all_succeed():
    """Each finds the method, whoever compiled it."""

    @record(frozen=True)
    class Fresh:
        """Not used yet."""

        x: int

    barrier = Barrier(8)

    def use(number):
        barrier.wait()
        return hash(Fresh(number)) == hash(Fresh(number))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))


def test_the_records_of_the_model_are_data_classes():
    """What shows, compares or writes them needs no knowledge of the difference."""
    assert dataclasses.is_dataclass(Finding)
    assert "rule" in inspect.signature(Finding).parameters


def test_a_pattern_is_compiled_at_its_first_use(monkeypatch):
    """And once: what was asked for is kept."""
    compiled = []
    compile_ = re.compile
    monkeypatch.setattr(re, "compile", lambda *given: compiled.append(given) or compile_(*given))
    words = pattern(r"[a-z]+", re.IGNORECASE)
    assert compiled == []
    assert words.findall("Ab 1 c") == ["Ab", "c"]
    assert words.findall("d") == ["d"]
    assert compiled == [(r"[a-z]+", re.IGNORECASE)]
    assert (words.pattern, words.sub("x", "ab 1"), words.fullmatch("1")) == ("[a-z]+", "x 1", None)
    assert copy.copy(words).findall("e f") == ["e", "f"]


class Sum:
    """Adds up when it is asked, and waits meanwhile where a test wants it to."""

    def __init__(self, wait=None):
        self.asked = 0
        self._wait = wait

    @computed
    def total(self):
        """Of nothing."""
        self.asked += 1
        if self._wait is not None:
            self._wait()
        return 42


def test_a_computed_value_is_computed_once_and_kept_with_its_object():
    """The class has the docstring; another object computes its own."""
    one, other = Sum(), Sum()
    assert (one.total, one.total, one.asked, other.asked) == (42, 42, 1, 0)
    assert Sum.total.__doc__ == "Of nothing."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_computes_what_a_thread_of_its_parent_was_computing_at_the_fork():
    """``functools.cached_property`` holds a lock for the whole class before Python 3.12: the child would hang."""
    begun, go = Event(), Event()

    def wait():
        begun.set()
        go.wait(30)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: Sum(wait).total)
        assert begun.wait(30)
        try:
            assert in_child(lambda: Sum().total) == 42
        finally:
            go.set()
        assert waiting.result() == 42
