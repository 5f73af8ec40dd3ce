"""Parameters of functions, written as source code for their replacements."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Parameters:
    """The parameters of a function as its code has them; of what wraps it, not of what is wrapped."""

    _before_slash: tuple[str, ...]
    _positional: tuple[str, ...]
    _named: tuple[str, ...]
    _args: str | None
    _kwargs: str | None

    def __init__(self, function: Any, *, bound: bool = False) -> None:
        code: Any = getattr(function, "__code__", None)
        skip = int(bound)
        if code is None:
            self._read(_signature(function).parameters.values())
        else:
            names = code.co_varnames
            count, named = code.co_argcount, code.co_kwonlyargcount
            rest = iter(names[count + named :])
            self._before_slash = names[skip : code.co_posonlyargcount]
            self._positional = names[skip:count]
            self._named = names[count : count + named]
            self._args = next(rest) if code.co_flags & inspect.CO_VARARGS else None
            self._kwargs = next(rest) if code.co_flags & inspect.CO_VARKEYWORDS else None
        positional, named = defaults(function)
        self._optional = {*self._positional[len(self._positional) - len(positional or ()) :], *(named or ())}
        self.names = (*self._positional, *self._named)
        decorated = self._args and self._kwargs and not self.names and not bound and hasattr(function, "__wrapped__")
        self._inner = Parameters(inspect.unwrap(function)) if decorated else None

    def _read(self, parameters: Iterable[inspect.Parameter]) -> None:
        """Of a method that is written in C and says what it takes."""
        kinds: dict[Any, list[str]] = {}
        for each in parameters:
            kinds.setdefault(each.kind, []).append(each.name)
        self._before_slash = tuple(kinds.get(inspect.Parameter.POSITIONAL_ONLY, ()))
        self._positional = (*self._before_slash, *kinds.get(inspect.Parameter.POSITIONAL_OR_KEYWORD, ()))
        self._named = tuple(kinds.get(inspect.Parameter.KEYWORD_ONLY, ()))
        self._args = next(iter(kinds.get(inspect.Parameter.VAR_POSITIONAL, ())), None)
        self._kwargs = next(iter(kinds.get(inspect.Parameter.VAR_KEYWORD, ())), None)

    @property
    def declared(self) -> str:
        """As they are written in a definition; defaults are set later."""
        positional = [self._declared(name) for name in self._positional]
        if self._before_slash:
            positional.insert(len(self._before_slash), "/")
        star = [f"*{self._args}"] if self._args else ["*"] if self._named else []
        kwargs = [f"**{self._kwargs}"] if self._kwargs else []
        return ", ".join((*positional, *star, *map(self._declared, self._named), *kwargs))

    def _declared(self, name: str) -> str:
        return f"{name}=None" if name in self._optional else name

    def passed(self, changed: Sequence[str] = (), values_of: str = "") -> str:
        """As they are written in a call; those that are ``changed`` are attributes of the object ``values_of``."""
        values = {name: f"{values_of}.{name}" for name in changed}
        positional = [values.get(name, name) for name in self._positional]
        args = [f"*{self._args}"] if self._args else []
        named = [f"{name}={values.get(name, name)}" for name in self._named]
        kwargs = [f"**{self._kwargs}"] if self._kwargs else []
        return ", ".join((*positional, *args, *named, *kwargs))

    def at(self, places: Iterable[int]) -> list[str]:
        """Those at some places, as they are written in a call; ``None`` for one that there is not."""
        every = self._every() if self._inner is None else self._within(self._inner)
        return [every[place] if place < len(every) else "None" for place in places]

    def leading(self, hook: Callable[..., Any], skip: int = 0) -> str:
        """The first of them, as many as a hook takes after its first ``skip``, but for its options (``=False``)."""
        every = self._every() if self._inner is None else self._within(self._inner)
        wanted = [
            each
            for each in inspect.signature(hook).parameters.values()
            if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD} and each.default is not False
        ][skip:]
        needed = sum(each.default is each.empty for each in wanted)
        if needed > len(every):
            raise TypeError(f"a hook needs {needed} parameters, the function has {len(every)}")
        return ", ".join(every[: len(wanted)])

    def _every(self) -> list[str]:
        return [*self._positional, *filter(None, (self._args,)), *self._named, *filter(None, (self._kwargs,))]

    def _within(self, inner: Parameters) -> list[str]:
        """Those of a decorated function, as expressions of the arguments that its decorator takes for them."""
        found = [f"{self._args}[0]"]
        for place, name in list(enumerate(inner._positional))[1:]:
            value = f"{self._args}[{place}] if len({self._args}) > {place} else {self._kwargs}.get({name!r})"
            found.append(f"({value})")
        if inner._args:
            found.append(f"{self._args}[{len(inner._positional)}:]")
        found += [f"{self._kwargs}.get({name!r})" for name in inner._named]
        if inner._kwargs:
            found.append(str(self._kwargs))
        return found


def defaults(function: Any) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
    """Those of positional parameters, and of those that are passed by name; also of a method that is written in C."""
    if hasattr(function, "__code__"):
        return function.__defaults__, function.__kwdefaults__
    known = [each for each in _signature(function).parameters.values() if each.default is not each.empty]
    named = {each.name: each.default for each in known if each.kind is each.KEYWORD_ONLY}
    return tuple(each.default for each in known if each.name not in named) or None, named or None


def _signature(function: Any) -> inspect.Signature:
    """That of a method that is written in C."""
    try:
        return inspect.signature(function)
    except ValueError:
        if getattr(function, "__name__", "") != "__getitem__":  # that of ``dict`` does not say
            raise
        names = ("self", "key")
        return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names])
