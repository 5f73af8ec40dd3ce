"""Replacement of functions of libraries, with the same signature as the original, and reversible.

A replacement is a plain function that is generated with the parameters of the original, so that inspection gives the
same result: ``inspect.signature``, ``__code__.co_varnames``, name, module, defaults, kind of descriptor, whether it
is a coroutine function; it is pickled by the same qualified name. Around the call of the original it runs a *hook*. An
``Exception`` in the hook is counted and logged, never raised; what the original raises passes unchanged. There are
four kinds of hooks:

    before(…)            runs first
    after(result, …)     runs last, unless the original raised
    begin(…)             runs first, and returns None or an object whose ``returned(result)`` or ``raised(error)``
                         runs last
    value(…)             runs first; what it returns is the value of a ContextVar during the call

Hooks take the leading parameters of the original by position, as many as they declare; ``*args`` of the original is
one parameter, a tuple, ``**kwargs`` another, a dict. Hooks are never coroutines: the same ones serve a method and its
asynchronous twin.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from dbsight.instrument import imported
from dbsight.instrument.parameters import Parameters, defaults
from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextvars import ContextVar
    from types import ModuleType

    Hook = Callable[..., Any]

_T = TypeVar("_T")

_FILE: Final = "<dbsight generated wrapper, passed over like importlib._bootstrap>"
"""File name of the generated code, which ``callsite.py`` recognises.

``warnings`` and, since Python 3.11, ``logging`` do not count frames with both ``importlib`` and ``_bootstrap`` in their
file's name, so that a ``stacklevel`` of the library still ends at the application's line.
"""

_CALL: Final = "_dbsight_call"

_GUARDED: Final = """
    try:
        {call}
    except Exception:
        _dbsight_failed(_dbsight_place)
"""

_BEFORE: Final = "{head}" + _GUARDED.format(call="_dbsight_hook({leading})") + "    return {original}\n"

_AFTER: Final = (
    "{head}\n    _dbsight_result = {original}"
    + _GUARDED.format(call="_dbsight_hook(_dbsight_result{leading})")
    + "    return _dbsight_result\n"
)

_BEGIN: Final = """{head}
    try:
        _dbsight_call = {hook}
    except Exception:
        _dbsight_failed(_dbsight_place)
        _dbsight_call = None
    if _dbsight_call is None:
        return {original}
    try:
        _dbsight_result = {changed}
    except BaseException as _dbsight_error:
        try:
            _dbsight_call.raised(_dbsight_error{given})
        except Exception:
            _dbsight_failed(_dbsight_place)
        raise
    try:
        _dbsight_call.returned(_dbsight_result{given})
    except Exception:
        _dbsight_failed(_dbsight_place)
    return _dbsight_result
"""

_VALUE: Final = """{head}
    try:
        _dbsight_token = _dbsight_set(_dbsight_hook({leading}))
    except Exception:
        _dbsight_failed(_dbsight_place)
        _dbsight_token = None
    if _dbsight_token is None:
        return {original}
    try:
        return {original}
    finally:
        try:
            _dbsight_reset(_dbsight_token)
        except Exception:
            _dbsight_failed(_dbsight_place)
"""

_LISTENER: Final = "{head}" + _GUARDED.format(call="return _dbsight_hook({leading})")

_AWAITED: Final = "{head}\n    return _dbsight_awaited({original_arguments})\n"


class Replacement(NamedTuple):
    """One attribute that was replaced.

    Attributes:
        owner: Class or module.
        name: Name of the attribute.
        original: The original descriptor, or the inherited one.
        replacement: The current one.
        own: Whether the owner itself defined the original.
    """

    owner: Any
    name: str
    original: Any
    replacement: Any
    own: bool


replaced: list[Replacement] = []
"""All current replacements, in order; tests compare each with its original."""


class Patches:
    """The replacements, listeners and post-import hooks of one instrumentor."""

    def __init__(self) -> None:
        self._turn = object()  # a new one after each undo
        self._awaited: list[tuple[str, Callable[[ModuleType], object]]] = []
        self._replaced: list[Replacement] = []
        self._listeners: list[tuple[Any, str, Any]] = []
        self._at_undo: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return bool(self._replaced or self._listeners)

    def when_imported(self, module: str, patch: Callable[[ModuleType], object]) -> None:
        """Call ``patch`` with a module, now or when the application imports it, until ``undo``.

        Its replacements through this object are undone even if ``undo`` is called while it runs.
        """
        turn = self._turn

        def patched(loaded: ModuleType) -> None:
            if self._turn is turn:
                try:
                    patch(loaded)
                finally:
                    if self._turn is not turn:
                        self._put_back()

        self._awaited.append((module, patched))
        imported.when_imported(module, patched)

    def wrap(
        self,
        owner: Any,
        name: str,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        begin: Hook | None = None,
        value: Hook | None = None,
        variable: ContextVar[Any] | None = None,
        changes: Sequence[str] = (),
        given: Sequence[int] = (),
        awaited: bool = False,
        having: str = "",
        of: str = "",
    ) -> bool:
        """Run a hook around a function, method, class method, static method or the getter of a property.

        Args:
            owner: Class or module.
            name: Attribute of it.
            before: As described above; exactly one of the four is given.
            after: As described above.
            begin: As described above.
            value: As described above.
            variable: What has this value.
            changes: Parameters of the original that are replaced by the attributes of the same names of the object
                that ``begin`` returned.
            given: Places of parameters of the original that ``returned`` and ``raised`` of that object are given, too.
            awaited: Whether it returns an awaitable without being a coroutine function, which is preserved.
            having: Where an object has this attribute of its own, and it is not None, ``begin`` is not called.
            of: Attribute of the first parameter, such as the connection of a cursor, that ``begin`` takes before all
                parameters.

        Returns:
            Whether it was wrapped: not if the owner has no such attribute, or one that is not made of a Python
            function, or without the parameters that the hook needs.
        """
        try:
            original = inspect.getattr_static(owner, name)
            hooks = {_BEFORE: before, _AFTER: after, _BEGIN: begin, _VALUE: value}
            ((template, hook),) = ((template, hook) for template, hook in hooks.items() if hook is not None)
            replacement = _rebuilt(
                original,
                owner,
                lambda function: around(
                    function, template, hook, changes=changes, given=given, awaited=awaited, having=having, of=of
                ),
            )
            if variable is not None:
                replacement.__globals__.update(_dbsight_set=variable.set, _dbsight_reset=variable.reset)
        except (AttributeError, TypeError, ValueError):
            failed(f"instrument.wrap.{getattr(owner, '__name__', owner)}.{name}")
            return False
        self.replace(owner, name, replacement)
        return True

    def replace(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace an attribute, until ``undo``."""
        done = Replacement(owner, name, inspect.getattr_static(owner, name), replacement, name in vars(owner))
        setattr(owner, name, replacement)
        self._replaced.append(done)
        replaced.append(done)

    def listen(
        self, target: Any, name: str, listener: Callable[..., Any], *, guarding: bool = True, **options: Any
    ) -> None:
        """Register a listener for an event of SQLAlchemy, with options of ``event.listen``, until ``undo``.

        It is guarded, unless it never raises by itself.
        """
        registered = guarded(listener) if guarding else listener
        sys.modules["sqlalchemy.event"].listen(target, name, registered, **options)
        self._listeners.append((target, name, registered))

    def change(self, target: Any, name: str, listener: Callable[..., Any]) -> None:
        """Register a listener whose result replaces arguments, and which never raises, until ``undo``."""
        sys.modules["sqlalchemy.event"].listen(target, name, listener, retval=True)
        self._listeners.append((target, name, listener))

    def at_undo(self, function: Callable[[], object]) -> None:
        """Register a function to call on ``undo``."""
        self._at_undo.append(function)

    def undo(self) -> None:
        """Restore the original objects, and cancel post-import hooks.

        If another tool has wrapped a replacement, it stays, because removing it would remove the other wrapper; from
        then on it only calls the original.
        """
        self._turn = object()
        for module, patched in _taken(self._awaited):
            imported.forget(module, patched)
        self._put_back()

    def _put_back(self) -> None:
        for done in _taken(self._replaced):
            replaced.remove(done)
            if vars(done.owner).get(done.name) is not done.replacement:
                _silence(done.replacement)
            elif done.own:
                setattr(done.owner, done.name, done.original)
            else:
                delattr(done.owner, done.name)
        for target, name, listener in _taken(self._listeners):
            sys.modules["sqlalchemy.event"].remove(target, name, listener)
        for function in _taken(self._at_undo):
            function()


def _taken(entries: list[_T]) -> Iterator[_T]:
    """Pop all entries of a list, the latest first; each entry is taken by one thread only."""
    with contextlib.suppress(IndexError):  # another thread also pops from it
        while True:
            yield entries.pop()


def around(
    original: Any,
    template: str,
    hook: Hook,
    *,
    changes: Sequence[str] = (),
    given: Sequence[int] = (),
    awaited: bool = False,
    having: str = "",
    of: str = "",
) -> FunctionType:
    """Generate the replacement of a function.

    Args:
        original: A function, or another tool's wrapper of one.
        template: What it does around the call.
        hook: What it runs.
        changes: As for ``Patches.wrap``.
        given: As for ``Patches.wrap``.
        awaited: As for ``Patches.wrap``.
        having: As for ``Patches.wrap``.
        of: As for ``Patches.wrap``.

    Raises:
        TypeError: Its parameters cannot be read, or lack those that the hook needs.
    """
    parameters = Parameters(original)
    asynchronous = inspect.iscoroutinefunction(original) or awaited
    if missing := set(changes).difference(parameters.names):
        raise TypeError(f"{original} has no parameter {', '.join(sorted(missing))}")
    leading = parameters.leading(hook, skip=int(template is _AFTER or bool(of)))
    if of:
        leading = f"{parameters.names[0]}.{of}, {leading}"
    await_ = "await " if asynchronous else ""
    call = f"_dbsight_hook({leading})"
    if having:  # asked without a function: it is so nearly each time
        call = f"None if {parameters.names[0]}.__dict__.get({having!r}) is not None else {call}"
    source = template.format(
        head=f"{'async ' if asynchronous else ''}def wrapper({parameters.declared}):",
        hook=call,
        leading=(", " if template is _AFTER and leading else "") + leading,
        original=f"{await_}_dbsight_original({parameters.passed()})",
        given="".join([f", {name}" for name in parameters.at(given)]),
        changed=f"{await_}_dbsight_original({parameters.passed(changes, _CALL)})",
    )
    made = _compiled(source, original, {"_dbsight_original": original, **_names(hook)})
    if awaited:
        source = _AWAITED.format(head=f"def wrapper({parameters.declared}):", original_arguments=parameters.passed())
        made = _compiled(source, original, {"_dbsight_awaited": made})
    return made


def guarded(listener: Callable[..., Any]) -> FunctionType:
    """Generate a function of the same parameters that never raises an ``Exception``; it returns None then."""
    function = listener.__func__ if isinstance(listener, MethodType) else listener
    parameters = Parameters(function, bound=isinstance(listener, MethodType))
    source = _LISTENER.format(head=f"def wrapper({parameters.declared}):", leading=parameters.passed())
    made = _compiled(source, function, _names(listener))
    del made.__dict__["__wrapped__"]  # it has no ``self``
    return made


def bound(original: MethodType, hook: Hook) -> MethodType:
    """Generate a method that runs ``begin`` around a method of one object, to be set as the object's attribute."""
    return MethodType(around(original.__func__, _BEGIN, hook), original.__self__)


def call_of(frame: Any) -> Any:
    """What ``begin`` returned for the call that a frame of a replacement runs; None where it was nothing."""
    return frame.f_locals.get(_CALL)


def _names(hook: Hook) -> dict[str, Any]:
    place = f"{hook.__module__}.{hook.__qualname__}".removeprefix("dbsight.").replace(".<locals>", "")
    return {"_dbsight_hook": hook, "_dbsight_failed": failed, "_dbsight_place": place}


@functools.lru_cache(maxsize=200)  # each engine has a dialect of its own, whose methods are wrapped
def _code(source: str) -> CodeType:
    return compile(source, _FILE, "exec")


def _compiled(source: str, original: Any, names: dict[str, Any]) -> FunctionType:
    namespace = {**names, "__name__": __name__}
    exec(_code(source), namespace)  # noqa: S102 - nothing of it comes from outside
    made: FunctionType = namespace.pop("wrapper")
    functools.update_wrapper(made, original)
    made.__defaults__, made.__kwdefaults__ = defaults(original)
    if not hasattr(original, "__code__"):
        return made
    renamed: dict[str, Any] = {"co_name": original.__code__.co_name}
    if hasattr(CodeType, "co_qualname"):  # Python 3.11 and newer
        renamed["co_qualname"] = original.__code__.co_qualname
    made.__code__ = made.__code__.replace(**renamed)
    return made


def _rebuilt(descriptor: Any, owner: Any, make: Callable[[Any], FunctionType]) -> Any:
    """A descriptor of the same kind around what ``make`` makes of its function."""
    if isinstance(descriptor, (classmethod, staticmethod)):
        return type(descriptor)(make(descriptor.__func__))
    if isinstance(descriptor, property):
        return type(descriptor)(make(descriptor.fget), descriptor.fset, descriptor.fdel, descriptor.__doc__)
    if isinstance(owner, type) and type(descriptor) is not FunctionType:
        descriptor = descriptor.__get__(None, owner)  # a wrapt.FunctionWrapper expects it
    return make(descriptor)


def _silence(replacement: Any) -> None:
    """Make a replacement that cannot be removed call only its original."""
    function = getattr(replacement, "fget", getattr(replacement, "__func__", replacement))
    names = getattr(function, "__globals__", {})
    names = getattr(names.get("_dbsight_awaited"), "__globals__", names)
    if "_dbsight_hook" in names:
        names["_dbsight_hook"] = _nothing


def _nothing(*_: Any) -> None:
    return None
