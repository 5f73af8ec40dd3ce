"""Bound values become a salted hash: enough to tell executions apart, nothing that could leave the process."""

from __future__ import annotations

import secrets
from typing import Any

_SALT = secrets.randbits(64)


def hash_parameters(parameters: Any) -> int | None:
    """Hash the bound values of one execution.

    Args:
        parameters: A sequence or a mapping of values, as the driver gets them; None or empty when there are none.

    Returns:
        A number that is the same for the same values in this process only; None when the values cannot be told.
    """
    if not parameters:
        return _SALT
    values = tuple(parameters.values()) if isinstance(parameters, dict) else parameters
    try:
        return hash((_SALT, *values))
    except TypeError:  # a list, a dict, a JSON document: unhashable
        pass
    try:
        return hash((_SALT, repr(values)))
    except Exception:
        # The values are the application's objects: their repr may do anything.
        return None
