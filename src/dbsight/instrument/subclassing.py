"""Subclasses of a driver's C types, which cannot be patched; the driver's own factories make objects of them.

The methods that are watched come directly before those of the C type: ``class Made(Wanted, Hooked)``, where ``Hooked``
is a subclass of the C type and ``Wanted`` the class that the application asked for. So the application's own methods
run first, and their calls of ``super()`` pass through the hooks. ``isinstance`` holds; ``type(x) is C`` does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight.safety import failed

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_MADE: Final = 1000


class Subclasses:
    """The subclasses of one C type.

    Args:
        base: The C type.
        adds: Class whose methods are added; they call ``super()``.

    Attributes:
        base: The C type.
        hooked: Its subclass with these methods.
    """

    def __init__(self, base: type, adds: type) -> None:
        self.base = base
        self.hooked = _derived(base, (adds, base))
        self._made: dict[type, type] = {base: self.hooked}

    def of(self, wanted: Any) -> type | None:
        """Return the subclass of a class that the application asked for; None where it is no subclass of the type."""
        made = self._made.get(wanted)
        if made is not None:
            return made
        if not isinstance(wanted, type) or not issubclass(wanted, self.base):
            return None
        if issubclass(wanted, self.hooked):
            return wanted
        try:
            made = _derived(wanted, (wanted, self.hooked))
        except Exception:  # its layout, metaclass or __init_subclass__ allows none
            failed("subclassing")
            return None
        if len(self._made) >= _MAX_MADE:
            self._made = {self.base: self.hooked}
        self._made[wanted] = made
        return made


def _derived(named_after: type, bases: tuple[type, ...]) -> type:
    has_references = any(base.__weakrefoffset__ for base in bases)
    names = {
        "__slots__": () if has_references else ("__weakref__",),
        "__module__": named_after.__module__,
        "__qualname__": named_after.__qualname__,
        "__doc__": named_after.__doc__,
    }
    return type(named_after.__name__, bases, names)


def started(hook: Callable[..., Any] | None, *arguments: Any) -> Any:
    """Call a ``begin`` hook, guarded; None where there is none or it fails."""
    if hook is None:
        return None
    try:
        return hook(*arguments)
    except Exception:
        failed(f"subclassing.{hook.__name__}")
        return None


def run(call: Any, original: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method; what the hook returned learns what the method returned or raised."""
    if call is None:
        return original(*arguments)
    try:
        result = original(*arguments)
    except BaseException as error:
        started(call.raised, error)
        raise
    started(call.returned, result)
    return result


async def run_async(call: Any, original: Callable[..., Any], *arguments: Any) -> Any:
    """Call and await a method that returns an awaitable."""
    if call is None:
        return await original(*arguments)
    try:
        result = await original(*arguments)
    except BaseException as error:
        started(call.raised, error)
        raise
    started(call.returned, result)
    return result
