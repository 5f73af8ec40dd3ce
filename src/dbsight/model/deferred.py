"""What a start need not pay for: methods of records and regular expressions that are made when they are first used.

``dataclass`` writes source code for each of its methods and compiles it, and ``re.compile`` takes up to a millisecond:
together they were a third of what importing dbsight took, and most processes use few of them. Nothing is imported
later and no lock is held, so a fork at any moment is safe; two threads that are first at once make the same thing
twice.
"""

from __future__ import annotations

import dataclasses
import re
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from dataclasses import dataclass as record

    from typing_extensions import Self

__all__ = ["computed", "pattern", "record"]

_T = TypeVar("_T")

_METHODS: Final = ("__init__", "__repr__", "__eq__")

if not TYPE_CHECKING:

    def record(*, frozen: bool = False, kw_only: bool = False) -> Callable[[type], type]:
        """``dataclass(slots=True)``, each of whose methods is compiled when it is first used.

        Fields, defaults, equality, hash, representation, ``replace``, ``asdict`` and pickles are those of a data class.
        Give each a docstring: for one without, ``dataclass`` imports and runs a tokeniser to write its signature there.

        Args:
            frozen: As for ``dataclass``.
            kw_only: As for ``dataclass``.
        """

        def decorate(cls: type) -> type:
            bare = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)
            made = bare(cls)
            for name in (*_METHODS, "__hash__") if frozen else _METHODS:
                if name not in cls.__dict__:
                    setattr(made, name, _Method(made, name, frozen=frozen))
            if frozen:
                made.__setattr__, made.__delattr__ = _refuse_to_set, _refuse_to_delete
                made.__getstate__, made.__setstate__ = _state, _restore
            elif made.__hash__ is object.__hash__:
                made.__hash__ = None
            return made

        return decorate


class _Method:
    """Stands for a method of a record until it is used."""

    __slots__ = ("_frozen", "_name", "_owner")

    def __init__(self, owner: type, name: str, *, frozen: bool) -> None:
        self._owner = owner
        self._name = name
        self._frozen = frozen

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        method = _compiled(self._owner, self._name, frozen=self._frozen)
        setattr(self._owner, self._name, method)
        return method.__get__(instance, owner)


def _compiled(cls: Any, name: str, *, frozen: bool) -> Any:
    """The method that a data class with the same fields has."""
    fields = dataclasses.fields(cls)
    made = _init(fields, frozen=frozen) if name == "__init__" else _MADE[name](fields)
    made.__module__, made.__name__, made.__qualname__ = cls.__module__, name, f"{cls.__qualname__}.{name}"
    return made


def _init(fields: Sequence[dataclasses.Field[Any]], *, frozen: bool) -> Any:
    """Not by ``dataclass``, which has a text executed: Python then forgets that an interrupt ends the process.

    Records are first used at exit as well. ``Py_RunMain`` ends an interrupted program by SIGINT, unless a text was
    executed since (``run_eval_code_obj`` in pythonrun.c); compiled code may be.
    """
    space: dict[str, Any] = {"_set": object.__setattr__, "_factory": _FACTORY}
    positional: list[str] = []
    keywords: list[str] = []
    body = []
    for field in fields:
        name, value = field.name, field.name
        parameters = keywords if field.kw_only is True else positional
        if field.default_factory is not dataclasses.MISSING:
            space[f"_make_{name}"] = field.default_factory
            value = f"_make_{name}() if {name} is _factory else {name}"
            parameters.append(f"{name}=_factory")
        elif field.default is not dataclasses.MISSING:
            space[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    parameters = ["self", *positional, *(["*", *keywords] if keywords else [])]
    source = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"])
    exec(compile(source, "<dbsight record>", "exec"), space)  # noqa: S102 - of names of our own fields
    made = space["__init__"]
    made.__annotations__ = {**{field.name: field.type for field in fields}, "return": None}
    return made


def _repr(fields: Sequence[dataclasses.Field[Any]]) -> Any:
    names = [field.name for field in fields if field.repr]

    @recursive_repr()
    def method(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in names])})"

    return method


def _eq(fields: Sequence[dataclasses.Field[Any]]) -> Any:
    names = [field.name for field in fields if field.compare]

    def method(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return [getattr(self, name) for name in names] == [getattr(other, name) for name in names]

    return method


def _hash(fields: Sequence[dataclasses.Field[Any]]) -> Any:
    names = [field.name for field in fields if (field.compare if field.hash is None else field.hash)]

    def method(self: Any) -> int:
        return hash(tuple([getattr(self, name) for name in names]))

    return method


_MADE: Final = {"__repr__": _repr, "__eq__": _eq, "__hash__": _hash}


class _Factory:
    def __repr__(self) -> str:
        return "<factory>"


_FACTORY: Final = _Factory()
"""Stands for a default that is made for each record, as in a data class."""


def _refuse_to_set(_: object, name: str, __: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


class _Pattern:
    """Stands for a regular expression; what is asked for first is kept, so that later calls go straight to it."""

    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a copy or a pickle of one that is not initialised yet
            raise AttributeError(name)
        value = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, value)
        return value


def pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """``re.compile``, done at the first use.

    The result has what a ``re.Pattern`` has; it is not an instance of it, so it is no argument for ``re``'s functions.

    Args:
        source: The expression; whether it is valid shows at the first use.
        flags: As for ``re.compile``.
    """
    stand_in: Any = _Pattern(source, flags)
    return stand_in  # type: ignore[no-any-return] # typed as what it stands for


class computed(Generic[_T]):  # noqa: N801 - a decorator
    """``functools.cached_property`` without its lock.

    Before Python 3.12 one lock serves all objects of a class: a child that is forked while a thread of its parent
    computes the value would wait for it for ever.
    """

    def __init__(self, compute: Callable[[Any], _T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | _T:
        if instance is None:
            return self
        value = vars(instance)[self._compute.__name__] = self._compute(instance)
        return value
