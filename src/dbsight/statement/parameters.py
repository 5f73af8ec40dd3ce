"""Bound values become a salted hash: enough to tell executions apart, nothing that could leave the process.

Python's own ``hash`` is not enough: -1 and -2 have the same, and so do 1, 1.0 and True. What is hashed is therefore the
values written out with their types, by ``marshal`` where it knows all of them, which is about as fast.
"""

from __future__ import annotations

import io
import marshal
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pickle import Pickler
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from dbsight import semconv
from dbsight.statement.salt import SALT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLAIN: Final = frozenset((int, str, float, bool, type(None), bytes, complex))
# Version 2 writes equal values alike; from version 3 on, what is written depends on how often an object is referred to.
_VERSION: Final = 2
_PICKLE_PROTOCOL: Final = 4
_DEPTH: Final = 50
_SHOWN_WHOLE: Final = frozenset(("datetime", "decimal", "ipaddress"))
"""Modules of the standard library whose objects show all of their value in their ``repr``."""

VALUES_MATTER: Final = frozenset(("update", "delete"))
"""Kinds of statements whose values are told apart one by one; statements with LIMIT or OFFSET are the others."""

_MAX_VALUES: Final = 30
_SHIFT: Final = (SALT & ((1 << 62) - 1)) + (1 << 90)
INTEGERS_FROM: Final = 1 << 89
"""Separate values from here on are integers, shifted by a salt; below are hashes."""


def hash_parameters(parameters: Any) -> int | None:
    """Hash the bound values of one execution.

    Args:
        parameters: A sequence or a mapping of values, as the driver gets them; None or empty when there are none.

    Returns:
        A number that is the same for the same values of the same types in this process only, whatever the names of a
        mapping; None when the values cannot be compared.
    """
    try:
        if not parameters:
            return SALT
        values = tuple(parameters.values()) if type(parameters) is dict else parameters
        if _PLAIN.issuperset(map(type, values)):
            return hash((SALT, marshal.dumps(values, _VERSION)))
        return hash((SALT, marshal.dumps(_comparable(values, 0), _VERSION)))
    except Exception:
        # The values are the application's objects: to look into them may do anything.
        return None


def _comparable(value: Any, depth: int) -> Any:
    """The value in types that ``marshal`` knows; other types keep their name.

    Raises:
        Exception: The value cannot be compared, or holds itself.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if depth >= _DEPTH:
        raise RecursionError
    if kind is tuple or kind is list:
        return kind(_comparable(each, depth + 1) for each in value)
    if kind is dict:
        return ("dict", *((_comparable(key, depth + 1), _comparable(each, depth + 1)) for key, each in value.items()))
    if kind is set or kind is frozenset:
        return (kind.__name__, *sorted(marshal.dumps(_comparable(each, depth + 1), _VERSION) for each in value))
    return _named(value, kind, depth)


def _named(value: Any, kind: type, depth: int) -> tuple[Any, ...]:
    """What is no plain value and no plain container: its type and what it is made of."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    base = _derived.get(kind) or _learn(kind)
    if base in _PLAIN:
        return (name, _EXACT[base](value))
    if kind.__name__ == "UUID":  # the standard library's, and asyncpg's, which is equal to it
        return ("UUID", value.bytes)
    if kind.__module__ in _SHOWN_WHOLE:
        return (name, repr(value))
    if kind is bytearray or kind is memoryview:
        return (name, bytes(value))
    if getattr(value, "dtype", None) is not None and hasattr(value, "tobytes"):  # numpy
        content = _comparable(value.tolist(), depth + 1) if value.dtype.hasobject else value.tobytes()
        return (name, str(value.dtype), *getattr(value, "shape", ()), content)
    return (name, _pickled(value))


def _pickled(value: Any) -> bytes:
    """Everything else by its state: a ``repr`` may be cut, and may show an address that is used again."""
    written = io.BytesIO()
    pickler = Pickler(written, _PICKLE_PROTOCOL)
    pickler.fast = True  # no memo: what is written does not depend on which objects are the same
    pickler.dump(value)
    return written.getvalue()


_MAX_DERIVED: Final = 1000
_EXACT: Final[dict[type, Callable[[Any], Any]]] = {int: int.__pos__, float: float.__pos__, str: str.__str__}
"""How an object of a subclass becomes one of the class itself, whatever methods the subclass has."""

_derived: dict[type, type] = {}
"""By class of numbers or texts that nothing can change: which of both it is; of any other class ``object``.

Django wraps each number for psycopg (``Int4``), marks texts as safe, and takes members of enumerations as they are.
"""


def _learn(kind: type) -> type:
    base: type = object
    for each in _EXACT:
        if issubclass(kind, each):
            # Without slots and dictionary, objects are as large as what they are made of.
            bare = not kind.__dictoffset__ and kind.__basicsize__ == each.__basicsize__
            base = each if bare or issubclass(kind, Enum) else object
    if len(_derived) >= _MAX_DERIVED:
        KEPT.difference_update([each for each, of in _derived.items() if of in _IMMUTABLE])
        _derived.clear()
    _derived[kind] = base
    if base in _IMMUTABLE:
        KEPT.add(kind)
    return base


_IMMUTABLE: Final[frozenset[type]] = frozenset(
    (int, float, bool, type(None), complex, Decimal, UUID, date, datetime, time, timedelta)
)
KEPT: Final[set[type]] = set(_IMMUTABLE)
"""Classes of values that are small and never change; those that are derived from numbers are added."""
MAX_KEPT: Final = 100
"""Values that are kept until the drain."""
_MAX_KEPT_LENGTH: Final = 256


def frozen(parameters: Any) -> Any:
    """Copy the bound values of one execution, if hashing the copy later gives the same as hashing them now.

    Args:
        parameters: A sequence or a mapping of values, as the driver gets them; None or empty when there are none.

    Returns:
        A tuple, list or dict; None where the values have to be hashed at once: more than 100 of them, texts longer than
        256 characters, values that the application can change, or whose class is not known.
    """
    kind = type(parameters)
    if kind is tuple:
        values = parameters
    elif kind is dict:
        parameters = parameters.copy()
        values = parameters.values()
    elif kind is list:
        values = parameters = parameters.copy()
    else:
        return None
    if len(values) > MAX_KEPT:
        return None
    for value in values:
        of = type(value)
        if of not in KEPT:
            if of is not str and of is not bytes:
                of = _derived.get(of) or _learn(of)
                if of is not str:
                    if of in KEPT:
                        continue
                    return None
            if len(value) > _MAX_KEPT_LENGTH:
                return None
    return parameters


def separate_values(parameters: Any) -> Mapping[object, int] | None:
    """Tell the bound values of one execution apart one by one.

    Args:
        parameters: A sequence or a mapping of values, as the driver gets them.

    Returns:
        A number per position (from 0) or name. Integers are shifted by a salt, so that the distance between two of them
        stays; everything else is a salted hash. None without parameters, for more than 30 of them, and for values that
        cannot be compared.
    """
    try:
        if not parameters or len(parameters) > _MAX_VALUES:
            return None
        pairs = parameters.items() if isinstance(parameters, dict) else enumerate(parameters)
        return {
            key: value + _SHIFT
            if type(value) is int
            else int.__pos__(value) + _SHIFT
            if _derived.get(type(value)) is int
            else hash_parameters((value,)) or 0
            for key, value in pairs
        }
    except Exception:
        # The values are the application's objects: to look into them may do anything.
        return None


def parameter_attributes(parameters: Any) -> dict[str, str]:
    """``db.query.parameter.<key>`` of the bound values of one execution, for those who asked for it."""
    if not hasattr(parameters, "__iter__"):  # whatever the driver makes of it
        parameters = () if parameters is None else (parameters,)
    pairs = parameters.items() if isinstance(parameters, dict) else enumerate(parameters)
    return {f"{semconv.DB_QUERY_PARAMETER}{key}": str(value) for key, value in pairs}
