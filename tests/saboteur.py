"""Makes functions of dbsight raise, one at a time, wherever they are already known."""

from __future__ import annotations

import builtins
import contextlib
import gc
import inspect
import sys
import threading
from pathlib import Path
from types import CodeType, FunctionType

import dbsight

SOURCE = str(Path(dbsight.__file__).parent)


class SabotageError(Exception):
    """What a function raises in the place of what it does."""


builtins.DbsightSabotage = SabotageError  # found from every module

_SKIPPED = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<module>", "<lambda>")


def is_ours(code: CodeType) -> bool:
    """Whether a function is dbsight's, of those parts that run within an application."""
    inside = code.co_filename.removeprefix(SOURCE)
    return (
        inside != code.co_filename
        and not inside.startswith(("/demo", "/cli", "/safety"))
        and code.co_name not in _SKIPPED
    )


def name_of(code: CodeType) -> str:
    """Module and function."""
    return f"{code.co_filename.removeprefix(SOURCE)[1:]}:{getattr(code, 'co_qualname', code.co_name)}"


@contextlib.contextmanager
def watching():
    """Collect the code of every function of dbsight that runs meanwhile, in any thread."""
    codes = {}

    def called(frame, what, _):
        if what == "call" and is_ours(frame.f_code):
            codes[id(frame.f_code)] = frame.f_code

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        yield codes
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def raising(code: CodeType) -> CodeType:
    """The same function, of the same kind and with the same number of free variables, which only raises."""
    free = [f"free_{number}" for number in range(len(code.co_freevars))]
    head = "async def" if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR) else "def"
    tail = "yield" if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR) else "pass"
    lines = [
        "def outer():",
        *(f"    {name} = None" for name in free),
        f"    {head} sabotaged(*_, **__):",
        f"        raise DbsightSabotage({name_of(code)!r})",
        *(f"        {name}" for name in free),
        f"        {tail}",
        "    return sabotaged",
    ]
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    return names["outer"]().__code__.replace(co_name=code.co_name, co_filename=code.co_filename)


def _replaced(code: CodeType, old: CodeType, new: CodeType) -> CodeType:
    """A code with another inside it, however deep, in the place of the old one; itself where that is not inside."""
    constants = tuple(
        new if each is old else _replaced(each, old, new) if isinstance(each, CodeType) else each
        for each in code.co_consts
    )
    changed = any(one is not other for one, other in zip(constants, code.co_consts, strict=True))
    return code.replace(co_consts=constants) if changed else code


class Saboteur:
    """Knows all functions of dbsight that exist already."""

    def __init__(self) -> None:
        gc.unfreeze()  # what was imported for the collection of the tests is hidden from the search
        self._functions = [
            each
            for each in gc.get_objects()
            if type(each) is FunctionType and each.__code__.co_filename.startswith(SOURCE)
        ]
        gc.freeze()

    @contextlib.contextmanager
    def broken(self, code: CodeType):
        """Let every function that has this code, or will be made with it, raise."""
        new = raising(code)
        nested = bool(code.co_flags & inspect.CO_NESTED)
        alive = {id(each): each for each in self._functions}
        if nested:  # closures that were made meanwhile
            alive.update((id(each), each) for each in gc.get_referrers(code) if isinstance(each, FunctionType))
        before = []
        for function in alive.values():
            known = function.__code__
            if known is code:
                function.__code__ = new
            elif nested and (changed := _replaced(known, code, new)) is not known:
                function.__code__ = changed
            else:
                continue
            before.append((function, known))
        try:
            yield
        finally:
            for function, known in before:
                function.__code__ = known
            if nested:  # those that were made meanwhile keep the broken code
                for function in [each for each in gc.get_referrers(new) if isinstance(each, FunctionType)]:
                    function.__code__ = code
