"""Where a function of the application is defined: the place of what runs it before any line of it has run."""

from __future__ import annotations

import inspect
import linecache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from dbsight.instrument import callsite
from dbsight.model import CallSite

if TYPE_CHECKING:
    from types import CodeType

_MAX_DECORATORS: Final = 20
"""Lines of decorators above a function."""

_known: WeakKeyDictionary[Any, CallSite | None] = WeakKeyDictionary()


def of_function(function: Any) -> CallSite | None:
    """Find where a function or method is defined; None for one of a package, or of none."""
    try:
        return _known[function]
    except KeyError:
        _known[function] = site = _definition(function)
        return site
    except TypeError:  # no weak reference can be made to it, or it has no hash
        return _definition(function)


def _definition(function: Any) -> CallSite | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not callsite.is_of_application(code.co_filename):
        return None
    return CallSite(callsite.relative(code.co_filename), _line_of(code), callsite.function_name(code), None)


def _line_of(code: CodeType) -> int:
    """The line of ``def``, below the decorators with which ``co_firstlineno`` begins."""
    line = code.co_firstlineno
    for number in range(line, line + _MAX_DECORATORS):
        if linecache.getline(code.co_filename, number).lstrip().startswith(("def ", "async def ")):
            return number
    return line
