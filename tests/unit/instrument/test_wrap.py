"""What takes the place of a library's function looks the same, does the same, and can be taken out again."""

import asyncio
import copy
import functools
import inspect
import pickle
from contextvars import ContextVar

import pytest

from dbsight import safety
from dbsight.instrument import wrap


class Library:
    """A class as libraries have them."""

    def positional(self, first, /, second, third=3, *rest, named, other=5, **more):
        """Every kind of parameter."""
        return first, second, third, rest, named, other, more

    def plain(self, value: int = 1) -> int:
        """One with a default."""
        if isinstance(value, BaseException):
            raise value
        return value

    async def awaited(self, value=1):
        """A coroutine function."""
        await asyncio.sleep(0)
        if isinstance(value, BaseException):
            raise value
        return value

    @classmethod
    def of_class(cls, value):
        """A class method."""
        return cls, value

    @staticmethod
    def of_nobody(value):
        """A static method."""
        return value

    @property
    def size(self):
        """A property."""
        return 7


def _decorator(function):
    @functools.wraps(function)
    def decorated(*args, **kwargs):
        return function(*args, **kwargs)

    return decorated


class Decorated:
    """A class whose methods are hidden behind a decorator that takes anything."""

    @_decorator
    def take(self, name, value=2, *rest, **more):
        """Plain."""
        return name, value, rest, more

    @_decorator
    async def fetch(self, name):
        """A coroutine function behind a plain one."""
        return name


class Call:
    """What ``begin`` returns: notes what becomes of the call."""

    def __init__(self, seen):
        self.seen = seen

    def returned(self, result):
        """It gave a result."""
        self.seen.append(("returned", result))

    def raised(self, error):
        """It raised."""
        self.seen.append(("raised", error))


class Failing:
    """The same, but each of its methods fails."""

    def returned(self, _):
        """It gave a result."""
        raise LookupError

    def raised(self, _):
        """It raised."""
        raise LookupError


class Child(Library):
    """Overrides what is wrapped and calls it."""

    def plain(self, value=1):
        """Overridden."""
        return super().plain(value) + 100


@pytest.fixture
def patches():
    """Patches that are undone."""
    patches = wrap.Patches()
    yield patches
    patches.undo()


METHODS = ("positional", "plain", "awaited", "of_class", "of_nobody", "size")


def function_of(descriptor):
    """The function in a descriptor."""
    return getattr(descriptor, "fget", None) or getattr(descriptor, "__func__", descriptor)


@pytest.mark.parametrize("name", METHODS)
def test_a_replacement_looks_like_its_original(name, patches):
    """Kind of descriptor, signature, names, documentation, defaults and kind of function."""
    descriptor = vars(Library)[name]
    assert patches.wrap(Library, name, begin=lambda: None)
    replaced = vars(Library)[name]
    assert replaced is not descriptor
    assert type(replaced) is type(descriptor)
    old, new = function_of(descriptor), function_of(replaced)
    for about in ("__name__", "__qualname__", "__doc__", "__module__", "__defaults__", "__kwdefaults__"):
        assert getattr(new, about) == getattr(old, about)
    assert new.__annotations__ == old.__annotations__
    assert inspect.signature(new, follow_wrapped=False) == inspect.signature(new) == inspect.signature(old)
    count = old.__code__.co_argcount + old.__code__.co_kwonlyargcount
    assert new.__code__.co_varnames[:count] == old.__code__.co_varnames[:count]
    assert inspect.iscoroutinefunction(new) == inspect.iscoroutinefunction(old)
    assert inspect.getsource(new) == inspect.getsource(old)
    assert copy.deepcopy(new) is copy.copy(new) is new


def test_uninstrumenting_puts_the_very_same_objects_back(patches):
    """What was inherited is deleted again."""
    before = dict(vars(Library)), dict(vars(Child))
    for name in METHODS:
        patches.wrap(Library, name, before=lambda: None)
    patches.wrap(Child, "of_nobody", before=lambda: None)
    assert [(each.owner, each.name) for each in wrap.replaced[-7:]] == [
        *((Library, name) for name in METHODS),
        (Child, "of_nobody"),
    ]
    patches.undo()
    for cls, attributes in zip((Library, Child), before, strict=True):
        assert vars(cls).keys() == attributes.keys()
        assert all(vars(cls)[name] is value for name, value in attributes.items() if name in METHODS)


def test_methods_functions_and_their_results_are_pickled_as_before(patches):
    """By qualified name; bound methods too."""
    patches.wrap(Library, "plain", begin=lambda: None)
    assert pickle.loads(pickle.dumps(Library.plain)) is Library.plain
    method = pickle.loads(pickle.dumps(Library().plain))
    assert method(5) == 5
    assert method.__func__ is vars(Library)["plain"]
    one = Library()
    one.plain = wrap.bound(one.plain, lambda _: None)
    assert pickle.loads(pickle.dumps(one)).plain(6) == 6
    assert copy.copy(one).plain(7) == 7


def test_arguments_arrive_as_they_were_given(patches):
    """Of every kind, with their defaults; a hook is given as many as it takes."""
    seen = []
    patches.wrap(Library, "positional", before=lambda *_: None)
    patches.wrap(Library, "positional", before=lambda self, first, second, third, rest: seen.append((second, rest)))
    assert Library().positional(1, 2, named=4) == (1, 2, 3, (), 4, 5, {})
    assert Library().positional(1, 2, 8, 9, named=4, other=6, x=7) == (1, 2, 8, (9,), 4, 6, {"x": 7})
    assert Library().positional(1, second=2, named=4) == (1, 2, 3, (), 4, 5, {})
    assert seen == [(2, ()), (2, (9,)), (2, ())]


def test_a_hook_sees_results_and_errors_sync_and_async(patches):
    """The same hook serves both; the application gets the very same result and exception."""
    seen = []
    patches.wrap(Library, "plain", begin=lambda _: Call(seen))
    patches.wrap(Library, "awaited", begin=lambda _: Call(seen))
    assert Library().plain(4) == 4
    assert asyncio.run(Library().awaited(5)) == 5
    assert seen == [("returned", 4), ("returned", 5)]
    for error in (ValueError("mine"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()):
        del seen[:]
        with pytest.raises(type(error)) as plain:
            Library().plain(error)
        assert plain.value is error
        assert error.__context__ is None
        assert seen == [("raised", error)]
    with pytest.raises(KeyError):
        asyncio.run(Library().awaited(KeyError("mine")))


@pytest.mark.swallows_errors
@pytest.mark.parametrize("kind", ["begin", "before", "after", "value", "result", "listener"])
def test_a_hook_that_fails_does_not_reach_the_application(kind, patches):
    """The result is the same, and so is the exception, with nothing in its context."""

    def fail(*_):
        raise LookupError

    if kind == "listener":
        assert wrap.guarded(fail)(1, 2) is None
    else:
        for name in ("plain", "awaited"):
            hook = {"begin": lambda _: Failing()} if kind == "result" else {kind: fail}
            patches.wrap(Library, name, **hook, variable=ContextVar("unset") if kind == "value" else None)
        assert Library().plain(4) == 4
        assert asyncio.run(Library().awaited(5)) == 5
        error = ValueError("mine")
        with pytest.raises(ValueError, match="mine") as raised:
            Library().plain(error)
        assert raised.value is error
        assert (error.__context__, error.__cause__) == (None, None)
    assert sum(safety.errors().values()) >= 1


def test_an_interrupt_within_a_hook_is_the_applications(patches):
    """A signal may arrive anywhere: only ``Exception`` is caught."""

    def interrupted(*_):
        raise KeyboardInterrupt

    patches.wrap(Library, "plain", before=interrupted)
    with pytest.raises(KeyboardInterrupt):
        Library().plain()


def test_a_subclass_overrides_and_calls_what_is_wrapped(patches):
    """Through ``super()``, once."""
    seen = []
    patches.wrap(Library, "plain", before=lambda self: seen.append(type(self)))
    assert Child().plain(1) == 101
    assert seen == [Child]
    patches.wrap(Library, "of_class", before=lambda cls, value: seen.append((cls, value)))
    assert Child.of_class(3) == (Child, 3)
    assert seen[1:] == [(Child, 3)]


def test_parameters_behind_a_decorator_are_found(patches):
    """Its own code takes anything; what stays hidden behind a plain function is awaited all the same."""
    seen = []
    patches.wrap(Decorated, "take", before=lambda self, name, value, rest, more: seen.append((name, value, rest, more)))
    patches.wrap(Decorated, "fetch", begin=lambda self, name: Call(seen), awaited=True)
    assert Decorated().take("a") == ("a", 2, (), {})
    assert Decorated().take(name="a", value=3, x=4) == ("a", 3, (), {"x": 4})
    assert Decorated().take("a", 3, 4) == ("a", 3, (4,), {})
    assert [each[0] for each in seen] == ["a", "a", "a"]
    assert seen[2][2] == (4,)
    assert not inspect.iscoroutinefunction(Decorated.fetch)
    assert asyncio.run(Decorated().fetch("b")) == "b"
    assert seen[-1] == ("returned", "b")


def test_a_call_may_change_an_argument(patches):
    """One that ``begin`` names; the others stay."""

    class Doubled(Call):
        value = 20

    patches.wrap(Library, "plain", begin=lambda _: Doubled([]), changes=("value",))
    assert Library().plain(1) == 20


@pytest.mark.swallows_errors
def test_what_cannot_be_wrapped_is_left_alone(patches):
    """A method that a release no longer has, one without the parameters that are needed."""
    assert not patches.wrap(Library, "absent", before=lambda: None)
    assert not patches.wrap(Library, "__init_subclass__", before=lambda one, two: None)
    assert not patches.wrap(Library, "of_nobody", before=lambda one, two: None)
    assert not patches.wrap(Library, "plain", begin=lambda _: None, changes=("absent",))
    assert vars(Library)["plain"].__code__.co_filename == __file__


def test_what_somebody_else_wrapped_meanwhile_is_not_taken_out(patches, monkeypatch):
    """Ours stays below theirs and does nothing any more."""
    seen = []
    patches.wrap(Library, "plain", begin=lambda _: Call(seen))
    ours = vars(Library)["plain"]
    monkeypatch.setattr(Library, "plain", lambda self, value=1: ours(self, value) + 1)
    patches.undo()
    assert Library().plain(1) == 2
    assert seen == []


@pytest.mark.swallows_errors
@pytest.mark.parametrize("name", ["plain", "awaited"])
def test_a_context_variable_has_a_value_during_the_call(name, patches):
    """It has its former value afterwards, and where the call or the hook raises; a failed hook sets nothing."""
    variable = ContextVar("of this test", default="before")
    seen = []

    def value(self, value):
        seen.append(variable.get())
        if value == "broken":
            raise RuntimeError
        return "during"

    def ask(given):
        answer = getattr(Library(), name)(given)
        return asyncio.run(answer) if name == "awaited" else answer

    assert patches.wrap(Library, name, value=value, variable=variable)
    assert ask(3) == 3
    with pytest.raises(KeyError):
        ask(KeyError())
    assert ask("broken") == "broken"
    assert variable.get() == "before"
    assert seen == ["before"] * 3
    assert len(safety.errors()) == 1


def test_a_function_sees_the_value_that_a_hook_gives(patches):
    """Through whatever it calls, as a driver does below Django's ORM."""
    variable = ContextVar("of this test", default="before")

    class Asking:
        def ask(self, _):
            return variable.get()

    assert patches.wrap(Asking, "ask", value=lambda _, value: value, variable=variable)
    assert Asking().ask("during") == "during"
    assert variable.get() == "before"
